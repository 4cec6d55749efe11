package agent

import (
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/limits"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// fillingLooks is how many looks at a stock its pace is taken from, fillingLeast the fewest: two minutes and half a one
// of the conntrack table, six and one and a half of EC2's allowance.
const (
	fillingLooks = 24
	fillingLeast = 6
	// fillingAhead is how far ahead a stock is forecast, in seconds.
	fillingAhead = 3600
)

// filling forecasts when a stock reaches its limit, from the pace at which it grows. The zero value is ready.
type filling struct {
	at    []collector.Time
	stock []float64
}

// look takes in how large the stock is now.
func (f *filling) look(now collector.Time, stock float64) {
	f.at, f.stock = append(f.at, now), append(f.stock, stock)
	if len(f.at) > fillingLooks {
		f.at, f.stock = f.at[1:], f.stock[1:]
	}
}

// reaches returns in how many seconds the stock is at limit: 0 if it is now, +Inf if not within fillingAhead at this
// pace. ok is false while too little is known.
func (f *filling) reaches(limit float64) (seconds float64, ok bool) {
	n := len(f.at)
	if n == 0 {
		return 0, false
	}
	last := f.stock[n-1]
	switch {
	case last >= limit:
		return 0, true
	case n < fillingLeast:
		return 0, false
	}
	// A straight line through the looks, by least squares.
	var times, mean float64
	for i := range f.at {
		times += f.at[i].Sub(f.at[0]).Seconds() / float64(n)
		mean += f.stock[i] / float64(n)
	}
	var together, alone float64
	for i := range f.at {
		t := f.at[i].Sub(f.at[0]).Seconds() - times
		together += t * (f.stock[i] - mean)
		alone += t * t
	}
	pace := together / alone
	if seconds = (limit - last) / pace; !(pace > 0) || seconds > fillingAhead {
		return math.Inf(1), true
	}
	return detector.Estimate(seconds), true
}

// The conntrack table is named in a notice from detector.TableNear of its limit on, or if it is full within
// detector.TableSoon and holds tableHalf of its limit already; the notice goes below tableClear, so that it does not
// come and go.
const tableClear, tableHalf = 0.8, 0.4

// tableText says how full the conntrack table is and when it will be; empty if there is room. said is what it returned
// last.
func tableText(k *metrics.Kernel, said string) string {
	if k == nil || k.EntriesMax <= 0 {
		return ""
	}
	fill := k.Fill()
	soon := k.Forecast && k.SecondsToFull < detector.TableSoon.Seconds()
	if fill < tableClear && !(soon && fill >= tableHalf) || said == "" && fill < detector.TableNear && !soon {
		return ""
	}
	text := fmt.Sprintf("the conntrack table of network namespace %d holds %.0f %% of its %d entries", k.Netns,
		100*math.Floor(20*fill)/20, k.EntriesMax)
	switch {
	case k.Forecast && k.SecondsToFull == 0:
		text += ": it is full"
	case soon:
		text += fmt.Sprintf(": at the pace of the last minutes it is full within %d minutes", soonMinutes(k.SecondsToFull))
	}
	return text + "; once it is full the kernel drops new connections of any kind, scrapes of this agent among them: " +
		"raise net.netfilter.nf_conntrack_max in the initial network namespace"
}

// soonMinutes rounds seconds, less than detector.TableSoon, up to minutes in few steps: each change of a notice is
// logged.
func soonMinutes(seconds float64) int {
	within := int(detector.TableSoon / time.Minute)
	for _, minutes := range [...]int{5, 2} {
		if seconds < float64(60*minutes) {
			within = minutes
		}
	}
	return within
}

// allowanceEvery is how often the agent reads EC2's own connection tracking: it looks at every interface.
const allowanceEvery = 15 * time.Second

// allowances are EC2's own connection tracking of this instance, a budget beside all others: what EC2 tracks, which
// includes connections that come in, is in no ledger, and how much it may be is documented nowhere. What is left is
// known, and from its pace when nothing will be. The zero value is ready.
type allowances struct {
	looked collector.Time
	of     map[string]*allowance // by interface
	// shown is what was read last.
	shown atomic.Pointer[[]metrics.Allowance]
}

// allowance is what was seen of one interface.
type allowance struct {
	spent filling // what is available, below 0, on its way to 0
	most  uint64  // that was ever available
	said  string
}

// due reports whether it is time to read again.
func (a *allowances) due(now collector.Time) bool {
	return a.looked == 0 || now.Sub(a.looked) >= allowanceEvery
}

// look takes in what was read, and returns what to say of it. What could not be read is shown as absent.
func (a *allowances) look(now collector.Time, list []limits.Allowance, err error) (notices []string) {
	a.looked = now
	if err != nil {
		list = nil
	}
	var shown []metrics.Allowance
	before := a.of
	a.of = map[string]*allowance{}
	for _, x := range list {
		m := metrics.Allowance{Interface: x.Interface, Available: x.Available, Exceeded: x.Exceeded, Known: x.Known}
		if x.Known {
			seen := before[x.Interface]
			if seen == nil {
				seen = &allowance{}
			}
			a.of[x.Interface] = seen
			seen.spent.look(now, -float64(x.Available))
			seen.most = max(seen.most, x.Available)
			m.SecondsToExhaustion, m.Forecast = seen.spent.reaches(0)
			if seen.said = allowanceText(&m, seen.most, seen.said); seen.said != "" {
				notices = append(notices, seen.said)
			}
		}
		shown = append(shown, m)
	}
	a.shown.Store(&shown)
	return notices
}

// allowanceText says how much of EC2's connection tracking is left to an interface, and when nothing will be; empty if
// there is room. most is the most that was ever left to it, said what was returned last.
func allowanceText(a *metrics.Allowance, most uint64, said string) string {
	used := 1 - float64(a.Available)/max(1, float64(most)) // of what is known to be there
	soon := a.Forecast && a.SecondsToExhaustion < detector.TableSoon.Seconds()
	room := used < tableClear && !(soon && used >= tableHalf) || said == "" && used < detector.TableNear && !soon
	if a.Available > 0 && room {
		return ""
	}
	text := "EC2's own connection tracking of interface " + a.Interface
	switch {
	case a.Available == 0:
		text += " is used up"
	case soon:
		text += fmt.Sprintf(" is used up within %d minutes at the pace of the last minutes",
			soonMinutes(a.SecondsToExhaustion))
	default:
		text += fmt.Sprintf(" has less than %.0f %% left of the %d that were left at most", 100*(1-tableClear), most)
	}
	return text + ": then EC2 drops packets of new connections, in and out, whatever their ports: shorten the idle " +
		"time of tracked connections (TcpEstablishedTimeout), or take a larger instance"
}

// losing tells how many flows conntrack fails to insert. The zero value is ready.
type losing struct {
	failed filling
}

// look takes in the kernel's counter, and returns by how much it grew a second in the last looks; 0 while there were
// too few.
func (l *losing) look(now collector.Time, failed uint64) float64 {
	f := &l.failed
	if n := len(f.stock); n > 0 && float64(failed) < f.stock[n-1] {
		*f = filling{} // the counter began anew
	}
	f.look(now, float64(failed))
	if len(f.at) < fillingLeast {
		return 0
	}
	return (float64(failed) - f.stock[0]) / now.Sub(f.at[0]).Seconds()
}

// nearlyFull reports whether a port space has so few ports left that flows may fail for lack of them.
func nearlyFull(p *detector.AccountSnapshot) bool {
	full := func(held int, terms *budget.Terms) bool {
		return float64(held) > detector.RaceFill*float64(terms.Effective)
	}
	return full(p.Busiest, &p.Terms) || slices.ContainsFunc(p.Spaces, func(s detector.SpaceSnapshot) bool {
		of := p.Terms.OfClass(s.Class) // low ports are fewer
		return full(s.Held, &of)
	})
}

// raceText says that flows are lost in conntrack while ports and entries are left; empty if none are. said is what it
// returned last: the notice goes at half the rate at which it comes.
func raceText(s *detector.Snapshot, k *metrics.Kernel, said string) string {
	least := detector.RaceRate
	if said != "" {
		least /= 2
	}
	if k == nil || k.InsertFailedRate < least || k.Fill() > detector.TableNear {
		return ""
	}
	for i := range s.Budgets {
		for j := range s.Budgets[i].Protocols {
			if nearlyFull(&s.Budgets[i].Protocols[j]) {
				return "" // it may be for lack of ports
			}
		}
	}
	return "conntrack fails to insert new flows though ports are left: two flows take the same port at once, and one of " +
		"them loses its first packet, which costs it a second; random ports in the SNAT rule make that rare (nft: " +
		"fully-random; iptables: --random-fully)"
}
