package ledger

import (
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// tracked is what the port spaces of one budget share.
type tracked struct {
	count int
	// oldest and newest end the list of its empty port spaces, linked by next.
	oldest, newest uint32
}

// install puts accounts of a number of budgets in place, without port spaces.
func (ss *spaces) install(accounts []*account, budgets int) {
	ss.accounts = accounts
	ss.list, ss.spare, ss.holders.sets = make([]portSpace, 1), nil, make([]ownerSet, 1)
	ss.accountBy = make([]uint32, 1)
	ss.byKey = map[spaceKey]uint32{}
	ss.budgets = make([]tracked, budgets)
	ss.ports = map[uint64]portRefs{}
	ss.holders.ofPort = map[uint64]collector.OwnerNumber{}
}

// track makes a port space and returns its number. If the budget tracks as many as it may, the port space that has
// been empty longest makes room; 0 if none is empty.
func (ss *spaces) track(k spaceKey, vip netip.Addr, to netip.AddrPort) uint32 {
	a := ss.accounts[k.account]
	o := &ss.budgets[a.owner]
	if o.count >= ss.trackedMax {
		if o.oldest == 0 {
			return 0
		}
		ss.forget(o.oldest)
	}
	if len(ss.spare) == 0 {
		ss.list = append(roomy(ss.list), portSpace{})
		ss.accountBy = append(ss.accountBy, 0)
		if ss.holders.on {
			ss.holders.sets = append(ss.holders.sets, ownerSet{})
		}
		ss.spare = append(ss.spare, uint32(len(ss.list)-1))
	}
	n := ss.spare[len(ss.spare)-1]
	ss.spare = ss.spare[:len(ss.spare)-1]
	s := &ss.list[n]
	*s = portSpace{key: k, used: true, emptied: ss.clock.now}
	ss.accountBy[n] = k.account
	if ss.holders.on {
		ss.holders.sets[n] = ownerSet{}
	}
	if a.perAddress {
		s.vip = vip
	}
	switch a.terms.Unique {
	case budget.PerEndpoint:
		s.destination = to
	case budget.PerAddress:
		s.destination = netip.AddrPortFrom(to.Addr(), 0)
	}
	s.shared = len(ss.shared) > 0 && ss.shared[destinationLabel(s.destination, a.terms.Unique)]
	ss.byKey[k] = n
	o.count++
	ss.enlist(n)
	ss.previous.inherit(ss, n)
	ss.outlooks.track(a, s)
	return n
}

// roomy returns list with room for one more. The list grows by an eighth; append alone would leave up to a third empty.
func roomy(list []portSpace) []portSpace {
	if len(list) < cap(list) {
		return list
	}
	return append(make([]portSpace, 0, len(list)+len(list)/8+64), list...)
}

// forget drops an empty port space.
func (ss *spaces) forget(n uint32) {
	s := &ss.list[n]
	ss.unlist(n)
	ss.outlooks.forget(s)
	delete(ss.byKey, s.key)
	ss.budgets[ss.accounts[s.key.account].owner].count--
	*s = portSpace{}
	ss.spare = append(ss.spare, n)
}

// forgetEmpty drops port spaces that have been empty for long.
func (ss *spaces) forgetEmpty() {
	for i := range ss.budgets {
		for n := ss.budgets[i].oldest; n != 0; n = ss.budgets[i].oldest {
			if ss.clock.now.Sub(ss.list[n].emptied) < ss.hold {
				break
			}
			ss.forget(n)
		}
	}
}

// enlist appends a port space that became empty to the list of its budget.
func (ss *spaces) enlist(n uint32) {
	s := &ss.list[n]
	o := &ss.budgets[ss.accounts[s.key.account].owner]
	s.emptied = ss.clock.now
	s.prev, s.next = o.newest, 0
	if o.newest != 0 {
		ss.list[o.newest].next = n
	} else {
		o.oldest = n
	}
	o.newest = n
}

// unlist takes a port space that is no longer empty out of the list of its budget.
func (ss *spaces) unlist(n uint32) {
	s := &ss.list[n]
	o := &ss.budgets[ss.accounts[s.key.account].owner]
	if s.prev != 0 {
		ss.list[s.prev].next = s.next
	} else {
		o.oldest = s.next
	}
	if s.next != 0 {
		ss.list[s.next].prev = s.prev
	} else {
		o.newest = s.prev
	}
	s.prev, s.next = 0, 0
}
