package ledger

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/detector"
)

// Each duration falls into the bucket whose bounds it lies between, and into one only.
func TestHistogramNative(t *testing.T) {
	t.Parallel()
	bound := func(i int) float64 { return math.Exp2(float64(detector.NativeFirst+i) / 8) }
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		d := time.Duration(math.Exp2(50 * r.Float64())) // up to 13 days, in ns
		var h histogram
		h.add(d)
		s := h.snapshot(newHistogramBounds())
		i, sec := len(s.Native)-1, d.Seconds()
		switch {
		case i < 0:
			if s.Zero != 1 || sec > detector.NativeZero {
				t.Fatalf("%v: zero bucket counts %d", d, s.Zero)
			}
		case s.Zero != 0 || s.Native[i] != 1 || sec <= bound(i-1)*(1-1e-15) || sec > bound(i)*(1+1e-15) && i < nativeBuckets-1:
			t.Fatalf("%v: bucket %d, from %v to %v", d, i, bound(i-1), bound(i))
		}
	}
	var h histogram
	for _, d := range []time.Duration{-time.Second, 0, time.Microsecond, time.Second / 1024, time.Second, 1 << 62} {
		h.add(d)
	}
	s := h.snapshot(newHistogramBounds())
	if s.Zero != 4 || s.Native[-detector.NativeFirst] != 1 || s.Native[len(s.Native)-1] != 1 || len(s.Native) != nativeBuckets {
		t.Errorf("zero %d, native %v", s.Zero, s.Native)
	}
}

func BenchmarkHistogram(b *testing.B) {
	var h histogram
	for i := range b.N {
		h.add(time.Duration(i) * 977)
	}
}
