package metrics

import (
	"math"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/snatwatch/snatwatch/detector"
)

// A server that asks for native histograms gets both kinds of buckets, of the same flows.
func TestHistogramsAreNativeAndClassic(t *testing.T) {
	t.Parallel()
	desc := prometheus.NewDesc("x_seconds", "", []string{"budget"}, nil)
	send := func(h *detector.Histogram) (out prometheus.Metric) {
		ch := make(chan prometheus.Metric, 1)
		emitter{descs: map[Name]*prometheus.Desc{HoldSeconds: desc}, ch: ch}.histogram(HoldSeconds, h, "web")
		return <-ch
	}
	h := detector.Histogram{Bounds: []float64{1, 2}, Counts: []uint64{4, 0, 2}, Sum: 9, Zero: 1, Native: make([]uint64, 1-detector.NativeFirst+8)}
	h.Native[-detector.NativeFirst] = 3   // up to 1 s
	h.Native[-detector.NativeFirst+8] = 2 // up to 2 s
	got := written(t, send(&h))
	if got.GetSampleCount() != 6 || len(got.Bucket) != 2 || got.Bucket[0].GetCumulativeCount() != 4 {
		t.Errorf("classic: %v", got)
	}
	if got.GetSchema() != detector.NativeSchema || got.GetZeroCount() != 1 || got.GetZeroThreshold() != math.Exp2(-10) ||
		len(got.PositiveSpan) != 2 || got.PositiveSpan[0].GetOffset() != 0 || got.PositiveSpan[1].GetOffset() != 7 ||
		len(got.PositiveDelta) != 2 || got.PositiveDelta[0] != 3 || got.PositiveDelta[1] != -1 {
		t.Errorf("native: %v", got)
	}
	h.Zero = 7 // does not add up
	if got := written(t, send(&h)); got.Schema != nil || len(got.Bucket) != 2 {
		t.Errorf("native buckets that do not add up: %v", got)
	}
}

func written(t *testing.T, m prometheus.Metric) *dto.Histogram {
	t.Helper()
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Histogram
}
