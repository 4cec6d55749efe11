package ledger

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// A reload loses no open, whatever it changes: flows that open between two dumps are new whether or not the config
// was read again in between.
func TestReloadsLoseNoOpen(t *testing.T) {
	t.Parallel()
	other := func(name string, change func(b *budget.Budget)) *budget.Budget {
		b := azure()
		b.Name = name
		change(b)
		return b
	}
	for _, c := range []struct {
		name string
		next func(n int) []*budget.Budget
	}{
		{"unchanged", func(int) []*budget.Budget { return []*budget.Budget{azure()} }},
		{"pool size", func(n int) []*budget.Budget {
			return []*budget.Budget{other("azure", func(b *budget.Budget) { b.Nodes, b.TCP.Ports = 40+n, 1024>>(n%2) })}
		}},
		{"a budget that takes nothing comes and goes", func(n int) []*budget.Budget {
			unused := other("unused", func(b *budget.Budget) { b.Netns = 7 })
			if n%2 == 0 {
				return []*budget.Budget{unused, azure()}
			}
			return []*budget.Budget{azure()}
		}},
		{"renamed", func(n int) []*budget.Budget {
			return []*budget.Budget{azure(), other(fmt.Sprint("second ", n), func(b *budget.Budget) { b.Netns = 7 })}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
			s.dump(1)
			const rounds = 200
			for n := range rounds {
				x := 2 + float64(n)
				s.Advance(at(x))
				s.Reconfigure(c.next(n))
				f := flowTo(n, store)
				if n%2 == 0 {
					s.dump(x, done(f, collector.FIN, x-0.2))
				} else {
					s.dump(x, polled(f, x))
				}
			}
			opened := uint64(0)
			for _, b := range s.Snapshot(at(2 + rounds)).Budgets {
				opened += b.Protocols[0].Opened
			}
			if opened != rounds {
				t.Errorf("opened %d of %d", opened, rounds)
			}
		})
	}
}

// A reload does not blind the forecast: one each second leaves each probability what it is without.
func TestReloadsLeaveTheForecast(t *testing.T) {
	t.Parallel()
	undisturbed := newScript(t, Config{Budgets: []*budget.Budget{azure()}, ForecastMax: 10})
	reloaded := newScript(t, Config{Budgets: []*budget.Budget{azure()}, ForecastMax: 10})
	opened, seconds := 0, 600
	foreseen := 0.0
	for second := range seconds {
		x := 1 + float64(second)
		var shown []collector.Flow
		for range 1 + second/100 { // more and more
			opened++
			shown = append(shown, done(flowTo(opened, store), collector.FIN, x-0.2))
		}
		for _, s := range []script{undisturbed, reloaded} {
			s.dump(x, shown...)
		}
		reloaded.Reconfigure([]*budget.Budget{azure()})
		want, got := undisturbed.tcp(x+0.5), reloaded.tcp(x+0.5)
		if diff := cmp.Diff(want.Forecast.Probability, got.Forecast.Probability); diff != "" {
			t.Fatalf("at %v s (-undisturbed +reloaded):\n%s", x, diff)
		}
		foreseen = max(foreseen, want.Forecast.Probability[1])
	}
	if foreseen < 0.9 {
		t.Errorf("within five minutes: probability %v, want one of an exhaustion", foreseen)
	}
}

// A flow that no budget took before the reload did not open since.
func TestFlowsNewToABudgetAreNotNew(t *testing.T) {
	t.Parallel()
	elsewhere := azure()
	elsewhere.Netns = 7
	for _, before := range [][]*budget.Budget{{elsewhere}, {}} {
		s := newScript(t, Config{Budgets: before})
		f := flowTo(1, store)
		s.dump(1, polled(f, 1))
		s.Advance(at(2))
		s.Reconfigure([]*budget.Budget{azure()})
		s.dump(3, polled(f, 3), polled(flowTo(2, store), 3))
		s.want(4, 2, 0)
		s.wantTotals(4, 0, nil)
		s.dump(5, polled(f, 5), polled(flowTo(2, store), 5), polled(flowTo(3, store), 5))
		s.want(6, 3, 0)
		s.wantTotals(6, 1, nil)
	}
}

// More reloads between two dumps than are remembered: what is new is unknown, and no flow of before counts as new.
func TestReloadsBeyondMemory(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{}})
	s.dump(1, polled(flowTo(1, store), 1))
	for n := range 3 * replacedMax {
		s.Advance(at(2 + float64(n)/100))
		b := azure()
		b.Nodes = n
		s.Reconfigure([]*budget.Budget{b})
	}
	s.dump(3, polled(flowTo(1, store), 3))
	s.wantTotals(4, 0, nil)
	s.want(4, 1, 0)
}

// A flow that opened when its port space was full may get no answer after a reload that left its port space unknown: the
// open failed for lack of ports all the same.
func TestReloadWhileAnOpenWaits(t *testing.T) {
	t.Parallel()
	strict := azure()
	strict.TCP.Ports, strict.TCP.Effective, strict.TCP.Unique = 1, 1, budget.PerNothing
	s := newScript(t, Config{Budgets: []*budget.Budget{strict}})
	s.dump(1)
	f := flowTo(1, store)
	f.State = collector.Opening
	s.open(2, f)
	s.Advance(at(3))
	s.Reconfigure([]*budget.Budget{azure()})
	if p := s.tcp(4); p.Other.Held != 1 {
		t.Fatalf("%d ports held in folded port spaces, want 1", p.Other.Held)
	}
	s.close(5, f, collector.Timeout)
	if p := s.tcp(6); p.NoPorts != 1 || p.Unanswered != 0 {
		t.Errorf("%d opens found no port, %d got no answer, want 1 and 0", p.NoPorts, p.Unanswered)
	}
}
