package ledger

import (
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// spaceKeyOf is the key of the port space that a flow of account a belongs to.
func (l *Ledger) spaceKeyOf(a uint32, own, destination address, port uint16) spaceKey {
	k := spaceKey{account: a}
	acc := l.accounts[a]
	if acc.budget.SpacePerAddress() {
		k.vip = own
	}
	switch acc.terms.Unique {
	case budget.PerEndpoint:
		k.destination, k.port = destination, port
	case budget.PerAddress:
		k.destination = destination
	}
	return k
}

// placeFor finds or makes the place that the flow of s is counted in.
func (l *Ledger) placeFor(s *sighting) place {
	to := s.event.Flow.Destination
	k := l.spaceKeyOf(s.account, s.home, s.destination, to.Port())
	if n := s.space; int(n) < len(l.spaces) && l.spaces[n].used && l.spaces[n].key.is(&k) {
		return place(n)
	}
	p := l.placeOf(k, l.own(&s.event.Flow).Addr(), to)
	if !p.folded() {
		l.remember(&s.question, uint32(p))
	}
	return p
}

func (l *Ledger) placeOf(k spaceKey, vip netip.Addr, to netip.AddrPort) place {
	if n, ok := l.byKey[k]; ok {
		return place(n)
	}
	if n := l.track(k, vip, to); n != 0 {
		return place(n)
	}
	return l.foldAt(k.account, l.cellOf(k))
}

// is reports whether both are the same.
func (k *spaceKey) is(o *spaceKey) bool {
	return k.destination.lo == o.destination.lo && k.destination.hi == o.destination.hi &&
		k.vip.lo == o.vip.lo && k.vip.hi == o.vip.hi && k.account == o.account && k.port == o.port
}

// cellOf is the cell of a port space in its account's fold.
func (l *Ledger) cellOf(k spaceKey) uint16 {
	return uint16(sipHash(l.cfg.Key, k.vip.hi, k.vip.lo, k.destination.hi, k.destination.lo, uint64(k.port)).lo)
}

// track makes a port space, in the place of the one that has been empty longest if the
// budget tracks as many as it may; 0 if none is empty.
func (l *Ledger) track(k spaceKey, vip netip.Addr, to netip.AddrPort) uint32 {
	a := l.accounts[k.account]
	o := &l.owners[a.owner]
	if o.tracked >= l.cfg.TrackedMax {
		if o.oldest == 0 {
			return 0
		}
		l.forget(o.oldest)
	}
	if len(l.spareSpace) == 0 {
		l.spaces = append(l.spaces, portSpace{})
		l.spareSpace = append(l.spareSpace, uint32(len(l.spaces)-1))
	}
	n := l.spareSpace[len(l.spareSpace)-1]
	l.spareSpace = l.spareSpace[:len(l.spareSpace)-1]
	s := &l.spaces[n]
	*s = portSpace{key: k, used: true, emptied: l.now}
	if a.budget.SpacePerAddress() {
		s.vip = vip
	}
	switch a.terms.Unique {
	case budget.PerEndpoint:
		s.destination = to
	case budget.PerAddress:
		s.destination = netip.AddrPortFrom(to.Addr(), 0)
	}
	s.shared = len(l.shared) > 0 && l.shared[destinationLabel(s.destination, a.terms.Unique)]
	l.byKey[k] = n
	o.tracked++
	l.list(n)
	l.inherit(s)
	l.spaceTracked(s)
	return n
}

// forget drops an empty port space.
func (l *Ledger) forget(n uint32) {
	s := &l.spaces[n]
	l.unlist(n)
	l.spaceForgotten(s)
	delete(l.byKey, s.key)
	l.owners[l.accounts[s.key.account].owner].tracked--
	*s = portSpace{}
	l.spareSpace = append(l.spareSpace, n)
}

// forgetSpaces drops port spaces that have been empty for long.
func (l *Ledger) forgetSpaces() {
	for i := range l.owners {
		for n := l.owners[i].oldest; n != 0; n = l.owners[i].oldest {
			if l.now.Sub(l.spaces[n].emptied) < l.cfg.SpaceHold {
				break
			}
			l.forget(n)
		}
	}
}

// list appends a port space that became empty to its budget's list.
func (l *Ledger) list(n uint32) {
	s := &l.spaces[n]
	o := &l.owners[l.accounts[s.key.account].owner]
	s.emptied = l.now
	s.prev, s.next = o.newest, 0
	if o.newest != 0 {
		l.spaces[o.newest].next = n
	} else {
		o.oldest = n
	}
	o.newest = n
}

// unlist takes a port space that is no longer empty out of its budget's list.
func (l *Ledger) unlist(n uint32) {
	s := &l.spaces[n]
	o := &l.owners[l.accounts[s.key.account].owner]
	if s.prev != 0 {
		l.spaces[s.prev].next = s.next
	} else {
		o.oldest = s.next
	}
	if s.next != 0 {
		l.spaces[s.next].prev = s.prev
	} else {
		o.newest = s.prev
	}
	s.prev, s.next = 0, 0
}

// promote moves folded live f, of which the destination is in sight again, to its port
// space if that is tracked or can be.
func (l *Ledger) promote(s *sighting, f *flow) {
	p := l.placeFor(s)
	if p.folded() {
		if p != f.place {
			l.move(f, p)
		}
		return
	}
	l.move(f, p)
}

// move counts live f elsewhere.
func (l *Ledger) move(f *flow, to place) {
	opening := f.flags&flagOpening != 0
	if opening {
		l.opening(f, -1)
	}
	untold := f.flags&flagUnconfirmed != 0
	if untold {
		l.addUnconfirmed(f, -1)
	}
	l.count(f, -1, 0)
	f.place = to
	l.count(f, 1, 0)
	if opening {
		l.opening(f, 1)
	}
	if untold {
		l.addUnconfirmed(f, 1)
	}
	l.flowMoved(f)
}

// destinationLabel reads as the metric label shows it.
func destinationLabel(d netip.AddrPort, u budget.Uniqueness) string {
	switch {
	case u == budget.PerNothing || !d.Addr().IsValid() || d.Addr().IsUnspecified():
		return "*"
	case u == budget.PerAddress && d.Addr().Is6():
		return "[" + d.Addr().String() + "]:*"
	case u == budget.PerAddress:
		return d.Addr().String() + ":*"
	}
	return d.String()
}

// spaceSnapshot is a port space as a snapshot shows it.
func (l *Ledger) spaceSnapshot(s *portSpace) detector.SpaceSnapshot {
	if s.label == "" {
		s.label = destinationLabel(s.destination, l.accounts[s.key.account].terms.Unique)
		if s.vip.IsValid() {
			s.vipLabel = s.vip.String()
		}
	}
	out := s.snapshot(l.now)
	out.VIP, out.Destination = s.vipLabel, s.label
	if s.outlook != nil && s.outlook.Latest() != nil {
		f := *s.outlook.Latest()
		out.Forecast = &f
	}
	return out
}

func (t *tally) snapshot(now collector.Time) detector.SpaceSnapshot {
	return detector.SpaceSnapshot{
		Held: t.held(), Live: t.live, Cooling: t.cooling,
		Opening: t.opening, Stalled: t.stalled, Opened: t.opened,
		OpensPerSecond: t.rate.at(now), MeanHold: t.holds.mean(),
	}
}
