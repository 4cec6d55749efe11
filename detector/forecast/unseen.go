package forecast

import (
	"math"
)

// Nobody sees flows that ended before the start, and their ports may be cooling. There are at most so many: the rate of
// flows times what is left of their cool-down, less the flows that conntrack still shows.

// resumes is how many seconds after a state was written its arrivals and cooling ports are still used.
const resumes = 300

// keepCourse puts the arrivals and cooling ports of o into m, so that its forecast goes on after a restart.
func (m *memory) keepCourse(o *Outlook, now int64) {
	o.arrived()
	o.cooled()
	m.came = o.came
	m.came.advance(now)
	m.before = earlier{cools: o.cools, written: now, rate: o.rate}
	m.before.cools.advance(now)
	if o.before == nil {
		return
	}
	b := o.before.cools
	b.advance(now)
	for i, n := range b.slots {
		m.before.cools.slots[i] += n
	}
	m.before.cools.total += b.total
}

// resume gives o the arrivals and cooling ports of m, if m is young enough. It assumes that flows came at the same rate
// while no agent ran.
func (m *memory) resume(o *Outlook, now int64) {
	gap := now - m.before.written
	if m.before.written == 0 || gap < 0 || gap > resumes || m.before.cools.width != o.cools.width {
		return
	}
	came := m.came
	came.advance(now)
	due := 0.0
	for t := m.before.written; t < now; t++ {
		due += m.before.rate
		came.add(t, uint32(due))
		due -= math.Floor(due)
	}
	o.came, o.resumed = came, uint32(now)
	o.rate = m.before.rate
	before := m.before
	o.before = &before
}

// foresee puts into w.unseen how many ports that the ledger does not know of will be held at each time ahead. It
// returns how many are held now.
func (o tick) foresee(w *workspace, c *Conditions, now float64) float64 {
	s := o.account
	w.unseen = [aheads]float64{}
	if c.WarmingUntil <= c.Now {
		o.before, o.shown = nil, nil
		return 0
	}
	start := c.WarmingUntil.Seconds() - float64(s.longest)
	e := o.before
	n, seconds := o.came.window(arrivalLevels-1, arrivalBlocks, now)
	rate, from := n/max(seconds, now-start)*o.proven(now), math.Inf(-1)
	held, shown := 0.0, 0.0
	var then [aheads]int64
	for i, u := range w.grid {
		then[i] = int64(now + u)
	}
	var shownThen [aheads]float64
	if o.shown != nil {
		o.shown.advance(int64(now))
		o.shown.after(then[:], shownThen[:])
		shown = float64(o.shown.total)
	}
	if e != nil {
		e.cools.advance(int64(now))
		e.cools.after(then[:], w.unseen[:])
		held = float64(e.cools.total)
		rate, from = e.rate, float64(e.written)
	}
	closed := 0.0 // flows that ended from the second from until the start
	var closedThen [aheads]float64
	for k, cool := range s.classes {
		if w.share[k] == 0 {
			continue
		}
		closed += w.share[k] * rate * max(0, start-max(from, now-cool))
		for i, u := range w.grid {
			closedThen[i] += w.share[k] * rate * max(0, start-max(from, now+u-cool))
		}
	}
	for i := range w.unseen {
		w.unseen[i] += max(0, closedThen[i]-shownThen[i])
	}
	return held + max(0, closed-shown)
}

// doubt adds to the course the ports that the ledger does not know of, and leaves of the rate to come the share that is
// proven not to be chance.
func (c *course) doubt(unseen *[aheads]float64, proven float64) {
	c.proven = proven
	for i, n := range unseen {
		c.base[i] += n
		c.variance[i] += n
		c.gain[i] *= proven
		c.double[i] *= proven
	}
}

// provenBy is how many standard deviations are taken off the arrival rate of a young port space.
const provenBy = 2

// proven returns which share of the arrival rate chance does not explain: below 1 while a port space is young and has
// few arrivals, or few ticks with arrivals.
func (o tick) proven(now float64) float64 {
	age := now - float64(o.came.since)
	young := 1 - age/float64(settled+o.account.longest)
	if young <= 0 {
		return 1
	}
	n, _ := o.came.window(arrivalLevels-1, arrivalBlocks, now)
	return max(0, 1-provenBy*young*max(math.Sqrt(o.dispersion/(n+1)), o.lumps.doubt()))
}
