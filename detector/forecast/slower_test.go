package forecast

import (
	"math"
	"testing"

	"github.com/snatwatch/snatwatch/detector"
)

// A store answers three times as slowly, without a cool-down: no flow is as old yet as flows will be, and the ports are
// gone within half a minute. That the young ones last longer says it at once.
func TestSlowerStoreIsSeenByItsYoungFlows(t *testing.T) {
	t.Parallel()
	left, seeds := 0, 8
	const want = 5.5 // seconds
	for seed := range uint64(seeds) {
		s := newSpace(NewForecaster(0), seed, 0)
		slower := 1.0
		s.life = func() float64 { return slower * 4 * math.Exp(0.7*s.rng.NormFloat64()) }
		play := func() {
			s.rate = s.poisson(100)
			s.play(1)
		}
		for range 900 {
			play()
		}
		if m := s.o.forecast.Mean[1]; m < 450 || m > 570 {
			t.Errorf("seed %d: %.0f ports in 5 minutes while all is well, want about 510", seed, m)
		}
		slower = 3
		warned, full := 0, 0
		for second := 1; full == 0 && second < 60; second++ {
			play()
			if warned == 0 && s.o.forecast.Urgency >= detector.PageRaise {
				warned = second
			}
			if s.o.held() >= 1024 {
				full = second
			}
		}
		t.Logf("seed %d: warned after %d s, full after %d s", seed, warned, full)
		if warned == 0 || full == 0 {
			t.Errorf("seed %d: warned after %d s, full after %d s", seed, warned, full)
		}
		left += full - warned
	}
	if got := float64(left) / float64(seeds); got < want {
		t.Errorf("on the mean %.1f s are left at the warning, want %v or more", got, want)
	}
}

// A store that answers faster again has a factor as well, but not one that makes exhaustion likelier.
func TestFasterStoreRaisesNoOdds(t *testing.T) {
	t.Parallel()
	seen := 0
	for seed := range uint64(4) {
		s := newSpace(NewForecaster(0), seed, 0)
		factor := 1.0
		s.life = func() float64 { return factor * 4 * math.Exp(0.7*s.rng.NormFloat64()) }
		for second := range 1000 {
			if second == 900 {
				factor = 0.4
			}
			s.rate = s.poisson(100)
			s.play(1)
			if s.o.stretched > 0.5 && second > 900 {
				seen++
			}
			if s.o.slower > 0.1 {
				t.Fatalf("seed %d: lifetimes grew by a factor with probability %.2f, %d s after they fell", seed, s.o.slower, second-900)
			}
		}
	}
	if seen == 0 {
		t.Error("that lifetimes fell by a factor was never seen")
	}
}

// Lifetimes that stay as they are have no factor, whatever they are.
func TestSteadyLifetimesDoNotStretch(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		s := newSpace(NewForecaster(0), seed, 0)
		s.life = func() float64 {
			if s.rng.IntN(20) == 0 {
				return 60 * s.rng.ExpFloat64()
			}
			return 3 * math.Exp(s.rng.NormFloat64())
		}
		const want = 70 * (0.05*60 + 0.95*3*1.6487)
		least, most := math.Inf(1), 0.0
		for second := range 3600 {
			s.rate = s.poisson(70)
			s.play(1)
			if second > 900 {
				least, most = min(least, s.o.forecast.Mean[1]), max(most, s.o.forecast.Mean[1])
			}
		}
		t.Logf("seed %d: %.0f to %.0f ports in 5 minutes", seed, least, most)
		if least < 0.8*want || most > 1.2*want {
			t.Errorf("seed %d: %.0f to %.0f ports in 5 minutes, want %.0f", seed, least, most, want)
		}
	}
}
