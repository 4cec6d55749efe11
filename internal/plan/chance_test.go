package plan

import (
	"container/heap"
	"io"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/snatwatch/snatwatch/detector/budget"
)

// Values by hand, and of the published table of Erlang B.
func TestErlangB(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		c    int
		a    float64
		want float64
	}{
		{0, 1, 1},
		{1, 0, 0},
		{1, 1, 0.5},                 // a/(1+a)
		{2, 1, 0.2},                 // (1/2)/(1+1+1/2)
		{3, 2, 4.0 / 19},            // (8/6)/(1+2+2+8/6)
		{10, 4.461, 0.01},           // table: 10 lines carry 4.46 Erlang at 1 %
		{100, 84.06, 0.01},          // and 100 lines 84.06
		{1024, 0.95 * 1024, 0.0035}, // the figures of a share of 1024
		{1024, 1024, 0.0246},        // ≈ √(2/π)/√1024
		{1024, 1.2 * 1024, 0.17},    // 1 - 1/1.2 and a little
		{512, 512, 0.0343},          //
		{50000, 100000, 0.5},        // half of twice the load
		{10, 1e6, 1 - 10/1e6},       // a load far above the ports
	} {
		if got := ErlangB(tt.c, tt.a); math.Abs(got-tt.want) > 0.01*tt.want+1e-12 && math.Abs(got-tt.want) > 0.0006 {
			t.Errorf("B(%d, %v) = %.5f, want %.5f", tt.c, tt.a, got, tt.want)
		}
	}
}

// By hand: one port, load 1. From an empty space: an open comes after one hold on average and takes the port; then
// the next comes after one hold, and finds it taken or not. r_0 = 1, r_1 = 2: from level 1 it takes 2 holds.
func TestTimeToBlock(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		c    int
		a    float64
		want float64
	}{
		{0, 0.5, 2}, // no port: until the first open, 1/a holds
		{1, 1, 2},   // level 1 on: 1/B(1,1)
		{1, 0.5, 8}, // (1 + 3)/0.5
		{2, 1, 7},   // 1/B(1,1) + 1/B(2,1) = 2 + 5
		{2, 0, math.Inf(1)},
	} {
		if got := timeToBlock(tt.c, tt.a, 1e12); math.Abs(got-tt.want) > 1e-9*tt.want && got != tt.want {
			t.Errorf("τ(%d, %v) = %v, want %v", tt.c, tt.a, got, tt.want)
		}
	}
}

// releases is a heap of the times at which ports come free.
type releases []float64

func (r releases) Len() int           { return len(r) }
func (r releases) Less(i, j int) bool { return r[i] < r[j] }
func (r releases) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *releases) Push(x any)        { *r = append(*r, x.(float64)) }
func (r *releases) Pop() any {
	old := *r
	x := old[len(old)-1]
	*r = old[:len(old)-1]
	return x
}

// exhausts plays one day's peak: Poisson arrivals of so many flows at once, holds drawn from the law, and whether an open found no port of c. The
// time before the peak, long enough to fill the space, has ports without end.
func exhausts(r *rand.Rand, p *peaks, hold func(*rand.Rand) float64, before float64, batch, c int) bool {
	sigma := math.Sqrt(math.Log1p(p.spread * p.spread))
	rate := p.load / p.hold / float64(batch) * math.Exp(sigma*r.NormFloat64()-sigma*sigma/2)
	var held releases
	for t := -before; ; {
		t += r.ExpFloat64() / rate
		if t > p.length {
			return false
		}
		for len(held) > 0 && held[0] <= t {
			heap.Pop(&held)
		}
		for range batch {
			if t >= 0 && len(held) >= c {
				return true
			}
			heap.Push(&held, t+hold(r))
		}
	}
}

// Days exhaust as often as the plan says, within a factor of 1.5, whatever the law of holds.
func TestDaysExhaustAsOftenAsPlanned(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		peaks  peaks
		hold   func(*rand.Rand) float64
		before float64
		batch  int // flows that open together
	}{
		{
			"holds of exponential length",
			peaks{load: 100, hold: 60, length: 1800, peakedness: 1},
			func(r *rand.Rand) float64 { return 60 * r.ExpFloat64() }, 600, 1,
		},
		{
			"a cool-down of 240 s and calls of 50 ms",
			peaks{load: 240, hold: 240.05, length: 3600, peakedness: 1},
			func(*rand.Rand) float64 { return 240.05 }, 300, 1,
		},
		{
			"most flows short, a few long",
			peaks{load: 60, hold: 30, length: 1800, peakedness: 1},
			func(r *rand.Rand) float64 {
				if r.Float64() < 0.1 {
					return 210
				}
				return 10
			}, 300, 1,
		},
		{
			"peaks that differ from day to day",
			peaks{load: 100, hold: 60, length: 1800, spread: 0.15, peakedness: 1},
			func(r *rand.Rand) float64 { return 60 * r.ExpFloat64() }, 600, 1,
		},
		{
			// Of batches of b and holds of exponential length the variance of what is held is (b+1)/2 times the mean.
			"flows that open three at a time",
			peaks{load: 100, hold: 60, length: 1800, peakedness: 2},
			func(r *rand.Rand) float64 { return 60 * r.ExpFloat64() }, 600, 3,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, target := range []float64{0.3, 0.05} {
				const days = 1500
				c := tt.peaks.need(target)
				said := tt.peaks.probability(c)
				r := rand.New(rand.NewPCG(7, uint64(c)))
				exhausted := 0
				for range days {
					if exhausts(r, &tt.peaks, tt.hold, tt.before, tt.batch, c) {
						exhausted++
					}
				}
				came := float64(exhausted) / days
				t.Logf("%d ports: said %.3f, came %.3f", c, said, came)
				if came > 1.5*said || came < said/1.5 {
					t.Errorf("%d ports: said %.3f, came %.3f of %d days", c, said, came, days)
				}
			}
		})
	}
}

// However low the target, there is a number of ports that meets it: a search that finds none would never end.
func TestEnoughPortsForAnyTarget(t *testing.T) {
	t.Parallel()
	p := peaks{load: 100, hold: 0.001, length: 86400, spread: 0.1, peakedness: 1}
	if got := p.probability(100_000); got == 0 || got > 1e-200 {
		t.Fatalf("100000 ports for a load of 100 are exhausted in a day with probability %v, want hardly above 0", got)
	}
	if got := p.need(1e-13); got < 150 || got > 400 {
		t.Errorf("a load of 100 needs %d ports for a probability below 1e-13", got)
	}
}

// Flows that live no time hold their ports for the cool-down. JSON takes no NaN.
func TestPlanOfLifetimesOfNothing(t *testing.T) {
	t.Parallel()
	demand := incident(t, 30)
	demand.Lifetimes = Law{{0, 1}}
	p, err := Make(Input{Budget: budget.Params{Name: "w", Model: "azure-lb", Nodes: 48}, Demand: demand})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.WriteJSON(io.Discard); err != nil {
		t.Error(err)
	}
}
