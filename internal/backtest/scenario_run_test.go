package backtest

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
)

// A run can be repeated, its flows come in order, and its load is what the scenario says.
func TestGenerate(t *testing.T) {
	t.Parallel()
	for _, s := range Scenarios() {
		for _, p := range Profiles() {
			t.Run(s.Name+" "+p.Name, func(t *testing.T) {
				t.Parallel()
				const hours = 0.5
				first, second, other := s.Generate(p, 1, hours), s.Generate(p, 1, hours), s.Generate(p, 2, hours)
				flows := slices.Collect(first.Flows)
				if !slices.Equal(flows, slices.Collect(second.Flows)) {
					t.Error("the same seed gave other flows")
				}
				if slices.Equal(flows, slices.Collect(other.Flows)) {
					t.Error("another seed gave the same flows")
				}
				if want := Epoch + seconds(3600*hours*s.length); first.To != want {
					t.Errorf("it ends at %d, want %d", first.To, want)
				}
				last := first.From
				for _, f := range flows {
					if f.Start < last || f.End < f.Start || f.Start >= first.To {
						t.Fatalf("flow %+v after %d", f, last)
					}
					last = f.Start
				}
				for i, c := range first.Changes {
					if c.Ports != 1024 && c.Nodes <= 50 || c.Ports != 512 && c.Nodes > 50 || i > 0 && c.At < first.Changes[i-1].At {
						t.Errorf("change %d: %+v", i, c)
					}
				}
			})
		}
	}
}

// Steady load holds the share of the budget that it is named for, within five standard
// deviations of the mean over the hour that is left after the tail has built up.
func TestSteadyHoldsItsShare(t *testing.T) {
	t.Parallel()
	s, p := Scenarios()[0], Profiles()[1]
	src := s.Generate(p, 7, 2)
	r := Record{Flows: slices.Collect(src.Flows), Destinations: []string{"x"}, Protocols: []collector.Protocol{collector.TCP}}
	held := r.count(src.From, src.To, time.Second, staticBudget(Budget, p.CoolDown)).held(0)
	var m mean
	for _, n := range held[3600:] {
		m.add(float64(n))
	}
	// 240 windows of one mean hold time each are independent.
	if want, sd := 0.6*Budget, math.Sqrt(0.6*Budget/240); math.Abs(m.value()-want) > 5*sd {
		t.Errorf("mean of %.1f ports, want %.1f +- %.1f", m.value(), want, 5*sd)
	}
}

func TestLifetimeMean(t *testing.T) {
	t.Parallel()
	for _, p := range Profiles() {
		l := &load{profile: p, r: rand.New(rand.NewPCG(1, 1))}
		var m mean
		for range 2_000_000 {
			m.add(p.life.draw(l.r, 1))
		}
		if got, want := m.value(), p.life.mean(); math.Abs(got/want-1) > 0.03 {
			t.Errorf("%s: mean %.3f s, want %.3f", p.Name, got, want)
		}
	}
}

// The slow store's lifetimes grow while the rate of opens stays.
func TestSlowStoreGrowsHoldTimes(t *testing.T) {
	t.Parallel()
	for _, s := range Scenarios() {
		if s.Name != "slow" {
			continue
		}
		src := s.Generate(Profiles()[1], 1, 8)
		var opens, long [8]int
		for f := range src.Flows {
			hour := int(f.Start.Sub(Epoch) / time.Hour)
			opens[hour]++
			if f.End.Sub(f.Start) > time.Second {
				long[hour]++
			}
		}
		if least, most := slices.Min(opens[:]), slices.Max(opens[:]); float64(most) > 1.05*float64(least) {
			t.Errorf("opens per hour from %d to %d", least, most)
		}
		if calm, worst := slices.Min(long[:]), slices.Max(long[:]); worst < 5*calm {
			t.Errorf("flows over 1 s per hour from %d to %d: no hour is slow", calm, worst)
		}
	}
}

// The same backtest gives the same tables, whatever runs beside it, and the ledger never loses count.
func TestRunScenariosIsDeterministic(t *testing.T) {
	t.Parallel()
	var chosen []Scenario
	for _, s := range Scenarios() {
		if s.Name == "burst" || s.Name == "tier" {
			chosen = append(chosen, s)
		}
	}
	run := func(parallel int) (string, *Result) {
		cfg := Config{Hours: 0.75, Seeds: 1, TrainSeeds: 1, WarmUp: 5 * time.Minute, Parallel: parallel}
		r, err := RunScenarios(context.Background(), cfg, chosen, Profiles()[1:], nil)
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
	if _, err := RunScenarios(ctx, Config{}, Scenarios(), Profiles(), nil); err == nil {
		t.Error("a cancelled backtest gave a result")
	}
}
