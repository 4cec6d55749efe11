package ledger

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// views are the ways in which an agent sees flows.
func views() map[string]cloud {
	return map[string]cloud{
		// The kernel tells of a flow that opens and of one that ends, and a client gives up soon.
		"events": {patience: 21},
		// Dumps tell, and a client gives up when conntrack forgets the flow.
		"dumps": {patience: 120, every: 10},
		// Flows live for long, compared to the cool-down.
		"long flows": {patience: 21, life: 20},
	}
}

// cloudBudget is coolingBudget with the other terms of a cloud: an unanswered flow is held until its idle
// timeout where no dump tells otherwise, and less long after an RST.
func cloudBudget(ports int, cool time.Duration) *budget.Budget {
	b := coolingBudget(ports, cool)
	b.TCP.Idle = 240 * time.Second
	b.TCP.CoolDown[collector.RST] = min(cool, 15*time.Second)
	return b
}

// A cool-down of 240 s that the config has otherwise is said within ten minutes of the first open that fails,
// from slightly above what the ports can carry, 4.27 opens a second, to ten times that: then opens fail in
// clumps of minutes, and are answered for seconds.
func TestContradictionAtAnyLoad(t *testing.T) {
	t.Parallel()
	for name, view := range views() {
		for _, believed := range []int{0, 15, 120, 480} {
			for _, load := range []float64{1.05, 1.4, 2.8, 7, 10} {
				t.Run(fmt.Sprintf("%s, %d s, load %.2f", name, believed, load), func(t *testing.T) {
					t.Parallel()
					c := view
					c.rng, c.truth, c.ports, c.brief = rand.New(rand.NewPCG(7, 1)), 240, 1024, true
					s := newScript(t, Config{Budgets: []*budget.Budget{cloudBudget(1024, time.Duration(believed)*time.Second)}})
					said, failed := c.play(s, 1000, steady(load*1024/(240+c.life)), always)
					t.Logf("said %.1f minutes after the first failure", (said-failed)/60)
					if said < 0 || failed < 0 || said-failed > 600 {
						t.Errorf("said at %.0f s, first failure at %.0f s, want at most 600 s between", said, failed)
					}
				})
			}
		}
	}
}

// Nothing that befalls opens contradicts a budget that is right.
func TestNoContradiction(t *testing.T) {
	t.Parallel()
	type server func(rng *rand.Rand) func(t float64) bool
	alive := func(*rand.Rand) func(float64) bool { return always }
	deadFrom := func(from, to float64) server {
		return func(*rand.Rand) func(float64) bool {
			return func(t float64) bool { return t < from || t >= to }
		}
	}
	flapping := func(dead, period float64) server {
		return func(*rand.Rand) func(float64) bool {
			return func(t float64) bool { return math.Mod(t, period) >= dead }
		}
	}
	drops := func(share, from float64) server {
		return func(rng *rand.Rand) func(float64) bool {
			return func(t float64) bool { return t < from || rng.Float64() >= share }
		}
	}
	bursts := func(low, high float64) func(float64) float64 {
		return func(t float64) float64 {
			if math.Mod(t, 600) >= 540 {
				return high
			}
			return low
		}
	}
	for _, tt := range []struct {
		name    string
		load    func(t float64) float64 // 1 is what the ports can carry
		server  server
		retries int
		since   float64
		lost    [2]float64
	}{
		{"dead", steady(0.8), deadFrom(0, 1e9), 0, 0, [2]float64{}},
		{"dead at first", steady(0.8), deadFrom(0, 200), 0, 0, [2]float64{}},
		{"dead for two minutes", steady(0.8), deadFrom(1000, 1120), 0, 0, [2]float64{}},
		{"dead for five minutes", steady(0.95), deadFrom(1000, 1300), 0, 0, [2]float64{}},
		{"dead for five minutes, tried again", steady(0.5), deadFrom(1000, 1300), 5, 0, [2]float64{}},
		{"dead and back often", steady(0.7), flapping(60, 300), 0, 0, [2]float64{}},
		{"dead and back at once", steady(0.7), flapping(3, 30), 0, 0, [2]float64{}},
		{"drops 2 %", steady(0.8), drops(0.02, 0), 0, 0, [2]float64{}},
		{"drops 20 %", steady(0.8), drops(0.2, 0), 0, 0, [2]float64{}},
		{"drops 20 % later", steady(0.95), drops(0.2, 900), 0, 0, [2]float64{}},
		{"drops 60 %", steady(0.6), drops(0.6, 0), 0, 0, [2]float64{}},
		{"drops 20 %, tried again", steady(0.6), drops(0.2, 0), 5, 0, [2]float64{}},
		{"drops 20 %, overload", steady(1.4), drops(0.2, 0), 0, 0, [2]float64{}},
		{"a burst", bursts(0.5, 7), alive, 0, 0, [2]float64{}},
		{"a burst, tried again", bursts(0.5, 5), alive, 5, 0, [2]float64{}},
		{"slight overload", steady(1.05), alive, 0, 0, [2]float64{}},
		{"overload", steady(7), alive, 0, 0, [2]float64{}},
		{"overload, tried again", steady(1.4), alive, 5, 0, [2]float64{}},
		{"restart while ports cool down", steady(7), alive, 0, 150, [2]float64{}},
		{"restart while opens are answered", steady(7), alive, 0, 255, [2]float64{}},
		{"restart in a slight overload", steady(1.4), alive, 0, 700, [2]float64{}},
		{"events lost", steady(1.4), alive, 0, 0, [2]float64{700, 760}},
		{"events lost in a clump", steady(7), alive, 0, 0, [2]float64{700, 760}},
	} {
		for name, view := range views() {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				t.Parallel()
				rng := rand.New(rand.NewPCG(7, 3))
				c := view
				c.rng, c.truth, c.ports, c.brief = rng, 240, 1024, true
				c.retries, c.since, c.lost = tt.retries, tt.since, tt.lost
				s := newScript(t, Config{Budgets: []*budget.Budget{cloudBudget(1024, 240*time.Second)}, Start: at(tt.since)})
				carry := 1024 / (c.truth + c.life)
				said, _ := c.play(s, 2000, func(t float64) float64 { return carry * tt.load(t) }, tt.server(rng))
				if said >= 0 {
					_, why := forecast.Contradicted(s.forecastsOf(0))
					t.Errorf("contradicted at %.0f s: %s", said, why)
				}
			})
		}
	}
}
