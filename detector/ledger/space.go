package ledger

import (
	"math"
	"net/netip"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// place says where a flow is counted: nowhere (0), in a tracked port space by number, or in
// a cell of its account's fold.
type place uint32

const (
	placeFolded place = 1 << 31
	cellBits          = 16
)

func foldedPlace(account uint32, cell uint16) place {
	return placeFolded | place(account)<<cellBits | place(cell)
}

func (p place) folded() bool    { return p&placeFolded != 0 }
func (p place) account() uint32 { return uint32(p&^placeFolded) >> cellBits }
func (p place) cell() uint16    { return uint16(p) }

// spaceKey tells port spaces apart. vip and destination are zero where they do not matter.
type spaceKey struct {
	vip, destination address
	account          uint32
	port             uint16
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

// portSpace is one tracked port space, four lines of the processor's cache.
type portSpace struct {
	// What a flow that opens or ends touches comes first, in two of them.
	tally
	key          spaceKey
	outlook      *forecast.Outlook
	used         bool
	shared       bool   // of LedgerConfig.Shared
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
	// noPorts counts opens that failed for lack of ports, noPortsTold those of them
	// that a forecast knows of.
	noPorts, noPortsForecast uint64
}

// rate is a decayed rate of opens.
type rate struct {
	perSecond float64
	second    uint32
	count     uint32 // in that second
}

// rateMemory is the time constant of OpensPerSecond.
const rateMemory = 30.0

// rateStep is 1-e^(-1/rateMemory).
const rateStep = 0x1.0c90d2087bfcp-05

func (r *rate) add(now collector.Time) {
	r.settle(uint32(forecast.Second(now)))
	r.count++
}

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

// at is the rate at now, without the second that is not over.
func (r rate) at(now collector.Time) float64 {
	r.settle(uint32(forecast.Second(now)))
	return r.perSecond
}

// meanHold is the mean of the last hold times, the newest weighing most.
type meanHold struct {
	seconds float64
	count   float64
}

// holdMemory is after how many closes a hold time weighs a third.
const holdMemory = 256

func (m *meanHold) add(hold time.Duration) {
	m.count = min(m.count+1, holdMemory)
	m.seconds += (hold.Seconds() - m.seconds) / m.count
}

func (m *meanHold) mean() time.Duration { return time.Duration(m.seconds * float64(time.Second)) }

// account is one protocol of one budget.
type account struct {
	tally
	budget   *budget.Budget
	terms    *budget.Terms
	protocol collector.Protocol
	owner    uint32 // number of the budget

	closed                       [collector.NumReasons]uint64
	lifetimes, holdTimes         histogram
	unanswered, refused, noPorts uint64
	fold                         *fold
	forecast                     *forecast.Account
}

// fold counts port spaces that are not tracked. Each falls into a cell by its hash, so that
// a cell's held ports bound those of the spaces in it from above.
type fold struct {
	tally
	cells    []uint32
	occupied int
}

func (f *fold) add(cell uint16, held int) {
	was := f.cells[cell]
	f.cells[cell] = uint32(int(was) + held)
	if was == 0 && held > 0 {
		f.occupied++
	}
	if was != 0 && f.cells[cell] == 0 {
		f.occupied--
	}
}

// spaces estimates how many port spaces hold folded ports, by linear counting:
// Whang, Vander-Zanden and Taylor (1990). At 100 000 its standard error is 0.4 %.
func (f *fold) spaces() int {
	n := float64(len(f.cells))
	empty := max(n-float64(f.occupied), 0.5)
	return max(int(math.Round(-n*math.Log(empty/n))), f.occupied)
}

// largest bounds the held ports of any folded port space from above.
func (f *fold) largest() int {
	var m uint32
	for _, c := range f.cells {
		m = max(m, c)
	}
	return int(m)
}

// portRefs counts the flows that share one port of a port space.
type portRefs struct{ live, cooling int32 }

// portKey is a port of a space: number of the space, number of the VIP, port.
func portKey(s place, f *flow) uint64 {
	return uint64(s)<<32 | uint64(f.vip)<<16 | uint64(f.port)
}

// count adds live and cooling flows on f's port to wherever f is counted.
func (l *Ledger) count(f *flow, live, cooling int) {
	if f.place == 0 {
		return
	}
	if f.place.folded() {
		a := l.accounts[f.place.account()]
		a.fold.live += live
		a.fold.cooling += cooling
		a.fold.add(f.place.cell(), live+cooling)
		a.live += live
		a.cooling += cooling
		return
	}
	s := &l.spaces[f.place]
	if f.port != 0 && l.accounts[s.key.account].terms.Unique != budget.PerEndpoint {
		live, cooling = l.share(f, live, cooling)
	}
	a := l.accounts[s.key.account]
	was := s.held()
	s.live += live
	s.cooling += cooling
	a.live += live
	a.cooling += cooling
	if was == 0 && s.held() > 0 {
		l.unlist(uint32(f.place))
	} else if was > 0 && s.held() == 0 {
		l.list(uint32(f.place))
	}
}

// share turns a change in flows on a port into one in ports: a port is live while one of
// its flows is, and cooling while it is held otherwise.
func (l *Ledger) share(f *flow, live, cooling int) (ports, coolingPorts int) {
	k := portKey(f.place, f)
	r := l.ports[k]
	before := r
	r.live += int32(live)
	r.cooling += int32(cooling)
	if r == (portRefs{}) {
		delete(l.ports, k)
	} else {
		l.ports[k] = r
	}
	ports, coolingPorts = r.split()
	was, wasCooling := before.split()
	return ports - was, coolingPorts - wasCooling
}

func (r portRefs) split() (live, cooling int) {
	switch {
	case r.live > 0:
		return 1, 0
	case r.cooling > 0:
		return 0, 1
	}
	return 0, 0
}

// opening adds to the live flows without an answer where f is counted.
func (l *Ledger) opening(f *flow, n int) {
	if f.place == 0 {
		return
	}
	if f.place.folded() {
		a := l.accounts[f.place.account()]
		a.opening += n
		a.fold.opening += n
		return
	}
	s := &l.spaces[f.place]
	s.opening += n
	l.accounts[s.key.account].opening += n
}

// accountOf is where f is counted; f.place is not 0.
func (l *Ledger) accountOf(f *flow) *account {
	if f.place.folded() {
		return l.accounts[f.place.account()]
	}
	return l.accounts[l.spaces[f.place].key.account]
}

// tallyOf is the innermost tally that f is counted in, beside its account's.
func (l *Ledger) tallyOf(f *flow) *tally {
	if f.place.folded() {
		return &l.accounts[f.place.account()].fold.tally
	}
	return &l.spaces[f.place].tally
}
