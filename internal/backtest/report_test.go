package backtest

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

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

// The head of a report and of its JSON says what the run was.
func TestReportSaysWhatWasRun(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		result      Result
		tick, hours string
	}{
		{"a record twice a second", Result{Config: Config{Tick: 500 * time.Millisecond, Hours: 8}}, "tick 0.5 s,", `"hours":null,"tick_seconds":0.5,`},
		{"a scenario", Result{Config: Config{Tick: 5 * time.Second, Hours: 2}, Scenarios: true}, "tick 5 s,", `"hours":2,"tick_seconds":5,`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := tt.result.Summarize()
			var text strings.Builder
			if err := s.WriteText(&text); err != nil {
				t.Fatal(err)
			}
			out, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(text.String(), tt.tick) || !strings.Contains(string(out), tt.hours) {
				t.Errorf("it lacks %q or %q:\n%s\n%s", tt.tick, tt.hours, text.String(), out)
			}
		})
	}
}
