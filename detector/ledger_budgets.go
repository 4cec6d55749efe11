package detector

import (
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
)

// install makes accounts for budgets; those of a budget of the same name go on.
func (l *Ledger) install(budgets []*Budget) {
	before := map[string][]*account{}
	for i := 0; i+1 < len(l.accounts); i += 2 {
		before[l.accounts[i].budget.Name] = l.accounts[i : i+2]
	}
	l.cfg.Budgets = budgets
	l.accounts, l.local = nil, false
	l.owners = make([]owner, len(budgets))
	l.byKey = map[spaceKey]uint32{}
	clear(l.matches[:])
	for i, b := range budgets {
		l.local = l.local || b.Local
		for k, p := range []collector.Protocol{collector.TCP, collector.UDP} {
			a := &account{}
			if old := before[b.Name]; old != nil {
				*a = *old[k]
				a.live, a.cooling, a.opening, a.stalled, a.fold = 0, 0, 0, 0, nil
			}
			a.budget, a.terms, a.protocol, a.owner = b, b.Terms(p), p, uint32(i)
			l.accounts = append(l.accounts, a)
		}
	}
}

// Reconfigure puts other budgets in place; whether they are Local must not change. Flows stay
// and are counted under the budget that takes them now. Totals go on by budget name. Flows
// that no budget took until now come in with the next dump.
func (l *Ledger) Reconfigure(budgets []*Budget) {
	l.clearStalls()
	accounts, spaces := l.accounts, l.spaces
	l.spaces, l.spareSpace = make([]portSpace, 1), nil
	clear(l.ports)
	l.install(budgets)
	for _, n := range l.netns {
		if n == nil {
			continue
		}
		n.listed = 0
		for c := 0; c < len(n.flows.chunks); c++ {
			first := n.flows.chunks[c] << chunkShift
			for i := first; i < first+chunkSize; i++ {
				f := l.table.at(i)
				if f.place != 0 {
					l.rehouse(n, i, f, accounts, spaces)
				}
			}
		}
	}
	for i := range spaces {
		if s := &spaces[i]; s.used {
			l.inherit(s, accounts)
		}
	}
}

// rehouse counts entry i, which was counted under the old accounts and spaces, under the new.
func (l *Ledger) rehouse(n *netns, i uint32, f *flow, accounts []*account, spaces []portSpace) {
	old := f.place
	f.place = l.newPlace(n, f, old, accounts, spaces)
	if f.place == 0 {
		l.remove(n, i)
		return
	}
	if f.phase == phaseLive {
		l.count(f, 1, 0)
		if f.flags&flagOpening != 0 {
			l.opening(f, 1)
		}
		return
	}
	l.count(f, 0, 1)
}

// newPlace is where a flow belongs that was at old, 0 if no budget takes it. What the old
// port space does not tell of its destination is learned when a dump shows the flow
// again; until then it is folded.
func (l *Ledger) newPlace(n *netns, f *flow, old place, accounts []*account, spaces []portSpace) place {
	var s portSpace
	was := accounts[0]
	if old.folded() {
		was = accounts[old.account()]
	} else {
		s = spaces[old]
		was = accounts[s.key.account]
	}
	to, vip := s.destination, l.vips[f.vip]
	if !vip.IsValid() {
		vip = s.vip
	}
	unique := was.terms.Unique
	if old.folded() || unique == PerNothing {
		for a, acc := range l.accounts {
			if acc.budget.Name == was.budget.Name && acc.protocol == f.protocol && acc.terms.Ports > 0 {
				if unique == PerNothing && acc.terms.Unique == PerNothing && !old.folded() {
					return l.placeOf(l.spaceKeyOf(uint32(a), pack(vip), address{}, 0), vip, netip.AddrPort{})
				}
				return l.foldAt(uint32(a), uint16(f.key.lo))
			}
		}
		return 0
	}
	q := question{netns: n.inode, protocol: f.protocol, translated: f.flags&flagTranslated != 0}
	a, ok := l.ask(to.Addr(), vip, &q)
	if !ok {
		return 0
	}
	if unique == PerAddress && l.accounts[a].terms.Unique == PerEndpoint || l.accounts[a].budget.SpacePerVIP && !vip.IsValid() {
		return l.foldAt(a, uint16(f.key.lo))
	}
	return l.placeOf(l.spaceKeyOf(a, pack(vip), pack(to.Addr()), to.Port()), vip, to)
}

// foldAt is a place in a fold.
func (l *Ledger) foldAt(a uint32, cell uint16) place {
	if acc := l.accounts[a]; acc.fold == nil {
		acc.fold = &fold{cells: make([]uint32, 1<<cellBits)}
	}
	return foldedPlace(a, cell)
}

// inherit gives the history of old port space s to the new one of the same budget.
func (l *Ledger) inherit(s *portSpace, accounts []*account) {
	was := accounts[s.key.account]
	for a, acc := range l.accounts {
		if acc.budget.Name != was.budget.Name || acc.protocol != was.protocol {
			continue
		}
		k := s.key
		k.account = uint32(a)
		if n, ok := l.byKey[k]; ok {
			now := &l.spaces[n]
			now.opened, now.rate, now.holds = s.opened, s.rate, s.holds
			now.exportedUntil, now.noPorts = s.exportedUntil, s.noPorts
		}
	}
}
