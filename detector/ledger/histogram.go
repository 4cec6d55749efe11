package ledger

import (
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/detector"
)

// Histograms have a bound at each power of two of a millisecond: 1 ms, 2 ms … 4194 s.
const histogramBounds = 23

// histogram counts durations; the last count is beyond all bounds.
type histogram struct {
	counts [histogramBounds + 1]uint64
	native [nativeBuckets + 1]uint64 // the first is the zero bucket
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
	h.native[max(0, min(nativeIndex(float64(d)/1e9)-detector.NativeFirst+1, nativeBuckets))]++
	h.sum += d
}

// snapshot copies h; bounds is shared by all snapshots.
func (h *histogram) snapshot(bounds []float64) detector.Histogram {
	s := detector.Histogram{Bounds: bounds, Counts: make([]uint64, len(h.counts)), Sum: h.sum.Seconds()}
	copy(s.Counts, h.counts[:])
	s.Zero = h.native[0]
	last := len(h.native)
	for last > 1 && h.native[last-1] == 0 {
		last--
	}
	s.Native = slices.Clone(h.native[1:last])
	return s
}

func newHistogramBounds() []float64 {
	b := make([]float64, histogramBounds)
	for k := range b {
		b[k] = math.Ldexp(0.001, k)
	}
	return b
}

// nativeBuckets reach to 12 days; the last one counts all that is longer. conntrack keeps no flow so long without
// packets.
const nativeBuckets = (10 + 20) * 8

// nativeIndex returns the index of the bucket of s seconds: the smallest i with s <= 2^(i/8).
func nativeIndex(s float64) int {
	const fraction = 52
	b := math.Float64bits(s)
	i, m := 8*(int(b>>fraction)-1023), b&(1<<fraction-1)
	if m == 0 {
		return i
	}
	// The fractions of 2^(1/8), 2^(2/8) … 2^(7/8); each difference below 0 adds 1, without a branch.
	above := (0x172b83c7d517b-m)>>63 + (0x306fe0a31b715-m)>>63 + (0x4bfdad5362a27-m)>>63 + (0x6a09e667f3bcd-m)>>63 +
		(0x8ace5422aa0db-m)>>63 + (0xae89f995ad3ad-m)>>63 + (0xd5818dcfba487-m)>>63
	return i + 1 + int(above)
}

// meanHold is the mean of the last hold times, the newest weighing most.
type meanHold struct {
	seconds float64
	count   float64
}

// holdMemory is how many closes later a hold time weighs a third.
const holdMemory = 256

func (m *meanHold) add(hold time.Duration) {
	m.count = min(m.count+1, holdMemory)
	m.seconds += (hold.Seconds() - m.seconds) / m.count
}

func (m *meanHold) mean() time.Duration { return time.Duration(m.seconds * float64(time.Second)) }
