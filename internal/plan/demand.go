package plan

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// Demand is what one node asks of one port space, its busiest destination, at the peak.
type Demand struct {
	// Destination is what it is called; empty where unknown.
	Destination string `json:"destination,omitempty"`
	// Rate is opens per second at the peak, failed ones included. Low and High bound it.
	Rate float64 `json:"opens_per_second"`
	Low  float64 `json:"opens_per_second_low"`
	High float64 `json:"opens_per_second_high"`
	// Lifetimes is their law, open to close.
	Lifetimes Law `json:"lifetimes"`
	// LifetimesWithin is the factor to within which each lifetime is known; 0 or 1 where they are exact. Their mean is
	// exact in any case.
	LifetimesWithin float64 `json:"lifetimes_within_factor,omitempty"`
	// Ends is the share of flows by how they end: "fin", "rst", "idle" and so on. None means that all end by FIN.
	Ends map[string]float64 `json:"ends,omitempty"`
	// Spread is the relative standard deviation of the peak's load from day to day.
	Spread float64 `json:"spread"`
	// Peakedness is the variance over the mean of the ports held within a peak; 1 for independent arrivals.
	Peakedness float64 `json:"peakedness"`
	// Peak is how long a day's peak lasts.
	Peak time.Duration `json:"-"`
	// Next is the load of the next-busiest destination as a fraction of this one's: what is left when this one goes
	// elsewhere. NaN where unknown.
	Next float64 `json:"-"`
	// Cut says that demand reached the ceiling, so that it may be more than what was seen.
	Cut bool `json:"cut_off"`
}

// rateMost is the most opens per second that a plan is made of: more than any NAT does, and some five seconds of
// work.
const rateMost = 1e6

// check refuses what no plan can be made of.
func (d *Demand) check() error {
	for _, c := range []struct {
		name        string
		value       float64
		least, most float64
		above       bool // least itself is refused
	}{
		{"opens per second", d.Rate, 0, rateMost, true},
		{"low end of opens per second", d.Low, 0, d.Rate, true},
		{"high end of opens per second", d.High, d.Rate, 10 * rateMost, false},
		{"spread", d.Spread, 0, 2, false},
		{"peakedness", d.Peakedness, 0.1, 1000, false},
		{"length of the peak, in seconds", d.Peak.Seconds(), 1, 86400, false},
	} {
		if !(c.value >= c.least && c.value <= c.most) || c.above && c.value == c.least {
			from := "want"
			if c.above {
				from = "want above"
			}
			return fmt.Errorf("%s: %v, %s %v up to %v", c.name, c.value, from, c.least, c.most)
		}
	}
	if len(d.Lifetimes) == 0 {
		return fmt.Errorf("no lifetimes")
	}
	sum := 0.0
	for _, end := range slices.Sorted(maps.Keys(d.Ends)) {
		if share := d.Ends[end]; !(share >= 0) || math.IsInf(share, 0) {
			return fmt.Errorf("share of flows that end by %s: %v, want 0 or more", end, share)
		}
		if _, ok := reason(end); !ok {
			return fmt.Errorf("flows end by %q: want one of %s", end, strings.Join(reasons(), ", "))
		}
		sum += d.Ends[end]
	}
	if len(d.Ends) > 0 && sum == 0 {
		return fmt.Errorf("shares of ends sum to 0")
	}
	return nil
}

// reasons are the names of all.
func reasons() (names []string) {
	for r := range collector.NumReasons {
		names = append(names, r.String())
	}
	return names
}

// reason returns the reason of that name.
func reason(name string) (collector.Reason, bool) {
	for r := range collector.NumReasons {
		if r.String() == name {
			return r, true
		}
	}
	return 0, false
}

// coolDown is the mean cool-down, in seconds, under terms.
func (d *Demand) coolDown(t *budget.Terms) float64 {
	if len(d.Ends) == 0 {
		return t.CoolDown[collector.FIN].Seconds()
	}
	sum, mean := 0.0, 0.0
	for _, end := range slices.Sorted(maps.Keys(d.Ends)) {
		r, _ := reason(end)
		sum += d.Ends[end]
		mean += d.Ends[end] * t.CoolDown[r].Seconds()
	}
	return mean / sum
}

// hold is the mean hold time, in seconds, under terms.
func (d *Demand) hold(t *budget.Terms) float64 { return d.Lifetimes.Mean() + d.coolDown(t) }

// MeanCoolDown is the mean cool-down of a demand's flows under terms, in seconds.
func MeanCoolDown(d *Demand, t *budget.Terms) float64 { return d.coolDown(t) }
