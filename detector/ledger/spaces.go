package ledger

import (
	"math"
	"net/netip"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// place says where a flow is counted: nowhere (0), in the tracked port space of that number, or in a cell of the fold
// of its account.
type place uint32

const (
	placeFolded place = 1 << 31
	cellBits          = 16
)

func foldedPlace(account uint32, cell uint16) place {
	return placeFolded | place(account)<<cellBits | place(cell)
}

func (p place) folded() bool    { return p&placeFolded != 0 }
func (p place) tracked() bool   { return int32(p) > 0 } // neither 0 nor folded
func (p place) account() uint32 { return uint32(p&^placeFolded) >> cellBits }
func (p place) cell() uint16    { return uint16(p) }

// accountIn returns the number of the account that p belongs to; of has the account's number of each port space.
func (p place) accountIn(of []uint32) uint32 {
	if p.folded() {
		return p.account()
	}
	return of[p]
}

// spaceKey tells port spaces apart. vip, destination, zone and class are zero where they do not matter.
type spaceKey struct {
	vip, destination address
	account, port    uint16 // the places of folds have no room for larger numbers of accounts either
	zone             uint16 // of conntrack: the kernel gives out a port once in each
	class            budget.PortClass
}

// portSpace is one tracked port space, four lines of the processor's cache.
type portSpace struct {
	// An open or an end touches the first fields only, in two of these lines.
	tally
	key          spaceKey
	outlook      *forecast.Outlook
	used         bool
	shared       bool   // of Config.Shared
	next, prev   uint32 // in its budget's list, while it is empty
	heldForecast int32  // ports held at the last forecast
	// emptied is when it last became empty.
	emptied     collector.Time
	vip         netip.Addr
	destination netip.AddrPort // port 0 where it does not matter; zero where nothing does
	// label and vipLabel are made when they are first shown.
	label, vipLabel string
	// exportedUntil is until when it keeps its place among the exported.
	exportedUntil collector.Time
	// exhaustedAt is when an open last failed for lack of ports, or a forecast saw it full.
	exhaustedAt collector.Time
	failing     bool // an open failed since the last forecast
	// full is how many ports were held when opens found none, although the budget has more; 0 if that was not seen.
	full int32
}

// is reports whether both are the same.
func (k *spaceKey) is(o *spaceKey) bool {
	return k.destination.lo == o.destination.lo && k.destination.hi == o.destination.hi &&
		k.vip.lo == o.vip.lo && k.vip.hi == o.vip.hi && k.account == o.account && k.port == o.port && k.zone == o.zone &&
		k.class == o.class
}

// portRefs counts the flows that share one port of a port space.
type portRefs struct{ live, cooling int32 }

func (r portRefs) split() (live, cooling int) {
	switch {
	case r.live > 0:
		return 1, 0
	case r.cooling > 0:
		return 0, 1
	}
	return 0, 0
}

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
	// accountBy has the number of the account of each port space. A flow finds it there without reading the port space:
	// not all port spaces fit into the processor's caches.
	accountBy []uint32
	spare     []uint32 // numbers that no port space has
	byKey     map[spaceKey]uint32
	budgets   []tracked // by number of the budget
	ports     map[uint64]portRefs
	holders   holders
	previous  *previous // during Reconfigure
}

// holdPort counts the port that live f holds as event e shows, and tells the forecast that f opened. opens says that f
// counts as opened. resumed says that the entry had the same flow before, which was thought to have ended.
func (ss *spaces) holdPort(f *flow, e *collector.Event, opened collector.Interval, opens, resumed bool) {
	a, t, outlook := ss.of(f)
	ss.count(f, 1, 0)
	if !f.place.folded() && t.held() >= ss.limitOf(&ss.list[f.place]) {
		f.flags |= flagAtCeiling
	}
	switch {
	case resumed && e.Flow.PickedUp:
		f.flags |= flagEndCounted
	case opens:
		second := forecast.Second(ss.clock.now)
		a.countOpen(second)
		t.countOpen(second)
		a.owners.opened(ss.holders.whole(f.owner))
	}
	if e.Kind == collector.Opened && e.Flow.State == collector.Opening {
		f.flags |= flagUnconfirmed
		if outlook != nil {
			outlook.AddUnconfirmed(1)
		}
	}
	a.forecast.Opened(opened)
	switch {
	case outlook == nil:
	case resumed:
		outlook.HaveLive(opened)
	default:
		outlook.Open(opened)
	}
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
	if ss.holders.on {
		ss.holders.sets[f.place].add(owner, live+cooling)
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
	if !f.place.tracked() {
		return nil
	}
	return ss.list[f.place].outlook
}

// limitOf returns the effective ceiling of s under its budget.
func (ss *spaces) limitOf(s *portSpace) int {
	a := ss.accounts[s.key.account]
	if s.key.class == budget.AnyClass {
		return a.ceiling
	}
	of := a.terms.OfClass(s.key.class)
	return of.Ceiling()
}

// keyOf returns the key of the port space in which account a counts a flow; own is the address that the flow leaves
// from, destination and port are where to. Zone and class of the port matter only where this machine translates: a
// provider further out knows nothing of its conntrack zones.
func (ss *spaces) keyOf(a uint32, own, destination address, port, zone uint16, class budget.PortClass) spaceKey {
	k := spaceKey{account: uint16(a), class: class}
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

// placeOf returns the place of port space k. If it is new, vip and to are what is shown as its VIP and destination.
func (ss *spaces) placeOf(k spaceKey, vip netip.Addr, to netip.AddrPort) place {
	if n, ok := ss.byKey[k]; ok {
		return place(n)
	}
	if n := ss.track(k, vip, to); n != 0 {
		return place(n)
	}
	return ss.foldAt(uint32(k.account), ss.cellOf(k))
}

// cellOf returns the cell that counts a port space in the fold of its account.
func (ss *spaces) cellOf(k spaceKey) uint16 {
	return uint16(sipHash(ss.secret, k.vip.hi, k.vip.lo, k.destination.hi, k.destination.lo,
		uint64(k.port)|uint64(k.zone)<<16|uint64(k.class)<<32).lo)
}

// foldAt returns the place of a cell in the fold of account a, and makes the fold if needed.
func (ss *spaces) foldAt(a uint32, cell uint16) place {
	if acc := ss.accounts[a]; acc.fold == nil {
		acc.fold = &fold{cells: make([]uint32, 1<<cellBits)}
	}
	return foldedPlace(a, cell)
}

// noPorts counts opens that failed for lack of ports at place p; p is not 0.
func (ss *spaces) noPorts(p place, opens uint64) {
	ss.accounts[p.accountIn(ss.accountBy)].noPorts += opens
	if p.tracked() {
		s := &ss.list[p]
		s.exhaustedAt, s.failing = ss.clock.now, true
	}
}

// tally is what a port space, a fold and an account have in common.
type tally struct {
	// live and cooling count ports; several flows may share one.
	live, cooling int
	// opening counts live flows without an answer, stalled sockets by the last observation.
	opening, stalled int
	opened           uint64
	rate             rate
	holds            meanHold
}

func (t *tally) held() int { return t.live + t.cooling }

// countOpen counts a flow that opened in this second.
func (t *tally) countOpen(second int64) {
	t.opened++
	t.rate.settle(uint32(second))
	t.rate.count++
}

// rate is a rate of opens in which older opens weigh less.
type rate struct {
	perSecond float64
	second    uint32
	count     uint32 // in that second
}

// rateMemory is the time constant of a rate, in seconds: opens so long ago weigh a third.
const rateMemory = 30.0

// rateStep is 1-e^(-1/rateMemory).
const rateStep = 0x1.0c90d2087bfcp-05

// settle brings r to that second: the opens of the seconds before enter the rate.
func (r *rate) settle(second uint32) {
	if second <= r.second {
		return
	}
	if r.count == 0 && r.perSecond == 0 {
		r.second = second
		return
	}
	r.perSecond += (float64(r.count) - r.perSecond) * rateStep
	if gap := second - r.second - 1; gap > 0 {
		r.perSecond *= math.Exp(-float64(gap) / rateMemory)
	}
	r.second, r.count = second, 0
}

// at returns the rate at now, without the current second.
func (r rate) at(now collector.Time) float64 {
	r.settle(uint32(forecast.Second(now)))
	return r.perSecond
}
