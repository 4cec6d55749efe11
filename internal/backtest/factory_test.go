package backtest

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/snatwatch/snatwatch/detector/forecast"
)

// Loads of two kinds are told apart by their residuals, the calm ones first.
func TestMixture(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	lessons := make([]lesson, 40)
	for i := range lessons {
		sd := 1.0
		if i%4 == 0 {
			sd = 8
		}
		for range 200 {
			lessons[i].judged(forecast.Judged{Residual: sd * rng.NormFloat64(), Exhausted: true})
		}
	}
	tails, shares := mixture(lessons, len(lessons), 0)
	sum, before := 0.0, 0.0
	for k, tail := range tails {
		total, beyond := 0.0, 0.0
		for b, x := range tail {
			total += x
			if b >= forecast.TailBin(3) {
				beyond += x
			}
		}
		sum += shares[k]
		switch {
		case math.Abs(total-1) > 1e-9:
			t.Errorf("the tail of kind %d sums to %v", k, total)
		case shares[k] > 0.05 && beyond < before-0.05:
			t.Errorf("kind %d has %.3f beyond 3, the one before %.3f", k, beyond, before)
		}
		if shares[k] > 0.05 {
			before = beyond
		}
	}
	if math.Abs(sum-1) > 0.01 || before < 0.25 {
		t.Errorf("shares %v, and %.3f of the wildest kind beyond 3; want a sum of 1, and a third", shares, before)
	}
}

// Probabilities that are twice as sure as they may be are found out.
func TestLogistic(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	lessons := make([]lesson, 10)
	for i := range lessons {
		for range 3000 {
			x := 2 * rng.NormFloat64()
			p := 1 / (1 + math.Exp(-(-0.5 + 0.5*x)))
			lessons[i].said[1] = append(lessons[i].said[1], saying{x, rng.Float64() < p})
		}
	}
	if offset, slope := logistic(lessons, 1); math.Abs(offset+0.5) > 0.05 || math.Abs(slope-0.5) > 0.05 {
		t.Errorf("log-odds are %.2f + %.2f times those said, want -0.5 and 0.5", offset, slope)
	}
	if offset, slope := logistic(make([]lesson, 2), 1); offset != 0 || slope != 1 {
		t.Errorf("of nothing it learns %v and %v", offset, slope)
	}
}
