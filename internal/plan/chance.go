package plan

import (
	"fmt"
	"math"
)

// peaks is what the arithmetic takes of a demand: the load, and how it varies.
type peaks struct {
	load       float64 // ports that would be held
	hold       float64 // mean hold, seconds
	length     float64 // of a day's peak, seconds
	spread     float64
	peakedness float64
}

// The law of the day's peak is cut into steps of a quarter of its standard deviation, four to each side.
const (
	spreadStep  = 0.25
	spreadSteps = 16
)

// probability is how likely at least one open of a day finds no port, with c ports.
func (p *peaks) probability(c int) float64 {
	if p.load <= 0 {
		return 0
	}
	sigma := math.Sqrt(math.Log1p(p.spread * p.spread)) // of the log-normal law with that relative deviation
	if sigma == 0 {
		return p.ofLoad(c, p.load)
	}
	sum, weights := 0.0, 0.0
	for i := -spreadSteps; i <= spreadSteps; i++ {
		z := float64(i) * spreadStep
		w := math.Exp(-z * z / 2)
		weights += w
		sum += w * p.ofLoad(c, p.load*math.Exp(sigma*z-sigma*sigma/2))
	}
	return sum / weights
}

// ofLoad is the probability when the day's load is a; 1e-300 where it is below 1e-12, so that ports enough for any
// target can be found, and still more than 0.
func (p *peaks) ofLoad(c int, a float64) float64 {
	peak := p.length / p.hold // the peak's length in holds
	never := 1e12 * peak
	t := timeToBlock(int(float64(c)/p.peakedness), a/p.peakedness, never)
	if t >= never {
		return 1e-300
	}
	return -math.Expm1(-peak / t)
}

// blocked is the share of opens that fail during a mean peak.
func (p *peaks) blocked(c int) float64 {
	return ErlangB(int(float64(c)/p.peakedness), p.load/p.peakedness)
}

// need is the smallest number of ports with a probability below target.
func (p *peaks) need(target float64) int {
	if p.load <= 0 {
		return 0
	}
	high := int(p.load) + 1
	for p.probability(high) >= target {
		high *= 2
	}
	low := 0
	for low < high {
		mid := (low + high) / 2
		if p.probability(mid) < target {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return high
}

// mostLoad is the largest load that c ports carry with a probability below target.
func (p *peaks) mostLoad(c int, target float64) float64 {
	q := *p
	low, high := 0.0, float64(c)
	for range 40 {
		q.load = (low + high) / 2
		if q.probability(c) < target {
			low = q.load
		} else {
			high = q.load
		}
	}
	return low
}

// Percent prints a probability so that what is near 0 or 1 does not read as 0 or 1.
func Percent(p float64) string {
	switch {
	case p <= 0:
		return "0 %"
	case p < 0.0001:
		return "< 0.01 %"
	case p < 0.01:
		return fmt.Sprintf("%.2f %%", 100*p)
	case p < 0.1:
		return fmt.Sprintf("%.1f %%", 100*p)
	case p > 0.995 && p < 1:
		return "> 99 %"
	}
	return fmt.Sprintf("%.0f %%", 100*p)
}
