package backtest

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/snatwatch/snatwatch/internal/backtest/scenario"
)

// TestScenario prints the tables of the scenario that BACKTEST names ("all" for all of them), BACKTEST_HOURS
// long (default 4): a quick way to try a change of the forecast.
//
//	BACKTEST=slow go test -run TestScenario -v ./internal/backtest
func TestScenario(t *testing.T) {
	name := os.Getenv("BACKTEST")
	if name == "" {
		t.Skip("BACKTEST names no scenario")
	}
	hours, err := strconv.ParseFloat(os.Getenv("BACKTEST_HOURS"), 64)
	if err != nil {
		hours = 4
	}
	var chosen []scenario.Scenario
	for _, s := range scenario.All() {
		if name == "all" || s.Name == name {
			chosen = append(chosen, s)
		}
	}
	r, err := RunScenarios(context.Background(), Config{Hours: hours, Parallel: runtime.GOMAXPROCS(0)}, chosen, scenario.Profiles(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Summarize().WriteText(os.Stdout); err != nil {
		t.Fatal(err)
	}
}
