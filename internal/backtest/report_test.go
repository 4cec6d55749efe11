package backtest

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Where nothing could be measured there is no verdict.
func TestTargetTable(t *testing.T) {
	t.Parallel()
	nan, inf := Number(math.NaN()), Number(math.Inf(1))
	s := Summary{Targets: []Target{
		{Text: "at least", Got: [horizons]Number{1.5, 1.4, nan, inf}, Want: [horizons]Number{1.5, 1.5, 1.5, 1.5}},
		{Text: "at most", Got: [horizons]Number{0.8, 0.9, nan, 0.7}, Want: [horizons]Number{0.8, 0.8, 0.8, nan}, AtMost: true},
	}}
	var b strings.Builder
	s.targetTable().write(&b)
	var got []string
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "  at ") {
			got = append(got, strings.Join(strings.Fields(line), " "))
		}
	}
	want := []string{
		"at least 1.50 (>= 1.50) ok 1.40 (>= 1.50) miss - (>= 1.50) - (>= 1.50)",
		"at most 0.80 (<= 0.80) ok 0.90 (<= 0.80) miss - (<= 0.80) 0.70",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
