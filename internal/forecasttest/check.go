// Package forecasttest checks forecasts for tests of the rooms that make them and keep them.
package forecasttest

import (
	"math"
	"testing"

	"github.com/snatwatch/snatwatch/detector"
)

// Check fails t where a number of f is none that a metric may show: a probability outside 0 to 1 or one that falls with
// the horizon, a mean that is negative or infinite, a variance that falls, a time to exhaustion that is negative.
func Check(t testing.TB, f *detector.Forecast) {
	t.Helper()
	before, variance := 0.0, 0.0
	for h := range detector.NumHorizons {
		p := f.Probability[h]
		switch {
		case !(p >= before && p <= 1):
			t.Fatalf("probabilities %v: not rising within 0 to 1", f.Probability)
		case !(f.Mean[h] >= 0) || math.IsInf(f.Mean[h], 0):
			t.Fatalf("means %v", f.Mean)
		case !(f.Variance[h] >= variance) || math.IsInf(f.Variance[h], 0):
			t.Fatalf("variances %v: falling", f.Variance)
		}
		before, variance = p, f.Variance[h]
	}
	if x := f.TimeToExhaustion; math.IsNaN(x) || x < 0 {
		t.Fatalf("time to exhaustion %v", x)
	}
}
