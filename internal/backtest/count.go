package backtest

import (
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/backtest/record"
)

// counter counts the held ports of a record at each tick, as the ledger should: one destination after
// the other, for all of them would take gigabytes.
type counter struct {
	record *record.Record
	budget *budget.Budget
	from   collector.Time
	tick   time.Duration
	ticks  int
	// flows are numbers of the record's flows, by destination; those of d begin at first[d].
	flows, first []int32
	changes      []int64 // of one destination
}

// newCounter prepares to count from the tick at from to that at or before to.
func newCounter(r *record.Record, from, to collector.Time, tick time.Duration, b *budget.Budget) *counter {
	c := &counter{record: r, budget: b, from: from, tick: tick, ticks: int(to.Sub(from)/tick) + 1}
	c.first = make([]int32, len(r.Destinations)+1)
	for i := range r.Flows {
		c.first[r.Flows[i].Destination+1]++
	}
	for d := range r.Destinations {
		c.first[d+1] += c.first[d]
	}
	c.flows = make([]int32, len(r.Flows))
	next := slices.Clone(c.first)
	for i := range r.Flows {
		n := &next[r.Flows[i].Destination]
		c.flows[*n] = int32(i)
		*n++
	}
	return c
}

// at is the first tick that sees what happens at t.
func (c *counter) at(t collector.Time) int { return min(c.ticks, int((t.Sub(c.from)+c.tick-1)/c.tick)) }

// each calls do with the ticks at which ports of d are taken and released.
func (c *counter) each(d int32, do func(taken, released int)) {
	for _, i := range c.flows[c.first[d]:c.first[d+1]] {
		f := &c.record.Flows[i]
		do(c.at(f.Start), c.at(f.End.Add(c.budget.Terms(f.Protocol).CoolDown[f.Reason])))
	}
}

// held counts the held ports of d at each tick.
func (c *counter) held(d int32) []int32 {
	steps := make([]int32, c.ticks+1)
	c.each(d, func(taken, released int) {
		steps[taken]++
		steps[released]--
	})
	for k := 1; k < len(steps); k++ {
		steps[k] += steps[k-1]
	}
	return steps[:c.ticks]
}

// most is the most that d holds at any tick. What it takes grows with the flows, not with the ticks.
func (c *counter) most(d int32) int {
	c.changes = c.changes[:0]
	c.each(d, func(taken, released int) {
		// What is released at a tick comes before what is taken at it.
		c.changes = append(c.changes, 2*int64(taken)+1, 2*int64(released))
	})
	slices.Sort(c.changes)
	n, most := 0, 0
	for _, x := range c.changes {
		switch {
		case x >= 2*int64(c.ticks):
			return most
		case x%2 == 0:
			n--
		default:
			n++
		}
		most = max(most, n)
	}
	return most
}
