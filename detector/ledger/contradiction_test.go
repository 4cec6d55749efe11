package ledger

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

func TestContradiction(t *testing.T) {
	t.Parallel()
	dead := func(from float64) func(float64) bool {
		return func(t float64) bool { return t < from }
	}
	for _, tt := range []struct {
		name     string
		believed time.Duration
		ports    int     // believed
		rate     float64 // flows a second; 4.27 fill 1024 ports of 240 s
		answers  func(t float64) bool
		want     bool
		// within is how many seconds after the first evidence it is said: after the first
		// failure, or after the believed count passes the budget where nothing failed.
		within float64
	}{
		{"240 s believed to be none", 0, 1024, 6, always, true, 600},
		{"240 s believed to be 120", 120 * time.Second, 1024, 6, always, true, 600},
		{"240 s believed to be 480", 480 * time.Second, 1024, 3.5, always, true, 600},
		{"240 s known, too many flows", 240 * time.Second, 1024, 6, always, false, 0},
		{"240 s known, nothing wrong", 240 * time.Second, 1024, 3.5, always, false, 0},
		{"half of the budget believed", 240 * time.Second, 512, 3.5, always, true, 600},
		{"twice the budget believed", 240 * time.Second, 2048, 6, always, true, 600},
		{"a dead server", 240 * time.Second, 1024, 3, dead(1200), false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, Config{Budgets: []*budget.Budget{coolingBudget(tt.ports, tt.believed)}})
			c := &cloud{rng: rand.New(rand.NewPCG(7, 7)), truth: 240, ports: 1024, patience: 21}
			said, failed := c.play(s, 2400, steady(tt.rate), tt.answers)
			if (said >= 0) != tt.want {
				_, why := forecast.Contradicted(s.forecastsOf(0))
				t.Log(why)
				t.Fatalf("contradicted at %v s, first failure at %v s, want contradicted %v", said, failed, tt.want)
			}
			since := failed
			if failed < 0 {
				since = float64(tt.ports) / tt.rate
			}
			if tt.want && said-since > tt.within {
				t.Errorf("said %v s after the first evidence, want at most %v", said-since, tt.within)
			}
			if snap := s.Snapshot(at(2400)); tt.want && (!snap.Budgets[0].Contradicted || snap.Budgets[0].Contradiction == "") {
				t.Error("the snapshot does not say so")
			}
		})
	}
}

// Between two dumps an event of a new flow does not tell whether it is answered. Those that may
// wait for an answer hold no port for certain.
func TestWaitingIsNoContradiction(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		waiting int // flows that open between two dumps beside those that hold all 1024 ports
		// answered: a dump shows these as answered.
		answered bool
		want     bool
	}{
		{"all ports held", 0, false, false},
		{"300 wait besides", 300, false, false},
		{"300 were answered besides", 300, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, Config{Budgets: []*budget.Budget{coolingBudget(1024, 0)}})
			n := 0
			next := func(state collector.State) collector.Flow {
				n++
				f := flowTo(n, store)
				f.State = state
				return f
			}
			var live, waiting []collector.Flow
			for range 1024 {
				live = append(live, next(collector.Established))
			}
			s.dump(0, live...)
			said := false
			for second := 1.0; second < 600; second++ {
				if second == 30 {
					for range tt.waiting {
						f := next(collector.Opening)
						s.open(second, f)
						waiting = append(waiting, f)
					}
				}
				if second == 60 && tt.answered {
					for i := range waiting {
						waiting[i].State = collector.Established
					}
					s.dump(second, append(live, waiting...)...)
				}
				// One flow after another gives its port to the next.
				s.close(second, live[0], collector.FIN)
				f := next(collector.Opening)
				s.open(second, f)
				f.State = collector.Established
				live = append(live[1:], f)
				s.Advance(at(second + 0.9))
				if ok, _ := forecast.Contradicted(s.forecastsOf(0)); ok {
					said = true
				}
			}
			if said != tt.want {
				t.Errorf("contradicted %v, want %v", said, tt.want)
			}
		})
	}
}

// A contradiction belongs to the terms at its time, and stands for half an hour, whether flows come or not.
func TestContradictionIsLetGo(t *testing.T) {
	t.Parallel()
	over := func() (s script, n int) {
		s = newScript(t, Config{Budgets: []*budget.Budget{coolingBudget(100, 240*time.Second)}})
		s.dump(0)
		for n = 1; n < 500; n++ {
			s.open(float64(n), flowTo(n, store))
			s.close(float64(n)+0.5, flowTo(n, store), collector.FIN)
		}
		if said, _ := forecast.Contradicted(s.forecastsOf(0)); !said {
			t.Fatal("240 ports are held of 100, and nothing is said")
		}
		return s, n
	}
	flows := func(s script, n int) {
		for x := float64(n); x < 520; x++ {
			n++
			s.open(x, flowTo(n, store))
			s.close(x+0.5, flowTo(n, store), collector.FIN)
		}
	}
	for _, tt := range []struct {
		name string
		do   func(s script, n int)
		want bool
	}{
		{"other terms", func(s script, n int) {
			s.Reconfigure([]*budget.Budget{coolingBudget(1024, 240*time.Second)})
			flows(s, n)
		}, false},
		{"the same terms", func(s script, n int) {
			s.Reconfigure([]*budget.Budget{coolingBudget(100, 240*time.Second)})
			flows(s, n)
		}, true},
		{"no flow for 20 minutes", func(s script, _ int) { s.dump(1700) }, true},
		{"no flow for an hour", func(s script, _ int) {
			for x := 500.0; x < 4100; x += 30 {
				s.dump(x)
			}
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, n := over()
			tt.do(s, n)
			if said, why := forecast.Contradicted(s.forecastsOf(0)); said != tt.want {
				t.Errorf("contradicted %v, want %v: %s", said, tt.want, why)
			}
		})
	}
}
