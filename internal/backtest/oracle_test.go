package backtest

import (
	"context"
	"testing"

	"github.com/snatwatch/snatwatch/internal/backtest/scenario"
)

// An oracle of a load whose future is as its present says what comes, and better than the fill does.
func TestOracle(t *testing.T) {
	t.Parallel()
	cfg := Config{Hours: 3, Seeds: 2, Untrained: true, Oracle: true}
	steady := only(scenario.All(), named("steady_hi"))
	r, err := RunScenarios(context.Background(), cfg, steady, scenario.Profiles()[1:], nil)
	if err != nil {
		t.Fatal(err)
	}
	s := r.Summarize()
	oracle, fill := s.method(NameOracle), s.method(NameUtilisation)
	if oracle.Kind != KindOracle {
		t.Fatalf("the oracle is of kind %q", oracle.Kind)
	}
	// Farther ahead so short a run has too little of what is independent.
	for h := range 2 {
		t.Logf("%s: AP %.3f of the oracle, %.3f of the fill, Brier skill %.3f, distance %.3f", s.Horizons[h],
			float64(oracle.AP[h]), float64(fill.AP[h]), float64(oracle.Skill[h]), float64(oracle.CalibrationError[h]))
		if !(oracle.CalibrationError[h] < 0.1) {
			t.Errorf("%s: what the oracle says is %.3f off what comes", s.Horizons[h], float64(oracle.CalibrationError[h]))
		}
		if !(oracle.AP[h] > fill.AP[h]) {
			t.Errorf("%s: AP %.3f, the fill has %.3f", s.Horizons[h], float64(oracle.AP[h]), float64(fill.AP[h]))
		}
	}
}
