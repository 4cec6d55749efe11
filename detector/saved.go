package detector

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

// unclaimed are the memories of port spaces that were not met since the restart, the youngest first and n at
// most.
func (f *forecaster) unclaimed(now collector.Time, n int) []*saved {
	list := slices.DeleteFunc(slices.Collect(maps.Values(f.saved)), func(v *saved) bool { return v.old(now) })
	slices.SortFunc(list, func(a, b *saved) int {
		return cmp.Or(cmp.Compare(b.at, a.at), a.compare(&b.spaceName))
	})
	return list[:min(len(list), max(0, n))]
}

// remembers reports whether a state tells of port spaces that were not met until uptime, the time since the
// start. A state says nothing any more after stateOld.
func (f *forecaster) remembers(uptime time.Duration) bool {
	if len(f.saved) > 0 && uptime > stateOld {
		f.saved = nil
	}
	return len(f.saved) > 0
}

// claim gives new outlook o what a state tells of its port space.
func (f *forecaster) claim(o *outlook, name spaceName, now collector.Time) {
	if v, ok := f.saved[name]; ok {
		if !v.old(now) {
			m := v.until(now)
			o.recall(&m, now)
		}
		delete(f.saved, name)
	}
}

// spaceName tells port spaces apart across a restart.
type spaceName struct {
	budget, vip, destination string
	protocol                 collector.Protocol
}

func (n *spaceName) compare(o *spaceName) int {
	return cmp.Or(cmp.Compare(n.budget, o.budget), cmp.Compare(n.vip, o.vip), cmp.Compare(n.destination, o.destination), cmp.Compare(n.protocol, o.protocol))
}
