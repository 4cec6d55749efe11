package remote

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNativeHistogram(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, answer string
		want         Buckets
		err          string
	}{
		{
			name: "the zero bucket, two beside each other, and one further up",
			answer: `[1435781460.781, {"count": "7", "sum": "12.5", "buckets": [[3, "-0.001", "0.001", "1"], [0, "1", "2", "2"],
				[0, "2", "4", "3"], [0, "8", "16", "1"]]}]`,
			want: Buckets{Bounds: []float64{-0.001, 0.001, 1, 2, 4, 8, 16}, Counts: []float64{0, 1, 0, 2, 3, 0, 1, 0}, Sum: 12.5},
		},
		{
			name:   "bounds of a classic one: from nowhere, and to nowhere",
			answer: `[1, {"count": "3", "sum": "9", "buckets": [[0, "-Inf", "1", "2"], [0, "4", "+Inf", "1"]]}]`,
			want:   Buckets{Bounds: []float64{1, 4}, Counts: []float64{2, 0, 1}, Sum: 9},
		},
		{name: "nothing was counted", answer: `[1, {"count": "0", "sum": "0"}]`, want: Buckets{Counts: []float64{0}}},
		{name: "out of order", answer: `[1, {"sum": "0", "buckets": [[0, "2", "1", "1"]]}]`, err: "buckets of a histogram out of order"},
		{name: "no number", answer: `[1, {"sum": "much"}]`, err: `value "much" is no number`},
		{name: "NaN", answer: `[1, {"sum": "1", "buckets": [[0, "1", "2", "NaN"]]}]`, err: "buckets of a histogram out of order"},
		{name: "no histogram", answer: `[1, "2"]`, err: "json: cannot unmarshal string into Go value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var h nativeHistogram
			err := json.Unmarshal([]byte(tt.answer), &h)
			switch {
			case tt.err != "":
				if err == nil || !json.Valid([]byte(tt.answer)) || len(err.Error()) < len(tt.err) || err.Error()[:len(tt.err)] != tt.err {
					t.Errorf("error %v, want %s…", err, tt.err)
				}
			case err != nil:
				t.Error(err)
			default:
				if diff := cmp.Diff(tt.want, h.Buckets); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}
