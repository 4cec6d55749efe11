package backtest

import (
	"cmp"
	"fmt"
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
	// flows are numbers of the record's flows, by destination; the flows of d begin at first[d].
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

// Peak is the most that one destination of a record held, over all of the record.
type Peak struct {
	// Name is made of the record's name, the destination and the cool-down after a FIN.
	Name string `json:"name"`
	// Nominal and Ports are the budget and its effective ceiling.
	Nominal int `json:"budget_ports"`
	Ports   int `json:"effective_ports"`
	Most    int `json:"held"`
	// At is when Most was reached first, in seconds on the record's own clock.
	At Number `json:"at_seconds"`
	// Clock is At as people read it.
	Clock string `json:"at"`
	// Exhausted is for how long the ceiling was reached in all, in seconds; Throughout says that it was from the first
	// open to the last end.
	Exhausted  Number `json:"exhausted_seconds"`
	Throughout bool   `json:"exhausted_throughout"`
	// VIPs are those that flows left through, where more was held than one has and the record tells of several; MostVIP
	// is the most that was held through one of them.
	VIPs    int `json:"vips,omitempty"`
	MostVIP int `json:"held_one_vip,omitempty"`
}

// peaksMost is how many peaks of a record are printed: the fullest.
const peaksMost = 10

// peaks are the peaks of a record under a budget, the fullest first; left is how many more there are.
func peaks(r *record.Record, b *budget.Budget) (out []Peak, left int) {
	if len(r.Flows) == 0 {
		return nil, 0
	}
	c := newCounter(r, 0, 0, time.Second, b)
	first, last := r.Flows[0].Start, collector.Time(0)
	for i := range r.Flows {
		last = max(last, r.Flows[i].End)
	}
	for d := range r.Destinations {
		terms := b.Terms(r.Protocols[d])
		if terms.Ports == 0 {
			continue
		}
		most, at, exhausted := c.peak(int32(d), terms)
		p := Peak{
			Name: fmt.Sprintf("%s %s/%s %s s", r.Name, r.Destinations[d], r.Protocols[d],
				exact(terms.CoolDown[collector.FIN].Seconds())),
			Nominal: terms.Ports, Ports: terms.Effective, Most: most, At: Number((at - r.Zero()).Seconds()),
			Clock: at.Sub(r.Zero()).Round(time.Second).String() + " into the record", Exhausted: Number(exhausted.Seconds()),
		}
		if r.Unix {
			p.Clock = time.Unix(0, int64(at)).UTC().Format(time.RFC3339)
		}
		if most > terms.Ports && len(r.VIPs) > 1 {
			p.VIPs, p.MostVIP = c.perVIP(int32(d), terms)
		}
		p.Throughout = exhausted > 0 && float64(exhausted) >= 0.99*float64(last.Sub(first))
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(x, y Peak) int { return cmp.Compare(y.Most*x.Ports, x.Most*y.Ports) })
	n := min(peaksMost, len(out))
	return out[:n], len(out) - n
}

// perVIP is the most that d held through one VIP, and of how many; 0 where the record does not tell of several.
func (c *counter) perVIP(d int32, terms *budget.Terms) (vips, most int) {
	type change struct {
		vip uint16
		x   int64 // as in peak
	}
	var changes []change
	for _, i := range c.flows[c.first[d]:c.first[d+1]] {
		if f := &c.record.Flows[i]; f.VIP > 0 {
			changes = append(changes, change{f.VIP, 2*int64(f.Start) + 1},
				change{f.VIP, 2 * int64(f.End.Add(terms.CoolDown[f.Reason]))})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Or(cmp.Compare(a.vip, b.vip), cmp.Compare(a.x, b.x)) })
	held, last := 0, uint16(0)
	for _, x := range changes {
		if x.vip != last {
			vips++
			held, last = 0, x.vip
		}
		if held--; x.x&1 != 0 {
			held += 2
		}
		most = max(most, held)
	}
	if vips < 2 {
		return 0, 0
	}
	return vips, most
}

// peak is the most that d holds at any time, when first, and for how long its ceiling is reached.
func (c *counter) peak(d int32, terms *budget.Terms) (most int, at collector.Time, exhausted time.Duration) {
	c.changes = c.changes[:0]
	for _, i := range c.flows[c.first[d]:c.first[d+1]] {
		f := &c.record.Flows[i]
		c.changes = append(c.changes, 2*int64(f.Start)+1, 2*int64(f.End.Add(terms.CoolDown[f.Reason])))
	}
	slices.Sort(c.changes)
	n, above := 0, collector.Time(0)
	for _, x := range c.changes {
		now := collector.Time(x >> 1)
		was := n >= terms.Effective
		if n--; x&1 != 0 {
			n += 2
		}
		if n > most {
			most, at = n, now
		}
		switch is := n >= terms.Effective; {
		case is && !was:
			above = now
		case was && !is:
			exhausted += now.Sub(above)
		}
	}
	return most, at, exhausted
}

// line says the peak in one line.
func (p *Peak) line() string {
	text := fmt.Sprintf("%s held %d of %d ports at most, at %s", p.Name, p.Most, p.Nominal, p.Clock)
	if p.VIPs > 0 {
		text += fmt.Sprintf(" (through %d VIPs, at most %d through one)", p.VIPs, p.MostVIP)
	}
	if p.Ports != p.Nominal {
		text += fmt.Sprintf("; its effective ceiling is %d", p.Ports)
	}
	exhausted := time.Duration(float64(p.Exhausted) * float64(time.Second)).Round(time.Millisecond)
	if exhausted >= time.Second {
		exhausted = exhausted.Round(time.Second)
	}
	switch {
	case p.Throughout:
		return text + fmt.Sprintf("; at its ceiling throughout, for %v", exhausted)
	case p.Exhausted == 0:
		return text + "; never exhausted"
	}
	return text + fmt.Sprintf("; exhausted for %v", exhausted)
}
