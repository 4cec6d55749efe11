package ledger

import (
	"math"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// account is one protocol of one budget.
type account struct {
	tally
	budget       *budget.Budget
	budgetNumber uint32 // of budget among all budgets
	terms        *budget.Terms
	protocol     collector.Protocol
	// These repeat what budget and terms say, which do not change: ceiling is the effective ceiling, freesAtEnd is
	// Budget.FreesAtEnd, perAddress is Budget.SpacePerAddress, and entryHolds is Budget.EntryHolds, for TCP alone.
	ceiling                            int
	freesAtEnd, entryHolds, perAddress bool

	closed                       [collector.NumReasons]uint64
	lifetimes, holdTimes         histogram
	unanswered, refused, noPorts uint64
	// inUse is how many local ports the flows of namespace inUseOf hold towards all destinations together. The last dump
	// of that namespace showed it; it is 0 where ports are not local.
	inUse    int
	inUseOf  uint64
	owners   ownerTotals
	fold     *fold
	forecast *forecast.Account
}

// under makes a the account of protocol p under budget b; number is the budget's number.
func (a *account) under(b *budget.Budget, number uint32, p collector.Protocol) {
	a.budget, a.budgetNumber, a.terms, a.protocol = b, number, b.Terms(p), p
	a.ceiling, a.freesAtEnd, a.perAddress = a.terms.Ceiling(), b.FreesAtEnd(), b.SpacePerAddress()
	a.entryHolds = p == collector.TCP && b.EntryHolds()
}

// fold counts port spaces that are not tracked. A hash puts each of them into a cell, so none holds more ports than its
// cell does.
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
