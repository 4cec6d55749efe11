package metrics

import (
	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
)

// ownersHeld shows who holds the ports of a port space; labels are the space's.
func (e emitter) ownersHeld(s *detector.SpaceSnapshot, labels ...string) {
	for _, o := range s.Owners {
		e.gauge(OwnerPortsHeld, float64(o.Held), append(labels[:len(labels):len(labels)], string(o.Kind), o.Name,
			o.Container)...)
	}
}

// largestOwner shows who holds the most ports of a port space, of those whose name is known; labels are the space's.
func (e emitter) largestOwner(s *detector.SpaceSnapshot, labels ...string) {
	var largest *detector.OwnerHeld
	for i := range s.Owners {
		o := &s.Owners[i]
		named := o.Kind != collector.KindUnknown && o.Kind != collector.KindOther
		if named && (largest == nil || o.Held > largest.Held) {
			largest = o
		}
	}
	if largest != nil {
		labels = append(labels, string(largest.Kind), largest.Name, largest.Container)
		e.gauge(SoonestOwnerHeld, float64(largest.Held), labels...)
	}
}

// ownerTotals shows the flows of each owner that is named.
func (e emitter) ownerTotals(p *detector.AccountSnapshot, budget, protocol string) {
	for i := range p.Owners {
		o := &p.Owners[i]
		e.count(OwnerFlowsOpened, o.Opened, budget, protocol, string(o.Kind), o.Name)
		if o.MeanLifetime > 0 {
			e.estimate(OwnerLifetimeSeconds, o.MeanLifetime.Seconds(), budget, protocol, string(o.Kind), o.Name)
		}
	}
}

// ownerInfo shows the workload of each pod that is named, once for all budgets.
func (e emitter) ownerInfo(s *detector.Snapshot) {
	shown := map[collector.Owner]bool{}
	for i := range s.Budgets {
		for j := range s.Budgets[i].Protocols {
			for _, o := range s.Budgets[i].Protocols[j].Owners {
				if o.Workload != "" && !shown[o.Owner] {
					shown[o.Owner] = true
					e.gauge(OwnerInfo, 1, string(o.Kind), o.Name, o.Workload, o.WorkloadKind)
				}
			}
		}
	}
}
