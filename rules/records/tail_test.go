package records

import (
	"math"
	"testing"
)

// What normalTail writes is as near to the normal distribution as its source says.
func TestTailIsNormal(t *testing.T) {
	t.Parallel()
	for x := -8.0; x <= 8; x += 1.0 / 64 {
		want := math.Erfc(x/math.Sqrt2) / 2
		if got := 1 / (1 + math.Exp(tailScale*math.Sinh(3*math.Asinh(x/tailWidth)))); math.Abs(got-want) > 0.00015 {
			t.Errorf("P(N > %g) is %.6f, want %.6f", x, got, want)
		}
	}
}
