package plan

import (
	"math"
	"testing"
)

func TestLaw(t *testing.T) {
	t.Parallel()
	l := Law{{1, 0.5}, {9, 0.5}}
	for _, tt := range []struct {
		name      string
		got, want float64
	}{
		{"mean", l.Mean(), 5},
		{"cut at 3", l.CutMean(3), 2},
		{"median", l.Quantile(0.5), 1},
		{"pieces of 2: one, and five", l.Pieces(2), 3},
		{"pieces of flows that live no time", Law{{0, 1}}.Pieces(0), 1},
	} {
		if math.Abs(tt.got-tt.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

// The lifetimes of a histogram stay within their buckets: a law that was stretched to the measured mean put calls of
// 30 s at 39 s.
func TestHistogramLaw(t *testing.T) {
	t.Parallel()
	h, within, err := HistogramLaw([]float64{1, 4}, []float64{2, 2, 0}, 10)
	if err != nil || len(h) != 2 || math.Abs(h.Mean()-2.5) > 1e-9 || math.Abs(h[1].Seconds/h[0].Seconds-4) > 1e-9 || within != 4 {
		t.Errorf("law of a histogram %v within %v, error %v", h, within, err)
	}
	if _, _, err := HistogramLaw([]float64{1}, []float64{0, 0}, 0); err == nil {
		t.Error("a law of an empty histogram")
	}
	bounds := []float64{0.016, 0.032, 8, 16, 32}
	for _, tt := range []struct {
		name         string
		counts       []float64
		sum          float64
		median, most float64 // between the bounds of their buckets
	}{
		{"calls of 20 ms and of 30 s", []float64{0, 300, 0, 0, 700, 0}, 300*0.02 + 700*30, 32, 32},
		{"a ramp to 30 s", []float64{0, 300, 50, 100, 550, 0}, 300*0.02 + 50*5 + 100*12 + 550*30, 32, 32},
		{"a few of an hour", []float64{0, 900, 0, 0, 0, 100}, 900*0.02 + 100*3600, 0.032, 3600.1},
		{"no sum", []float64{0, 300, 0, 0, 700, 0}, 0, 32, 32},
	} {
		l, _, err := HistogramLaw(bounds, tt.counts, tt.sum)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if tt.sum > 0 && math.Abs(l.Mean()-tt.sum/1000) > 1e-6*l.Mean() {
			t.Errorf("%s: mean %v, want %v", tt.name, l.Mean(), tt.sum/1000)
		}
		median, most := l.Quantile(0.5), l.Quantile(1)
		if median > tt.median+1e-9 || median < tt.median/2 || most > tt.most || most < 0.49*tt.most {
			t.Errorf("%s: half ≤ %v, all ≤ %v, want at most %v and %v, and not under half of that", tt.name, median, most,
				tt.median, tt.most)
		}
	}
}

// One in a hundred flows is of a destination that answers in 30 s, the others take 50 ms. The law of that destination
// has its mean and no lifetime that nobody saw: stretched, it had flows of 43 min.
func TestLawWithAnotherMean(t *testing.T) {
	t.Parallel()
	all := Law{{0.05, 0.99}, {25, 0.002}, {30, 0.006}, {35, 0.002}}
	for _, tt := range []struct{ mean, median, most float64 }{
		{30, 30, 35},
		{all.Mean(), 0.05, 35},
		{0.1, 0.05, 35},
		{60, 60, 60},       // longer than any
		{0.001, 0.001, 35}, // shorter than any
	} {
		l := all.WithMean(tt.mean)
		if math.Abs(l.Mean()/tt.mean-1) > 1e-9 || l.Quantile(0.5) != tt.median || l.Quantile(1) > tt.most {
			t.Errorf("mean %v: %v, of mean %v", tt.mean, l, l.Mean())
		}
	}
}
