package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Buckets are the buckets of a native histogram, from the lowest: Counts[i] is of what is at most Bounds[i] and above
// the bound before it. Counts has one more than Bounds: the last has no bound.
type Buckets struct {
	Bounds, Counts []float64
	Sum            float64
}

// nativeHistogram is a histogram in an answer of Prometheus: a time, and {count, sum, buckets}. Each of its buckets is
// [which of its bounds it contains, lower bound, upper bound, count]; those that counted nothing are left out.
type nativeHistogram struct{ Buckets }

func (h *nativeHistogram) UnmarshalJSON(b []byte) error {
	var answer [2]json.RawMessage
	var told struct {
		Sum     text
		Buckets [][4]text
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return err
	}
	if err := json.Unmarshal(answer[1], &told); err != nil {
		return err
	}
	*h = nativeHistogram{Buckets{Sum: float64(told.Sum)}}
	last := math.Inf(-1)
	for _, x := range told.Buckets {
		lower, upper, count := float64(x[1]), float64(x[2]), float64(x[3])
		if lower < last || !(lower < upper) || !(count >= 0) {
			return errors.New("buckets of a histogram out of order")
		}
		if lower > last && !math.IsInf(lower, -1) {
			h.Bounds, h.Counts = append(h.Bounds, lower), append(h.Counts, 0)
		}
		h.Counts, last = append(h.Counts, count), upper
		if !math.IsInf(upper, 1) {
			h.Bounds = append(h.Bounds, upper)
		}
	}
	if len(h.Counts) == len(h.Bounds) {
		h.Counts = append(h.Counts, 0)
	}
	return nil
}

// text is a number that Prometheus writes as one, or in quotes.
type text float64

func (f *text) UnmarshalJSON(b []byte) error {
	if unquoted, err := strconv.Unquote(string(b)); err == nil {
		b = []byte(unquoted)
	}
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return fmt.Errorf("value %q is no number", b)
	}
	*f = text(v)
	return nil
}
