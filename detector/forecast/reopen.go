package forecast

import "math"

// reopenWithin is the time constant in seconds within which a flow that opens is taken for one that has just closed.
const reopenWithin = 8

// reopenLeast is the group of ages from which on flows that all close at once are taken to be opened again: 2.9 s.
const reopenLeast = 4

// reopenLasts is for how many seconds after flows began to close what was usual before is still expected. What
// lasts longer is what they do now.
const reopenLasts = 15

// reopenApart is how many seconds apart flows begin to close at once, at the least: where many end all the time, that
// is what they do.
const reopenApart = 60

// reopened counts what closed, and what opened, beyond all expectation and without the other.
type reopened struct {
	closed, opened float32
	// ends is the usual number of ends a second of flows that are not young, rate that of opens, since
	// the second at which flows last began to close.
	ends, rate float32
	since      float64
	// cohort are the flows that were opened again, by the second since then. As long as they are young they say
	// nothing of how long others live.
	cohort [reopenLasts + 1]uint16
}

// cohortYoung is for how many seconds.
const cohortYoung = 64

// spare takes what the cohort lived in a tick of dt seconds out of what was seen.
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

// lost is how many flows of the tick ended that were not young, beyond all expectation: ended is how many did at
// all, surprising how many of them surprise.
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

// pair takes flows that close and open at once out of the arrivals: a deploy, or an outage that is over, opens as
// many flows as it closed, and no more. opened is how many flows of the tick are more than the rate lets expect; the
// result is how many of them, and of those before, are no arrivals.
func (p *reopened) pair(closed, opened, dt float64) float64 {
	keep := math.Exp(-dt / reopenWithin)
	c, n := float64(p.closed)*keep+closed, float64(p.opened)*keep+opened
	pairs := math.Floor(min(c, n))
	p.closed, p.opened = float32(c-pairs), float32(n-pairs)
	return pairs
}

// beyondRate is how many more flows opened than a rate lets expect by chance.
func beyondRate(n, rate, dt, phi float64) float64 {
	mean := rate * dt
	if excess := n - mean; excess > 3*math.Sqrt(phi*(mean+1)) {
		return excess
	}
	return 0
}
