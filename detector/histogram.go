package detector

import (
	"math"
	"math/bits"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// Histograms have a bound at each power of two of a millisecond: 1 ms, 2 ms … 4194 s.
const histogramBounds = 23

// histogram counts durations; the last count is beyond all bounds.
type histogram struct {
	counts [histogramBounds + 1]uint64
	sum    time.Duration
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	// The smallest k with d <= 2^k ms.
	ms := uint64((d + time.Millisecond - 1) / time.Millisecond)
	k := 0
	if ms > 1 {
		k = bits.Len64(ms - 1)
	}
	h.counts[min(k, histogramBounds)]++
	h.sum += d
}

// snapshot copies h; bounds is shared by all snapshots.
func (h *histogram) snapshot(bounds []float64) Histogram {
	s := Histogram{Bounds: bounds, Counts: make([]uint64, len(h.counts)), Sum: h.sum.Seconds()}
	copy(s.Counts, h.counts[:])
	return s
}

func newHistogramBounds() []float64 {
	b := make([]float64, histogramBounds)
	for k := range b {
		b[k] = math.Ldexp(0.001, k)
	}
	return b
}

// lifetime is how long a flow lived. Where only bounds are known it is the geometric mean
// of the bounds, the lower one not under 1 ms: half of the decades between them
// lie on each side, so that a flow of 50 ms that a poll every 5 s saw closed does not count as
// one of 2.5 s. ok is false where nothing bounds when it opened.
func lifetime(opened, ended collector.Interval) (d time.Duration, ok bool) {
	if opened.From == 0 && opened.To != 0 {
		return 0, false
	}
	long := max(ended.To.Sub(opened.From), 0)
	short := max(ended.From.Sub(opened.To), 0)
	if opened.Exact() && ended.Exact() {
		return long, true
	}
	short = max(short, min(time.Millisecond, long))
	return time.Duration(math.Sqrt(float64(short) * float64(long))), true
}
