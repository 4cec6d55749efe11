package backtest

import (
	"bytes"
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/backtest/record"
	"github.com/snatwatch/snatwatch/internal/backtest/scenario"
	"github.com/snatwatch/snatwatch/internal/backtest/score"
)

// Steady load holds the share of the budget that it is named for, within five standard
// deviations of the mean over the hour that is left after the tail has built up.
func TestSteadyHoldsItsShare(t *testing.T) {
	t.Parallel()
	s, p := scenario.All()[0], scenario.Profiles()[1]
	src := s.Generate(p, 7, 2)
	r := &record.Record{Flows: slices.Collect(src.Flows), Destinations: []string{"x"}, Protocols: []collector.Protocol{collector.TCP}}
	held := newCounter(r, src.From, src.To, time.Second, staticBudget(scenario.Budget, p.CoolDown)).held(0)
	var m score.Mean
	for _, n := range held[3600:] {
		m.Add(float64(n))
	}
	// 240 windows of one mean hold time each are independent.
	if want, sd := 0.6*scenario.Budget, math.Sqrt(0.6*scenario.Budget/240); math.Abs(m.Value()-want) > 5*sd {
		t.Errorf("mean of %.1f ports, want %.1f +- %.1f", m.Value(), want, 5*sd)
	}
}

// The same backtest gives the same tables, whatever runs beside it, and the ledger never loses count.
func TestRunScenariosIsDeterministic(t *testing.T) {
	t.Parallel()
	var chosen []scenario.Scenario
	for _, s := range scenario.All() {
		if s.Name == "burst" || s.Name == "tier" {
			chosen = append(chosen, s)
		}
	}
	run := func(parallel int) (string, *Result) {
		cfg := Config{Hours: 0.75, Seeds: 1, TrainSeeds: 1, WarmUp: 5 * time.Minute, Parallel: parallel}
		r, err := RunScenarios(context.Background(), cfg, chosen, scenario.Profiles()[1:], nil)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := r.Summarize().WriteText(&b); err != nil {
			t.Fatal(err)
		}
		return b.String(), r
	}
	one, r := run(1)
	two, _ := run(4)
	if diff := cmp.Diff(strings.Split(one, "\n"), strings.Split(two, "\n")); diff != "" {
		t.Errorf("alone and beside others (-alone +beside)\n%s", diff)
	}
	for _, c := range r.Cells {
		if c.Apart != 0 {
			t.Errorf("%s %s: ledger and replay are %d ports apart", c.Group, c.Member, c.Apart)
		}
	}
}

func TestRunStops(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, err := RunScenarios(ctx, Config{}, scenario.All(), scenario.Profiles(), nil); err == nil {
		t.Error("a cancelled backtest gave a result")
	}
}
