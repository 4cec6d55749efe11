package ledger

import (
	"math"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

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

// countOpen counts a flow that opened now.
func (t *tally) countOpen(now collector.Time) {
	t.opened++
	t.rate.add(now)
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

// at returns the rate at now, without the current second.
func (r rate) at(now collector.Time) float64 {
	r.settle(uint32(forecast.Second(now)))
	return r.perSecond
}

// meanHold is the mean of the last hold times, the newest weighing most.
type meanHold struct {
	seconds float64
	count   float64
}

// holdMemory is how many closes later a hold time weighs a third.
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
	// What budget and terms say, asked once: they do not change. ceiling is the effective one; freesAtEnd is as in Budget,
	// entryHolds as well, for TCP; perAddress is Budget.SpacePerAddress.
	ceiling                            int
	freesAtEnd, entryHolds, perAddress bool

	closed                       [collector.NumReasons]uint64
	lifetimes, holdTimes         histogram
	unanswered, refused, noPorts uint64
	// inUse is how many local ports the flows of namespace inUseOf hold towards all destinations together, as its last
	// dump showed; 0 where ports are not local.
	inUse    int
	inUseOf  uint64
	owners   ownerTotals
	fold     *fold
	forecast *forecast.Account
}

// under puts a under budget b, the one of that number, and terms t, which are b's for protocol p.
func (a *account) under(b *budget.Budget, number uint32, p collector.Protocol) {
	a.budget, a.terms, a.protocol, a.owner = b, b.Terms(p), p, number
	a.ceiling, a.freesAtEnd, a.perAddress = a.terms.Ceiling(), b.FreesAtEnd(), b.SpacePerAddress()
	a.entryHolds = p == collector.TCP && b.EntryHolds()
}

// fold counts port spaces that are not tracked. Each belongs to a cell by its hash: the held ports of a cell are an
// upper bound of those of each port space in it.
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

// largest returns an upper bound of the held ports of any folded port space.
func (f *fold) largest() int {
	var m uint32
	for _, c := range f.cells {
		m = max(m, c)
	}
	return int(m)
}

func (t *tally) snapshot(now collector.Time) detector.SpaceSnapshot {
	return detector.SpaceSnapshot{
		Held: t.held(), Live: t.live, Cooling: t.cooling,
		Opening: t.opening, Stalled: t.stalled, Opened: t.opened,
		OpensPerSecond: t.rate.at(now), MeanHold: t.holds.mean(),
	}
}
