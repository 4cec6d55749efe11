package agent

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/limits"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

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
	var shown []metrics.Allowance
	before := a.of
	a.of = map[string]*allowance{}
	for _, x := range list {
		if err != nil {
			break
		}
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
	if a.Available > 0 && used < tableClear && !(soon && used >= tableHalf) || said == "" && used < detector.TableNear && !soon {
		return ""
	}
	text := "EC2's own connection tracking of interface " + a.Interface
	switch {
	case a.Available == 0:
		text += " is used up"
	case soon:
		text += fmt.Sprintf(" is used up within %d minutes at the pace of the last minutes", soonMinutes(a.SecondsToExhaustion))
	default:
		text += fmt.Sprintf(" has less than %.0f %% left of the %d that were left at most", 100*(1-tableClear), most)
	}
	return text + ": then EC2 drops packets of new connections, in and out, whatever their ports: shorten the idle time of " +
		"tracked connections (TcpEstablishedTimeout), or take a larger instance"
}
