package forecast

import (
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/detector"
)

// poisson is a number of flows that open within a second, where so many do on the mean.
func (s *busySpace) poisson(mean float64) (n int) {
	for x := s.rng.ExpFloat64(); x < mean; x += s.rng.ExpFloat64() {
		n++
	}
	return n
}

// A store becomes slow behind a cool-down of 240 s, while a fill that stays is held to be told best: what rate and
// lifetimes lead to is forecast minutes before the ports are gone.
func TestSlowStoreBehindALongCoolDown(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		s := newSpace(NewForecaster(0), seed, 240*time.Second)
		const calm = 1200
		hang := 0.05
		s.life = func() float64 { return hang * s.rng.ExpFloat64() }
		warned, full := 0, 0
		for second := 0; full == 0 && second < calm+1200; second++ {
			if second >= calm {
				hang = min(60, hang*1.2) // within 40 s
			}
			s.rate = s.poisson(3.6)
			s.play(1)
			if s.o.forecast.Urgency >= detector.PageRaise && warned == 0 {
				warned = second
			}
			if s.o.held() >= 1024 {
				full = second
			}
		}
		t.Logf("seed %d: warned at +%d s, full at +%d s", seed, warned-calm, full-calm)
		if warned < calm || full-warned < 150 {
			t.Errorf("seed %d: warned at +%d s, full at +%d s", seed, warned-calm, full-calm)
		}
	}
}

// The highest fill that a forecast is compared with is that of the part of its horizon beyond the one before: what
// comes sooner has a tail of its own.
func TestHighestOfTheFarPart(t *testing.T) {
	t.Parallel()
	s := newSpace(NewForecaster(0), 1, 0)
	s.life = func() float64 { return 5 * s.rng.ExpFloat64() }
	s.rate = 20
	s.play(600)
	checked := 0
	for second := range 600 {
		s.play(1)
		for h := range s.o.learnt {
			u, before := s.account.f.work.grid[s.account.f.work.horizon[h]], 0.0
			if h > 0 {
				before = s.account.f.work.grid[s.account.f.work.horizon[h-1]]
			}
			for _, p := range s.o.learnt[h].waiting {
				if p.due == 0 {
					continue
				}
				checked++
				age := s.now.Seconds() - float64(p.due) + u
				if before > 0 && age <= before && p.highest > 0 || age >= before+5 && p.highest == 0 {
					t.Fatalf("second %d, horizon %d: %.0f s after it was made the highest is %.0f", second, h, age, p.highest)
				}
			}
		}
	}
	if checked == 0 {
		t.Error("no forecast waits")
	}
}

// A batch is over: the few flows of the last seconds say so, before the many before have left the memory of the rate.
func TestRateAfterABatch(t *testing.T) {
	t.Parallel()
	s := newSpace(NewForecaster(0), 1, 240*time.Second)
	s.life = func() float64 { return 0.05 }
	most := 0.0
	for second := range 3600 {
		s.rate = s.poisson(1.6)
		if second%300 < 8 && second >= 300 {
			s.rate += 45
		}
		s.play(1)
		if second >= 1800 && second%300 == 14 {
			most = max(most, s.o.rate)
		}
	}
	if most > 5 {
		t.Errorf("6 s after a batch the rate is %.1f a second, want 1.6", most)
	}
}
