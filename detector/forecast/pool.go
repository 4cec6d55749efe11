package forecast

import (
	"math"
)

// poolTrend is the pool size of the last quarter of an hour.
type poolTrend struct {
	notes [poolNotes]struct{ at, nodes float64 }
	n     int // notes taken so far
}

const (
	poolNotes = 16
	poolStep  = 60.0   // seconds between two notes
	poolSure  = 1800.0 // seconds that growth is believed to go on for
	// poolRecent is how many notes fast growth is measured over; it is fast from poolGrown nodes on.
	poolRecent = 5
	poolGrown  = 3
)

func (p *poolTrend) note(now, nodes float64) {
	if p.n == 0 || now >= p.notes[(p.n-1)%poolNotes].at+poolStep {
		p.notes[p.n%poolNotes] = struct{ at, nodes float64 }{now, nodes}
		p.n++
	}
}

// growth returns by how many nodes per second the pool grows, 0 if it does not: over the latest notes if it grows fast,
// else over all.
func (p *poolTrend) growth(now, nodes float64) float64 {
	since := func(back int) (grown, rate float64) {
		old := p.notes[(p.n-1-back)%poolNotes]
		if now <= old.at {
			return 0, 0
		}
		return nodes - old.nodes, (nodes - old.nodes) / (now - old.at)
	}
	if p.n > poolRecent {
		if grown, rate := since(poolRecent); grown >= poolGrown || grown < 0 {
			return max(0, rate)
		}
	}
	_, rate := since(min(p.n, poolNotes) - 1)
	return max(0, rate)
}

// poissonAtLeast returns the probability that a Poisson variable of that mean is k or more.
func poissonAtLeast(k int, mean float64) float64 {
	if k <= 0 {
		return 1
	}
	if mean <= 0 {
		return 0
	}
	if k > 200 || mean > 200 {
		return math.Erfc((float64(k)-0.5-mean)/math.Sqrt(2*mean)) / 2
	}
	term := math.Exp(-mean)
	sum := term
	for j := 1; j < k; j++ {
		term *= mean / float64(j)
		sum += term
	}
	return max(0, 1-sum)
}
