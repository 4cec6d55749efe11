package flowlog

import (
	"fmt"
	"math"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// Lifetimes is the histogram of the TCP flows that were seen to end: bounds in seconds, counts with one more, the
// sum in seconds.
func (c *Counter) Lifetimes() (bounds, counts []float64, sum float64) {
	for k := range lifetimeBuckets {
		bounds = append(bounds, math.Ldexp(0.001, k))
	}
	for _, n := range c.lifetimes {
		counts = append(counts, float64(n))
	}
	return bounds, counts, c.lifeSum / 1e9
}

// Ends are the flows by how they ended.
func (c *Counter) Ends() map[string]float64 {
	out := map[string]float64{}
	for r, n := range c.reasons {
		if n > 0 {
			out[collector.Reason(r).String()] = float64(n)
		}
	}
	return out
}

// Points are the most that one port space held, by five minutes in which anything opened, in order of time.
func (c *Counter) Points() []Point { return c.points }

// Late is how many flows came too late to be counted at their time, so that peaks may be too low.
func (c *Counter) Late() int { return c.late }

// Moment reports whether the log is of one moment.
func (c *Counter) Moment() bool { return c.listed > 0 }

// Line says what the port space held at most against its budget, when, and for how long it was exhausted.
func (c *Counter) Line(s *Space) string {
	terms := c.budget.Terms(s.key.protocol)
	text := fmt.Sprintf("%s/%v", s.Name(), s.key.protocol)
	if source := s.Source(); source != "" {
		text += " from " + source
	}
	if s.Most == 0 {
		return text + fmt.Sprintf(" held none of %d ports: flows ended at once, without a cool-down", terms.Ports)
	}
	text += fmt.Sprintf(" held %d of %d ports at most", s.Most, terms.Ports)
	if s.MostAt.IsZero() {
		return text + ", at the moment of the list"
	}
	text += ", at " + s.MostAt.UTC().Format(time.RFC3339)
	if terms.Effective != terms.Ports {
		text += fmt.Sprintf("; its effective ceiling is %d", terms.Effective)
	}
	switch span := c.span(); {
	case s.Exhausted == 0:
		return text + "; never exhausted"
	case span > 0 && float64(s.Exhausted) >= 0.99*float64(span):
		return text + fmt.Sprintf("; at its ceiling throughout, for %v", rounded(s.Exhausted))
	default:
		return text + fmt.Sprintf("; exhausted for %v", rounded(s.Exhausted))
	}
}

// rounded is how long something lasted, to the second, or to the millisecond where it was shorter.
func rounded(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second)
}

// span is how long the log is.
func (c *Counter) span() time.Duration { return time.Duration(c.last - c.oldest) }
