package ledger

import (
	"testing"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// A flow that a dump shows live and the ledger has not makes it inexact and is counted; the next dump repairs that.
func TestLedgerChecksItself(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
	flows := []collector.Flow{polled(flowTo(1, store), 1), polled(flowTo(2, store), 1), polled(flowTo(3, store), 1)}
	look := func(seconds float64, exact bool, mismatches uint64) {
		t.Helper()
		n := s.Snapshot(at(seconds)).Netns[0]
		if n.Exact != exact || n.Mismatches != mismatches {
			t.Errorf("at %v s: exact %v, %d mismatches, want %v, %d", seconds, n.Exact, n.Mismatches, exact, mismatches)
		}
	}
	s.dump(1, flows...)
	s.dump(3, flows...)
	look(4, true, 0)
	// A fault as any may come: after the dump has shown a flow, its entry says that it ended.
	s.event(collector.Begin, 5, collector.Flow{})
	for _, f := range flows {
		s.event(collector.Seen, 5.1, f)
	}
	for i := uint32(1); ; i++ {
		if f := s.flows.table.at(i); f.phase == phaseLive {
			s.spaces.count(f, -1, 0)
			f.phase, f.place = phaseGone, 0
			break
		}
	}
	s.event(collector.End, 5.5, collector.Flow{})
	look(6, false, 1)
	s.want(6, 2, 0)
	s.dump(7, flows...)
	look(8, true, 1)
	s.want(8, 3, 0)
}

// What happens during a dump is no mismatch.
func TestChangesDuringADumpAreNoMismatch(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
	f := polled(flowTo(1, store), 1)
	s.dump(1, f)
	s.event(collector.Begin, 5, collector.Flow{})
	s.event(collector.Seen, 5.1, f)
	s.close(5.2, f, collector.FIN) // ends after it was shown
	again := f
	again.ID = 77
	s.open(5.3, again)
	s.event(collector.Seen, 5.4, f) // shown twice
	s.close(5.45, again, collector.FIN)
	s.event(collector.End, 5.5, collector.Flow{})
	s.event(collector.Begin, 6, collector.Flow{})
	other := polled(flowTo(2, store), 6)
	s.event(collector.Seen, 6.1, other)
	s.event(collector.Seen, 6.2, done(other, collector.RST, 6.1)) // shown again, as it ended
	s.event(collector.End, 6.5, collector.Flow{})
	idle := polled(flowTo(3, store), 1)
	s.dump(300, idle) // the budget's own clock has ended it
	if n := s.Snapshot(at(301)).Netns[0]; !n.Exact || n.Mismatches != 0 {
		t.Errorf("exact %v, %d mismatches, want true, 0", n.Exact, n.Mismatches)
	}
}
