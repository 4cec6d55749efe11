package ledger

import (
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// install makes accounts for budgets; those of a budget of the same name go on.
func (l *Ledger) install(budgets []*budget.Budget) {
	before := map[string][]*account{}
	for i := 0; i+1 < len(l.accounts); i += 2 {
		before[l.accounts[i].budget.Name] = l.accounts[i : i+2]
	}
	l.cfg.Budgets = budgets
	l.accounts, l.local, l.byOwn = nil, false, false
	l.owners = make([]owner, len(budgets))
	l.byKey = map[spaceKey]uint32{}
	l.matches = make([][2]match, 1<<matchBits)
	l.portBounds = boundsOf(budgets)
	for i, b := range budgets {
		l.local = l.local || b.Local
		l.byOwn = l.byOwn || len(b.VIPs) > 0 || b.SpacePerAddress()
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
	if l.now != 0 {
		l.startForecast()
	}
}

// legacy is what was in place before a Reconfigure.
type legacy struct {
	accounts []*account
	spaces   []portSpace
	byKey    map[spaceKey]uint32
	// number of the old account by that of the new one of the same budget, if any.
	number map[uint32]uint32
}

// Reconfigure puts other budgets in place; whether they are Local must not change. Flows stay
// and are counted under the budget that takes them now. Totals go on by budget name. Flows
// that no budget took until now come in with the next dump.
func (l *Ledger) Reconfigure(budgets []*budget.Budget) {
	l.clearStalls()
	old := legacy{l.accounts, l.spaces, l.byKey, map[uint32]uint32{}}
	l.spaces, l.spareSpace, l.outlooks = make([]portSpace, 1), nil, 0
	clear(l.ports)
	l.install(budgets)
	for a, acc := range l.accounts {
		for b, was := range old.accounts {
			if was.budget.Name == acc.budget.Name && was.protocol == acc.protocol {
				old.number[uint32(a)] = uint32(b)
			}
		}
	}
	l.old = &old
	for i := range old.spaces {
		if s := &old.spaces[i]; s.used {
			l.keepSpace(s)
		}
	}
	for _, n := range l.netns {
		if n != nil {
			n.listed = 0
			l.eachFlow(n, func(i uint32, f *flow) {
				if f.place != 0 {
					l.rehouse(n, i, f)
				}
			})
		}
	}
	l.old = nil
	l.excuseLeft(old.spaces)
}

// excuseLeft takes their witnesses from forecasts of old port spaces that none of now has.
func (l *Ledger) excuseLeft(old []portSpace) {
	kept := map[*forecast.Outlook]bool{}
	for i := range l.spaces {
		kept[l.spaces[i].outlook] = true
	}
	for i := range old {
		if o := old[i].outlook; o != nil && !kept[o] {
			o.Stop()
		}
	}
}

// keepSpace makes old port space s anew where its budget still has one like it.
func (l *Ledger) keepSpace(s *portSpace) {
	was := l.old.accounts[s.key.account]
	for a, acc := range l.accounts {
		if acc.budget.Name == was.budget.Name && acc.protocol == was.protocol && acc.terms.Ports > 0 &&
			acc.terms.Unique == was.terms.Unique && acc.budget.SpacePerAddress() == was.budget.SpacePerAddress() &&
			(was.terms.Unique == budget.PerNothing || acc.budget.Reaches(s.destination.Addr())) {
			k := s.key
			k.account = uint32(a)
			l.placeOf(k, s.vip, s.destination)
		}
	}
}

// inherit gives new port space s the history of the old one like it.
func (l *Ledger) inherit(s *portSpace) {
	if l.old == nil {
		return
	}
	k := s.key
	was, ok := l.old.number[k.account]
	if !ok {
		return
	}
	k.account = was
	if n, ok := l.old.byKey[k]; ok {
		o := &l.old.spaces[n]
		s.opened, s.rate, s.holds = o.opened, o.rate, o.holds
		s.exportedUntil, s.noPorts, s.noPortsForecast, s.heldForecast = o.exportedUntil, o.noPorts, o.noPortsForecast, o.heldForecast
		if s.outlook = o.outlook; s.outlook != nil {
			l.outlooks++
			if *l.accounts[s.key.account].terms != *l.old.accounts[was].terms {
				s.outlook.NewTerms()
			}
		}
	}
}

// rehouse counts entry i, which was counted under the old accounts and spaces, under the new.
func (l *Ledger) rehouse(n *netns, i uint32, f *flow) {
	was, from := l.old.accountOf(f), (*forecast.Outlook)(nil)
	if !f.place.folded() {
		from = l.old.spaces[f.place].outlook
	}
	f.place = l.newPlace(n, f)
	opened, live, untold := f.openedInterval(), f.phase == phaseLive, int32(0)
	if f.flags&flagUnconfirmed != 0 {
		untold = 1
	}
	to := l.outlookOf(f)
	if from != nil && from != to {
		if live {
			from.Drop(opened)
			from.AddUnconfirmed(-untold)
		} else {
			from.Free(f.moment)
		}
	}
	if live && (f.place == 0 || l.accountOf(f).forecast != was.forecast) {
		was.forecast.Dropped(opened)
		if f.place != 0 {
			l.accountOf(f).forecast.Opened(opened)
		}
	}
	if f.place == 0 {
		l.remove(n, i)
		return
	}
	if live {
		l.count(f, 1, 0)
		if f.flags&flagOpening != 0 {
			l.opening(f, 1)
		}
	} else {
		l.count(f, 0, 1)
	}
	if to != nil && from != to {
		if live {
			to.HaveLive(opened)
			to.AddUnconfirmed(untold)
		} else {
			to.HaveCooling(f.moment)
		}
	}
}

func (o *legacy) accountOf(f *flow) *account {
	if f.place.folded() {
		return o.accounts[f.place.account()]
	}
	return o.accounts[o.spaces[f.place].key.account]
}

// newPlace is where f belongs now, 0 if no budget takes it. What its old port space does
// not tell of its destination is learned when a dump shows the flow again; until then it is
// folded.
func (l *Ledger) newPlace(n *netns, f *flow) place {
	was, s := l.old.accountOf(f), portSpace{}
	if !f.place.folded() {
		s = l.old.spaces[f.place]
	}
	to, vip, unique := s.destination, l.vips[f.vip], was.terms.Unique
	if !vip.IsValid() {
		vip = s.vip
	}
	if f.place.folded() || unique == budget.PerNothing {
		for a, acc := range l.accounts {
			if acc.budget.Name != was.budget.Name || acc.protocol != f.protocol || acc.terms.Ports == 0 {
				continue
			}
			if !f.place.folded() && acc.terms.Unique == budget.PerNothing {
				return l.placeOf(l.spaceKeyOf(uint32(a), pack(vip), address{}, 0), vip, netip.AddrPort{})
			}
			return l.foldAt(uint32(a), uint16(f.key.lo))
		}
		return 0
	}
	q := question{netns: n.inode, protocol: f.protocol, translated: f.flags&flagTranslated != 0}
	a, ok := l.ask(to.Addr(), vip, f.port, &q)
	if !ok {
		return 0
	}
	if unique == budget.PerAddress && l.accounts[a].terms.Unique == budget.PerEndpoint || l.accounts[a].budget.SpacePerAddress() && !vip.IsValid() {
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
