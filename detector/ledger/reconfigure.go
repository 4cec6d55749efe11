package ledger

import (
	"net/netip"
	"reflect"
	"slices"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// Reconfigure puts other budgets in place; they must be Local if the old ones were, and only then. Flows stay and count
// under the budget that takes them now. A budget goes on with the totals of the old budget of its name. Flows that no
// budget took until now come with the next dump; those of this machine's NAT that opened in the last minute count as
// opened. If the budgets are the same as before, nothing changes.
func (l *Ledger) Reconfigure(budgets []*budget.Budget) {
	if reflect.DeepEqual(budgets, l.matcher.budgets) {
		return
	}
	l.stalls.clear()
	l.shortage.reconfigured()
	l.namespaces.noteReplaced(&l.matcher, l.clock.now)
	old := previous{
		accounts: l.spaces.accounts, spaces: l.spaces.list, accountBy: l.spaces.accountBy, owners: l.spaces.holders.sets,
		byKey: l.spaces.byKey, number: map[uint32]uint32{},
	}
	l.outlooks.count = 0
	l.install(budgets)
	l.matcher.since = l.clock.now + 1
	for a, acc := range l.spaces.accounts {
		for b, was := range old.accounts {
			if was.budget.Name == acc.budget.Name && was.protocol == acc.protocol {
				old.number[uint32(a)] = uint32(b)
			}
		}
	}
	for _, h := range l.namespaces.handed {
		h.renumber(old.number)
	}
	l.spaces.previous = &old
	for i := range old.spaces {
		if s := &old.spaces[i]; s.used {
			l.keepSpace(s)
		}
	}
	for _, n := range l.namespaces.list {
		if n != nil {
			n.check.skip = true
			if len(n.untaken.flows) > 0 { // the next dump brings in those that a budget takes now
				n.exact, n.repairs = false, false
			}
			if n.handed != nil {
				n.handed.renumber(old.number)
			}
			l.flows.table.each(&n.flows, func(i uint32, f *flow) {
				if f.place != 0 {
					l.recount(n, i, f)
				}
			})
		}
	}
	l.spaces.previous = nil
	l.stopLeft(old.spaces)
}

// noteReplaced keeps the budgets of m, which others replace now, until each namespace has had a complete dump since.
func (ns *namespaces) noteReplaced(m *matcher, now collector.Time) {
	oldest := now
	for _, n := range ns.list {
		if n != nil && n.listed != 0 {
			oldest = min(oldest, n.listed)
		}
	}
	m.replaced = slices.DeleteFunc(m.replaced, func(r replaced) bool { return r.until <= oldest })
	if len(m.replaced) == replacedMax {
		for _, n := range ns.list {
			if n != nil && n.listed < m.replaced[0].until {
				n.listed = 0
			}
		}
		m.replaced = slices.Delete(m.replaced, 0, 1)
	}
	m.replaced = append(m.replaced, replaced{until: now, budgets: m.budgets})
}

// stopLeft ends the outlooks of old port spaces that no port space has now.
func (l *Ledger) stopLeft(old []portSpace) {
	kept := map[*forecast.Outlook]bool{}
	for i := range l.spaces.list {
		kept[l.spaces.list[i].outlook] = true
	}
	for i := range old {
		if o := old[i].outlook; o != nil && !kept[o] {
			o.Stop()
		}
	}
}

// keepSpace makes old port space s again if its budget still has such a port space.
func (l *Ledger) keepSpace(s *portSpace) {
	was := l.spaces.previous.accounts[s.key.account]
	for a, acc := range l.spaces.accounts {
		if acc.budget.Name == was.budget.Name && acc.protocol == was.protocol && acc.terms.Ports > 0 &&
			acc.terms.Unique == was.terms.Unique && acc.perAddress == was.perAddress &&
			acc.budget.Classes == was.budget.Classes &&
			(was.terms.Unique == budget.PerNothing || acc.budget.Reaches(s.destination.Addr())) {
			k := s.key
			k.account = uint16(a)
			l.spaces.placeOf(k, s.vip, s.destination)
		}
	}
}

// recount counts entry i, which the old accounts and port spaces counted, in the new ones.
func (l *Ledger) recount(n *netns, i uint32, f *flow) {
	was, from := l.spaces.previous.accountOf(f), (*forecast.Outlook)(nil)
	if !f.place.folded() {
		from = l.spaces.previous.spaces[f.place].outlook
	}
	f.place = l.newPlace(n, f)
	opened, live, unconfirmed := f.openedInterval(), f.phase == phaseLive, int32(0)
	if f.flags&flagUnconfirmed != 0 {
		unconfirmed = 1
	}
	to := l.spaces.outlookOf(f)
	if from != nil && from != to {
		if live {
			from.Drop(opened)
			from.AddUnconfirmed(-unconfirmed)
		} else {
			from.Free(f.moment)
		}
	}
	if live && (f.place == 0 || l.spaces.accountOf(f).forecast != was.forecast) {
		was.forecast.Dropped(opened)
		if f.place != 0 {
			l.spaces.accountOf(f).forecast.Opened(opened)
		}
	}
	if f.place == 0 {
		n.untaken.add(f.key.hi, untakenFlow{id: f.id, dump: n.dump, opened: collector.Interval{To: l.clock.now}})
		l.flows.table.remove(i, &n.flows)
		return
	}
	if !l.spaces.accountOf(f).freesAtEnd {
		f.flags &^= flagUncounted
	}
	if live {
		l.spaces.count(f, 1, 0)
		if f.flags&flagOpening != 0 {
			l.spaces.addOpening(f, 1)
		}
	} else {
		l.spaces.count(f, 0, 1)
	}
	if to != nil && from != to {
		if live {
			to.HaveLive(opened)
			to.AddUnconfirmed(unconfirmed)
		} else {
			to.HaveCooling(f.moment)
		}
	}
}

// newPlace returns the place of f under the new budgets, 0 if none takes it. The old port space may not know the whole
// destination of f, which the new one needs; then f is folded until a dump shows it again.
func (l *Ledger) newPlace(n *netns, f *flow) place {
	was, s := l.spaces.previous.accountOf(f), portSpace{}
	if !f.place.folded() {
		s = l.spaces.previous.spaces[f.place]
	}
	to, vip, unique := s.destination, l.vips.addrs[f.vip], was.terms.Unique
	if !vip.IsValid() {
		vip = s.vip
	}
	if f.place.folded() || unique == budget.PerNothing {
		for a, acc := range l.spaces.accounts {
			if acc.budget.Name != was.budget.Name || acc.protocol != f.protocol() || acc.terms.Ports == 0 {
				continue
			}
			if !f.place.folded() && acc.terms.Unique == budget.PerNothing {
				class := acc.budget.ClassOf(f.port)
				k := l.spaces.keyOf(uint32(a), pack(vip), address{}, 0, s.key.zone, class)
				return l.spaces.placeOf(k, vip, netip.AddrPort{})
			}
			return l.spaces.foldAt(uint32(a), uint16(f.key.lo))
		}
		return 0
	}
	q := matchKey{netns: n.inode, protocol: f.protocol(), translated: f.flags&flagTranslated != 0}
	a, ok := l.matcher.find(to.Addr(), vip, f.port, &q)
	if !ok {
		return 0
	}
	if unique == budget.PerAddress && l.spaces.accounts[a].terms.Unique == budget.PerEndpoint ||
		l.spaces.accounts[a].perAddress && !vip.IsValid() {
		return l.spaces.foldAt(a, uint16(f.key.lo))
	}
	class := l.spaces.accounts[a].budget.ClassOf(f.port)
	return l.spaces.placeOf(l.spaces.keyOf(a, pack(vip), pack(to.Addr()), to.Port(), s.key.zone, class), vip, to)
}

// SwitchSource says that events come from another source from now on, such as conntrack after sockets. The new source
// has other flow IDs and may show other namespaces. Flows of namespace outer stay and get their IDs from the next dump;
// the flows of all other namespaces are dropped and do not count as ended. A flow of outer that was not known before
// the next dump may have opened at any time.
func (l *Ledger) SwitchSource(outer uint64) {
	l.stalls.clear()
	for _, n := range l.namespaces.list {
		if n == nil {
			continue
		}
		n.dumping, n.listed, n.lastOpen, n.sockets, n.announced = false, 0, 0, false, false
		n.check, n.untaken = check{mismatches: n.check.mismatches}, untaken{}
		if n.inode == outer {
			n.exact, n.repairs = false, false
			l.flows.table.each(&n.flows, func(_ uint32, f *flow) {
				l.flows.countOwed(f)
				f.id, f.before = 0, 0
				f.flags &^= flagEndSeen | flagMissed | flagSwept
			})
			continue
		}
		n.exact = true // it has no flow
		l.flows.table.each(&n.flows, func(i uint32, f *flow) { l.flows.drop(n, i, f) })
	}
}
