package ledger

import (
	"testing"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// evicting is a range of this machine's NAT whose kernel gives the port of a closed entry to a new flow.
func evicting(ports int) *budget.Budget {
	b := plain()
	b.Translated, b.Params.EvictsTimeWait = true, true
	b.TCP.Ports, b.TCP.Effective = ports, ports
	return b
}

// Short calls that events tell of hold no port between two dumps: each has ended, though no event says so for two minutes.
func TestShortCallsUnderEvents(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{evicting(1024)}})
	s.dump(0.1)
	translated := func(n int) collector.Flow {
		f := flowTo(n, store)
		f.Translated, f.State = true, collector.Opening
		return f
	}
	const rate, seconds = 150, 30
	n := 0
	var shown []collector.Flow
	for second := range seconds {
		x := 1 + float64(second)
		for range rate {
			f := translated(n)
			s.open(x, f)
			shown = append(shown, done(f, collector.FIN, x+0.05))
			n++
		}
		if p := s.tcp(x + 0.5); p.Busiest > 0 {
			t.Fatalf("%d ports held at %v s, want none", p.Busiest, x)
		}
		if second%5 == 4 {
			s.dump(x+0.6, shown...)
		}
	}
	s.dump(40, shown...)
	s.want(41, 0, 0)
	s.wantTotals(41, rate*seconds, map[collector.Reason]uint64{collector.FIN: rate * seconds})
	if err := audit(s.Ledger); err != nil {
		t.Error(err)
	}
}

// A long flow holds its port from the first dump that shows it, under whichever budget it is by then.
func TestLongFlowsUnderEvents(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{evicting(1024)}})
	s.dump(0.1)
	f := flowTo(1, store)
	f.Translated = true
	s.open(1, f)
	s.want(2, 0, 0)
	s.dump(3, polled(f, 3))
	s.want(4, 1, 0)
	s.close(5, f, collector.FIN)
	s.want(6, 0, 0)
	s.open(7, f)
	s.want(8, 0, 0)
	other := evicting(1024)
	other.Params.EvictsTimeWait = false
	s.Reconfigure([]*budget.Budget{other})
	s.want(9, 1, 0)
	if err := audit(s.Ledger); err != nil {
		t.Error(err)
	}
}
