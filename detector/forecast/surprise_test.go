package forecast

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// Where all flows live for the same time none is taken to outlive it, wherever in a bucket of ages that is,
// and beside flows that stay.
func TestLifetimesOfOneLength(t *testing.T) {
	t.Parallel()
	for _, life := range []float64{1, 2, 5, 15, 30, 60, 90, 120} {
		t.Run(fmt.Sprint(life), func(t *testing.T) {
			t.Parallel()
			const stay, calls = 300, 150
			s := newSpace(NewForecaster(0), 1, 0)
			for range stay {
				s.open(s.now, 1e6)
			}
			s.life = func() float64 { return life }
			// A whole number of calls each second, as many as there are seconds in calls' worth of them.
			s.rate = max(1, int(calls/life))
			held := stay + float64(s.rate)*life
			for second := range 1200 {
				s.play(1)
				if f := &s.o.forecast; second > 4*int(life)+60 && (f.Mean[0] > 1.2*held || f.Mean[1] > 1.2*held || f.Probability[1] > 0.02) {
					t.Fatalf("after %d s: %.0f in a minute, %.0f in five, exhausted by then with %.3f; want %.0f and hardly ever", second, f.Mean[0], f.Mean[1], f.Probability[1], held)
				}
			}
		})
	}
}

// A store that answered within 50 ms hangs. The memory of seconds is full of brief calls, and the budget
// is gone in 17 s.
func TestHangingStoreIsSeenWithinSeconds(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		s := newSpace(NewForecaster(0), seed, 0)
		s.rate = 60
		s.life = func() float64 { return 0.05 * s.rng.ExpFloat64() }
		s.play(900)
		if s.o.changed > 0.1 {
			t.Errorf("seed %d: lifetimes are taken to have changed: %.2f", seed, s.o.changed)
		}
		s.life = func() float64 { return 30 * s.rng.ExpFloat64() }
		rises, warned := 0, 0
		for second := 1; second <= 17; second++ {
			s.play(1)
			if rises == 0 && s.o.forecast.Mean[0] > float64(s.o.held()) {
				rises = second
			}
			if warned == 0 && s.o.forecast.Probability[0] >= 0.2 {
				warned = second
			}
		}
		t.Logf("seed %d: a rise is foretold after %d s, exhaustion within a minute with a probability of 0.2 after %d s", seed, rises, warned)
		if rises == 0 || rises > 3 || warned == 0 || warned > 9 {
			t.Errorf("seed %d: a rise is foretold after %d s and exhaustion after %d s, want at most 3 and 9", seed, rises, warned)
		}
	}
}

// Between two dumps no flow ends, and then many do: nothing changed.
func TestDumpsDoNotSurprise(t *testing.T) {
	t.Parallel()
	const every = 5
	type flow struct {
		ended  collector.Time
		opened collector.Interval // as the first dump that shows it bounds it
	}
	for _, life := range []float64{0.05, 2, 20} {
		s := newSpace(NewForecaster(0), 1, 15*time.Second)
		var unseen, live []flow
		before, most := s.now, 0.0
		for second := 1; second <= 1800; second++ {
			for range 20 {
				opened := s.now.Add(time.Duration(s.rng.Int64N(1e9)))
				unseen = append(unseen, flow{ended: opened.Add(time.Duration(life * s.rng.ExpFloat64() * 1e9))})
			}
			s.now = s.now.Add(time.Second)
			if second%every == 0 {
				for i := range unseen {
					f := &unseen[i]
					f.opened = collector.Interval{From: before, To: min(s.now, f.ended)}
					s.o.Open(f.opened)
				}
				live, unseen, before = append(live, unseen...), nil, s.now
				live = slices.DeleteFunc(live, func(f flow) bool {
					if f.ended > s.now {
						return false
					}
					s.o.Close(f.opened, moment(f.ended), f.ended.Add(s.cool), collector.FIN)
					return true
				})
			}
			s.tick()
			if second > 300 {
				most = max(most, s.o.changed)
			}
		}
		if most > 0.3 {
			t.Errorf("flows of %v s in dumps every %d s: lifetimes are taken to have changed: %.2f", life, every, most)
		}
	}
}
