package scenario

import (
	"math"
	"math/rand/v2"
	"time"
)

// Profile is how flows live and how long their ports cool.
type Profile struct {
	Name     string
	CoolDown time.Duration
	life     lifetime
}

// Profiles are the three kinds of load that every scenario is run with: slow
// calls without a cool-down, and 50 ms calls with one of 15 and of 240 s.
func Profiles() []Profile {
	calls := lifetime{median: 0.05, sigma: 0.5, share: 0.02, least: 1, alpha: 1.3, most: 3600}
	return []Profile{
		{Name: "P0", life: lifetime{median: 4, sigma: 1, share: 0.03, least: 30, alpha: 1.3, most: 3600}},
		{Name: "P15", CoolDown: 15 * time.Second, life: calls},
		{Name: "P240", CoolDown: 240 * time.Second, life: calls},
	}
}

// lifetime is a log-normal body with a Pareto tail, in seconds.
type lifetime struct {
	median, sigma float64
	// share of flows that are drawn from the tail: at least least, with exponent alpha, cut at most.
	share, least, alpha, most float64
}

// draw returns a lifetime whose body is slower by factor.
func (l lifetime) draw(r *rand.Rand, factor float64) float64 {
	if r.Float64() < l.share {
		return min(l.most, l.least*math.Pow(1-r.Float64(), -1/l.alpha)*min(factor, 10))
	}
	return min(l.most, factor*l.median*math.Exp(l.sigma*r.NormFloat64()))
}

// mean is the expectation of draw with factor 1; the cut of the body is neglected.
func (l lifetime) mean() float64 {
	body := l.median * math.Exp(l.sigma*l.sigma/2)
	tail := l.least + l.least/(l.alpha-1)*(1-math.Pow(l.least/l.most, l.alpha-1))
	return (1-l.share)*body + l.share*tail
}
