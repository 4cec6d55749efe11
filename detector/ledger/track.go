package ledger

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
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
	o := &ss.budgets[a.budgetNumber]
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
	ss.accountBy[n] = uint32(k.account)
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
	ss.budgets[ss.accounts[s.key.account].budgetNumber].count--
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
	o := &ss.budgets[ss.accounts[s.key.account].budgetNumber]
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
	o := &ss.budgets[ss.accounts[s.key.account].budgetNumber]
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

// destinationLabel returns destination d as the metric label shows it.
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

// previous is what was in place before a Reconfigure.
type previous struct {
	accounts  []*account
	spaces    []portSpace
	accountBy []uint32
	owners    []ownerSet
	byKey     map[spaceKey]uint32
	// number maps the number of a new account to the number of the old account whose budget had the same name.
	number map[uint32]uint32
}

// inherit gives the new port space of that number the history of the old port space with the same key.
func (o *previous) inherit(ss *spaces, number uint32) {
	if o == nil {
		return
	}
	s := &ss.list[number]
	k := s.key
	was, ok := o.number[uint32(k.account)]
	if !ok {
		return
	}
	k.account = uint16(was)
	if n, ok := o.byKey[k]; ok {
		old := &o.spaces[n]
		if ss.holders.on {
			ss.holders.sets[number] = o.owners[n].places()
		}
		s.opened, s.rate, s.holds = old.opened, old.rate, old.holds
		s.exportedUntil, s.exhaustedAt, s.failing, s.heldForecast = old.exportedUntil, old.exhaustedAt, old.failing,
			old.heldForecast
		if s.outlook = old.outlook; s.outlook != nil {
			ss.outlooks.count++
			if *ss.accounts[s.key.account].terms != *o.accounts[was].terms {
				s.outlook.NewTerms()
			}
		}
	}
}

func (o *previous) accountOf(f *flow) *account {
	return o.accounts[f.place.accountIn(o.accountBy)]
}

// outlooks makes the outlooks of port spaces, max at most.
type outlooks struct {
	clock      *clock
	forecaster *forecast.Forecaster
	count, max int
}

// start gives each account the state that its forecasts share.
func (o *outlooks) start(accounts []*account) {
	o.forecaster.Clear()
	for _, a := range accounts {
		if a.forecast == nil {
			a.forecast = o.forecaster.Account(a.budget, a.protocol, o.clock.now)
			continue
		}
		o.forecaster.Keep(a.forecast, a.terms)
	}
}

// track gives port space s of account a an outlook, if it has none and there may be one more.
func (o *outlooks) track(a *account, s *portSpace) {
	if s.outlook == nil && o.count < o.max {
		s.outlook = o.make(a, s)
		o.count++
	}
}

// forget ends the outlook of s, if it has one.
func (o *outlooks) forget(s *portSpace) {
	if s.outlook != nil {
		s.outlook.Stop()
		s.outlook = nil
		o.count--
	}
}

// make starts the outlook of s, a port space of account a, with what a restored state knows of s.
func (o *outlooks) make(a *account, s *portSpace) *forecast.Outlook {
	made := a.forecast.Outlook(o.clock.now)
	if o.forecaster.Remembers(o.clock.now.Sub(o.clock.start)) {
		o.forecaster.Claim(made, s.name(a), o.clock.now)
	}
	return made
}

// name returns the name by which a state keeps s, a port space of account a.
func (s *portSpace) name(a *account) forecast.SpaceName {
	return forecast.SpaceName{
		Budget: a.budget.Name, VIP: s.vipText(),
		Destination: destinationLabel(s.destination, a.terms.Unique), Protocol: a.protocol,
	}
}

// vipText returns the VIP, zone and class of s as the metric label shows them. It leaves out what does not tell s from
// other port spaces.
func (s *portSpace) vipText() string {
	var parts []string
	if s.vip.IsValid() {
		parts = append(parts, s.vip.String())
	}
	if s.key.zone != 0 {
		parts = append(parts, fmt.Sprintf("zone %d", s.key.zone))
	}
	if class := s.key.class.String(); class != "" {
		parts = append(parts, class)
	}
	return strings.Join(parts, " ")
}
