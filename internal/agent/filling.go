package agent

import (
	"fmt"
	"math"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// fillingLooks is how many looks at the conntrack table its pace is taken from, fillingLeast the fewest: two minutes
// and half a one.
const (
	fillingLooks = 24
	fillingLeast = 6
	// fillingAhead is how far ahead a table is forecast, in seconds.
	fillingAhead = 3600
)

// filling forecasts when the conntrack table is full, from the pace of its entries. The zero value is ready.
type filling struct {
	at      []collector.Time
	entries []float64
}

// look takes in how many entries there are now.
func (f *filling) look(now collector.Time, entries int) {
	f.at, f.entries = append(f.at, now), append(f.entries, float64(entries))
	if len(f.at) > fillingLooks {
		f.at, f.entries = f.at[1:], f.entries[1:]
	}
}

// full returns in how many seconds most entries are reached: 0 if they are now, +Inf if not within fillingAhead at this
// pace. ok is false while too little is known.
func (f *filling) full(most int) (seconds float64, ok bool) {
	n := len(f.at)
	if n == 0 || most <= 0 {
		return 0, false
	}
	last := f.entries[n-1]
	switch {
	case last >= float64(most):
		return 0, true
	case n < fillingLeast:
		return 0, false
	}
	// A straight line through the looks, by least squares.
	var times, mean float64
	for i := range f.at {
		times += f.at[i].Sub(f.at[0]).Seconds() / float64(n)
		mean += f.entries[i] / float64(n)
	}
	var together, alone float64
	for i := range f.at {
		t := f.at[i].Sub(f.at[0]).Seconds() - times
		together += t * (f.entries[i] - mean)
		alone += t * t
	}
	pace := together / alone
	if seconds = (float64(most) - last) / pace; !(pace > 0) || seconds > fillingAhead {
		return math.Inf(1), true
	}
	return seconds, true
}

// The conntrack table is named in a notice from detector.TableNear of its limit on, or if it is full within
// detector.TableSoon and holds tableHalf of its limit already; the notice goes below tableClear, so that it does not
// come and go.
const tableClear, tableHalf = 0.8, 0.4

// tableText says how full the conntrack table is and when it will be; empty if there is room. said is what it returned
// last.
func tableText(k *metrics.Kernel, said string) string {
	if k == nil || k.EntriesMax == 0 {
		return ""
	}
	fill := float64(k.Entries) / float64(k.EntriesMax)
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
		within := int(detector.TableSoon / time.Minute)
		for _, minutes := range [...]int{5, 2} { // few steps: each change is logged
			if k.SecondsToFull < float64(60*minutes) {
				within = minutes
			}
		}
		text += fmt.Sprintf(": at the pace of the last minutes it is full within %d minutes", within)
	}
	return text + "; once it is full the kernel drops new connections of any kind, scrapes of this agent among them: " +
		"raise net.netfilter.nf_conntrack_max in the initial network namespace"
}

// losing tells how many flows conntrack fails to insert. The zero value is ready.
type losing struct {
	at     []collector.Time
	failed []uint64
}

// look takes in the kernel's counter, and returns by how much it grew a second in the last looks; 0 while there were
// too few.
func (l *losing) look(now collector.Time, failed uint64) float64 {
	if n := len(l.failed); n > 0 && failed < l.failed[n-1] {
		*l = losing{} // the counter began anew
	}
	l.at, l.failed = append(l.at, now), append(l.failed, failed)
	if len(l.at) > fillingLooks {
		l.at, l.failed = l.at[1:], l.failed[1:]
	}
	if len(l.at) < fillingLeast {
		return 0
	}
	return float64(failed-l.failed[0]) / now.Sub(l.at[0]).Seconds()
}

// raceText says that flows are lost in conntrack while ports and entries are left; empty if none are. said is what it
// returned last: the notice goes at half the rate at which it comes.
func raceText(s *detector.Snapshot, k *metrics.Kernel, said string) string {
	least := detector.RaceRate
	if said != "" {
		least /= 2
	}
	if k == nil || k.InsertFailedRate < least || float64(k.Entries) > detector.TableNear*float64(k.EntriesMax) {
		return ""
	}
	for i := range s.Budgets {
		for j := range s.Budgets[i].Protocols {
			if p := &s.Budgets[i].Protocols[j]; float64(p.Busiest) > detector.RaceFill*float64(p.Terms.Effective) {
				return "" // it may be for lack of ports
			}
		}
	}
	return "conntrack fails to insert new flows though ports are left: two flows take the same port at once, and one of " +
		"them loses its first packet, which costs it a second; random ports in the SNAT rule make that rare (nft: " +
		"fully-random; iptables: --random-fully)"
}
