package forecast

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// saved is the memory of a port space with its name, and when it was last added to.
type saved struct {
	SpaceName
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
	m.rhythm.start = Second(v.at)
	m.rhythm.skip(Second(now) / rhythmBin)
	return m
}

// unclaimed are the memories of port spaces that were not met since the restart, the youngest first and n at
// most.
func (f *Forecaster) unclaimed(now collector.Time, n int) []*saved {
	list := slices.DeleteFunc(slices.Collect(maps.Values(f.saved)), func(v *saved) bool { return v.old(now) })
	slices.SortFunc(list, func(a, b *saved) int {
		return cmp.Or(cmp.Compare(b.at, a.at), a.compare(&b.SpaceName))
	})
	return list[:min(len(list), max(0, n))]
}

// remembers reports whether a state tells of port spaces that were not met until uptime, the time since the
// start. A state says nothing any more after stateOld.
func (f *Forecaster) Remembers(uptime time.Duration) bool {
	if len(f.saved) > 0 && uptime > stateOld {
		f.saved = nil
	}
	return len(f.saved) > 0
}

// claim gives new outlook o what a state tells of its port space.
func (f *Forecaster) Claim(o *Outlook, name SpaceName, now collector.Time) {
	if v, ok := f.saved[name]; ok {
		if !v.old(now) {
			m := v.until(now)
			o.recall(&m, now)
		}
		delete(f.saved, name)
	}
}

// spaceName tells port spaces apart across a restart.
type SpaceName struct {
	Budget, VIP, Destination string
	Protocol                 collector.Protocol
}

func (n *SpaceName) compare(o *SpaceName) int {
	return cmp.Or(cmp.Compare(n.Budget, o.Budget), cmp.Compare(n.VIP, o.VIP), cmp.Compare(n.Destination, o.Destination), cmp.Compare(n.Protocol, o.Protocol))
}
