package ledger

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// spaces are the port spaces of all budgets, and the accounts that they belong to.
type spaces struct {
	clock    *clock
	outlooks *outlooks
	// secret makes the cells of folds hard to choose; trackedMax, hold and shared are as in Config.
	secret     [2]uint64
	trackedMax int
	hold       time.Duration
	shared     map[string]bool

	accounts []*account  // two for each budget: TCP, UDP
	list     []portSpace // by number; 0 is not used
	// accountBy has the number of the account of each port space, so that a flow finds it without a look at the space:
	// there are more of them than fit into the caches.
	accountBy []uint32
	spare     []uint32 // numbers that no port space has
	byKey     map[spaceKey]uint32
	budgets   []tracked // by number of the budget
	ports     map[uint64]portRefs
	holders   holders
	previous  *previous // during Reconfigure
}

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

// portKey returns the key of the port that f holds in port space s: both numbers, of port space and VIP, and the port.
func portKey(s place, f *flow) uint64 {
	return uint64(s)<<32 | uint64(f.vip)<<16 | uint64(f.port)
}

// count adds live and cooling flows on the port of f to its port space, or fold, and to its account.
func (ss *spaces) count(f *flow, live, cooling int) {
	if f.place == 0 {
		return
	}
	if f.flags&flagUncounted != 0 {
		live = 0
	}
	if f.place.folded() {
		a := ss.accounts[f.place.account()]
		a.fold.live += live
		a.fold.cooling += cooling
		a.fold.add(f.place.cell(), live+cooling)
		a.live += live
		a.cooling += cooling
		return
	}
	s := &ss.list[f.place]
	owner := f.owner
	if f.port != 0 && ss.accounts[s.key.account].terms.Unique != budget.PerEndpoint {
		live, cooling = ss.share(f, live, cooling)
		owner = ss.holders.portOwner(f, live+cooling)
	}
	if ss.holders.on {
		ss.holders.sets[f.place].add(owner, live+cooling)
	}
	a := ss.accounts[s.key.account]
	was := s.held()
	s.live += live
	s.cooling += cooling
	a.live += live
	a.cooling += cooling
	if was == 0 && s.held() > 0 {
		ss.unlist(uint32(f.place))
	} else if was > 0 && s.held() == 0 {
		ss.enlist(uint32(f.place))
	}
}

// share turns a change in flows on a port into a change in ports: a port is live while one of its flows is live, and
// cooling while it is held otherwise.
func (ss *spaces) share(f *flow, live, cooling int) (ports, coolingPorts int) {
	k := portKey(f.place, f)
	r := ss.ports[k]
	before := r
	r.live += int32(live)
	r.cooling += int32(cooling)
	if r == (portRefs{}) {
		delete(ss.ports, k)
	} else {
		ss.ports[k] = r
	}
	ports, coolingPorts = r.split()
	was, wasCooling := before.split()
	return ports - was, coolingPorts - wasCooling
}

// addOpening adds n to the live flows without an answer, at the place of f.
func (ss *spaces) addOpening(f *flow, n int) {
	if f.place == 0 {
		return
	}
	if f.place.folded() {
		a := ss.accounts[f.place.account()]
		a.opening += n
		a.fold.opening += n
		return
	}
	s := &ss.list[f.place]
	s.opening += n
	ss.accounts[s.key.account].opening += n
}

// accountOf returns the account that counts f; f.place is not 0.
func (ss *spaces) accountOf(f *flow) *account {
	return ss.accounts[f.place.accountIn(ss.accountBy)]
}

// of returns what counts f: its account, the tally of its port space or fold, and the outlook of its port space, nil if
// there is none; f.place is not 0.
func (ss *spaces) of(f *flow) (*account, *tally, *forecast.Outlook) {
	if f.place.folded() {
		a := ss.accounts[f.place.account()]
		return a, &a.fold.tally, nil
	}
	s := &ss.list[f.place]
	return ss.accounts[s.key.account], &s.tally, s.outlook
}

// outlookOf returns the outlook of the port space that counts f, nil if there is none.
func (ss *spaces) outlookOf(f *flow) *forecast.Outlook {
	if f.place == 0 || f.place.folded() {
		return nil
	}
	return ss.list[f.place].outlook
}

// keyOf returns the key of the port space of a flow of account a: own is the address that the flow leaves from.
// A provider that translates further out knows nothing of this machine's conntrack zones.
func (ss *spaces) keyOf(a uint32, own, destination address, port, zone uint16) spaceKey {
	k := spaceKey{account: a}
	acc := ss.accounts[a]
	if acc.budget.Translated {
		k.zone = zone
	}
	if acc.perAddress {
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

// placeOf returns the place of port space k; vip and to are shown of it if it is new.
func (ss *spaces) placeOf(k spaceKey, vip netip.Addr, to netip.AddrPort) place {
	if n, ok := ss.byKey[k]; ok {
		return place(n)
	}
	if n := ss.track(k, vip, to); n != 0 {
		return place(n)
	}
	return ss.foldAt(k.account, ss.cellOf(k))
}

// cellOf returns the cell that counts a port space in the fold of its account.
func (ss *spaces) cellOf(k spaceKey) uint16 {
	return uint16(sipHash(ss.secret, k.vip.hi, k.vip.lo, k.destination.hi, k.destination.lo,
		uint64(k.port)|uint64(k.zone)<<16).lo)
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
		ss.list = append(ss.list, portSpace{})
		ss.accountBy = append(ss.accountBy, 0)
		ss.holders.sets = append(ss.holders.sets, ownerSet{})
		ss.spare = append(ss.spare, uint32(len(ss.list)-1))
	}
	n := ss.spare[len(ss.spare)-1]
	ss.spare = ss.spare[:len(ss.spare)-1]
	s := &ss.list[n]
	*s = portSpace{key: k, used: true, emptied: ss.clock.now}
	ss.accountBy[n] = k.account
	ss.holders.sets[n] = ownerSet{}
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

// foldAt returns the place of a cell in the fold of account a, and makes the fold if needed.
func (ss *spaces) foldAt(a uint32, cell uint16) place {
	if acc := ss.accounts[a]; acc.fold == nil {
		acc.fold = &fold{cells: make([]uint32, 1<<cellBits)}
	}
	return foldedPlace(a, cell)
}

// noPorts counts opens that failed for lack of ports.
func (ss *spaces) noPorts(p place, opens uint64) {
	s := &ss.list[p]
	s.exhaustedAt, s.failing = ss.clock.now, true
	ss.accounts[s.key.account].noPorts += opens
}

// snapshot returns s as a snapshot shows it.
func (ss *spaces) snapshot(s *portSpace) detector.SpaceSnapshot {
	if s.label == "" {
		s.label = destinationLabel(s.destination, ss.accounts[s.key.account].terms.Unique)
		if s.vip.IsValid() {
			s.vipLabel = s.vip.String()
		}
		if s.key.zone != 0 {
			s.vipLabel = strings.TrimSpace(fmt.Sprintf("%s zone %d", s.vipLabel, s.key.zone))
		}
	}
	out := s.snapshot(ss.clock.now)
	out.VIP, out.Destination = s.vipLabel, s.label
	if f := ss.forecast(s); f != nil {
		shown := *f
		out.Forecast = &shown
	}
	return out
}
