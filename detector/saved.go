package detector

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/snatwatch/snatwatch/collector"
)

// saved is the memory of a port space with its name, and when it was last added to.
type saved struct {
	spaceName
	at     collector.Time
	memory memory
}

// old says that what was learned is worth nothing now.
func (v *saved) old(now collector.Time) bool { return now.Sub(v.at) > stateOld }

// until is the memory as it is at now, when nothing was added to it.
func (v *saved) until(now collector.Time) memory {
	m := v.memory
	gap := max(0, now.Sub(v.at).Seconds())
	for i, tau := range hazardTaus() {
		m.speeds[i].keep(math.Exp(-gap / tau))
	}
	m.rhythm.start = second(v.at)
	m.rhythm.skip(second(now) / rhythmBin)
	return m
}

// unclaimed are the memories of port spaces that were not met since the restart, the youngest first; with
// those of n that were, no more than there can be forecasts.
func (l *Ledger) unclaimed(n int) []*saved {
	list := slices.DeleteFunc(slices.Collect(maps.Values(l.saved)), func(v *saved) bool { return v.old(l.now) })
	slices.SortFunc(list, func(a, b *saved) int {
		return cmp.Or(cmp.Compare(b.at, a.at), a.compare(&b.spaceName))
	})
	return list[:min(len(list), max(0, l.cfg.ForecastMax-n))]
}

// spaceName tells port spaces apart across a restart.
type spaceName struct {
	budget, vip, destination string
	protocol                 collector.Protocol
}

func (n *spaceName) compare(o *spaceName) int {
	return cmp.Or(cmp.Compare(n.budget, o.budget), cmp.Compare(n.vip, o.vip), cmp.Compare(n.destination, o.destination), cmp.Compare(n.protocol, o.protocol))
}

func (l *Ledger) spaceName(s *portSpace) spaceName {
	a := l.accounts[s.key.account]
	n := spaceName{budget: a.budget.Name, destination: destinationLabel(s.destination, a.terms.Unique), protocol: a.protocol}
	if s.vip.IsValid() {
		n.vip = s.vip.String()
	}
	return n
}

// newOutlook starts the forecast of s, with what a state tells of it.
func (l *Ledger) newOutlook(s *portSpace) *outlook {
	o := l.accounts[s.key.account].stock.outlook(l.now)
	if len(l.saved) == 0 {
		return o
	}
	if l.now.Sub(l.cfg.Start) > stateOld {
		l.saved = nil
		return o
	}
	name := l.spaceName(s)
	if v, ok := l.saved[name]; ok {
		if !v.old(l.now) {
			m := v.until(l.now)
			o.recall(&m, l.now)
		}
		delete(l.saved, name)
	}
	return o
}
