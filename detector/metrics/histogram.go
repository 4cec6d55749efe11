package metrics

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/snatwatch/snatwatch/detector"
)

func (e emitter) histogram(n Name, h *detector.Histogram, labels ...string) {
	buckets := make(map[float64]uint64, len(h.Bounds))
	var total uint64
	for i, c := range h.Counts {
		total += c
		if i < len(h.Bounds) {
			buckets[h.Bounds[i]] = total
		}
	}
	classic := prometheus.MustNewConstHistogram(e.descs[n], total, h.Sum, buckets, labels...)
	native := make(map[int]int64, len(h.Native))
	for i, c := range h.Native {
		if c > 0 {
			native[detector.NativeFirst+i] = int64(c)
		}
	}
	n3, err := prometheus.NewConstNativeHistogram(e.descs[n], total, h.Sum, native, nil, h.Zero, detector.NativeSchema,
		detector.NativeZero, time.Time{}, labels...)
	if err != nil { // the two do not agree: what most servers take is still good
		e.ch <- classic
		return
	}
	e.ch <- bothHistograms{classic, n3}
}

// bothHistograms is one histogram with classic buckets and native ones. A server takes the native
// ones if it is configured to, the text formats show the classic ones alone.
type bothHistograms struct {
	prometheus.Metric
	native prometheus.Metric
}

func (b bothHistograms) Write(out *dto.Metric) error {
	var native dto.Metric
	if err := errors.Join(b.Metric.Write(out), b.native.Write(&native)); err != nil {
		return err
	}
	h, n := out.Histogram, native.Histogram
	h.Schema, h.ZeroThreshold, h.ZeroCount = n.Schema, n.ZeroThreshold, n.ZeroCount
	h.PositiveSpan, h.PositiveDelta = n.PositiveSpan, n.PositiveDelta
	return nil
}
