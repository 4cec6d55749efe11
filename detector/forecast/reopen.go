package forecast

import "math"

// reopenWithin is a time constant in seconds: a flow that opens so shortly after one closed is taken for the same
// again.
const reopenWithin = 8

// reopenLeast is the first group of ages, from 2.9 s on, in which flows that all close at once are expected to be
// opened again.
const reopenLeast = 4

// reopenLasts is for how many seconds after flows began to close at once the numbers that were usual before are still
// expected. If it goes on for longer, it is usual from now on.
const reopenLasts = 15

// reopenApart is how many seconds after one such time the next may begin. Where many flows end all the time, that is
// usual and no reopening.
const reopenApart = 60

// reopened counts flows that closed beyond all expectation, and flows that opened so, each as far as none of the other
// makes a pair with it.
type reopened struct {
	closed, opened float32
	// ends is how many flows that are not young usually end in a second, rate how many usually open. since is the second
	// in which flows last began to close at once.
	ends, rate float32
	since      float64
	// cohort counts the flows that were opened again, by seconds after since. While they are young, they do not tell how
	// long other flows live.
	cohort [reopenLasts + 1]uint16
}

// cohortYoung is for how many seconds after since the cohort counts as young.
const cohortYoung = 64

// spare takes the seconds that the cohort lived in a tick of dt seconds out of seen.
func (p *reopened) spare(now, dt float64, edges *ageEdges, seen *exposure) {
	if now-p.since > cohortYoung {
		return
	}
	for i, n := range p.cohort {
		age := now - p.since - float64(i)
		if n == 0 || age < 1 {
			continue
		}
		from := age - dt
		if from < 1 {
			from = 0 // a flow is counted in full once it is a second old
		}
		for k := ageBucket(from); k < ageBuckets && edges[k] < age; k++ {
			lived := float32(min(age, edges[k+1])-max(from, edges[k])) * float32(n)
			seen.lived[k] = max(0, seen.lived[k]-lived)
		}
	}
}

// lost returns by how many the flows that ended in the tick, and were not young, exceed all expectation. ended is how
// many such flows ended, surprising how many of these the test of surprise did not expect.
func (p *reopened) lost(now, dt, ended, surprising, rate float64) float64 {
	if now-p.since > reopenLasts {
		if surprising == 0 || now-p.since < reopenApart {
			p.ends += float32((1 - math.Exp(-dt/20)) * (ended/dt - float64(p.ends)))
			p.rate = float32(rate)
			return 0
		}
		p.since, p.cohort = now, [reopenLasts + 1]uint16{}
	}
	return max(0, ended-float64(p.ends)*dt)
}

// pair makes pairs of flows that closed and flows that opened at once, which are no new arrivals: a deploy, or the end
// of an outage, opens as many flows as were closed, and no more. closed and opened are how many of the tick are beyond
// expectation. pair returns how many flows of this tick and those just before are no arrivals.
func (p *reopened) pair(closed, opened, dt float64) float64 {
	keep := math.Exp(-dt / reopenWithin)
	c, n := float64(p.closed)*keep+closed, float64(p.opened)*keep+opened
	pairs := math.Floor(min(c, n))
	p.closed, p.opened = float32(c-pairs), float32(n-pairs)
	return pairs
}

// beyondRate returns by how many the n flows that opened exceed what the rate lets expect; 0 if chance explains them.
func beyondRate(n, rate, dt, phi float64) float64 {
	mean := rate * dt
	if excess := n - mean; excess > 3*math.Sqrt(phi*(mean+1)) {
		return excess
	}
	return 0
}
