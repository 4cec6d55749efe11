package ledger

import (
	"testing"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// The kernel may say minutes after a flow ended that its entry is gone: at the dump that finds it expired. The flow is
// not counted a second time, however the time falls at which the ledger looks for what it may forget.
func TestLateEndOfAnEndedFlow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		// begin of the dump that lacks the flow, and when the ledger is brought up to date while it goes on.
		begin, now float64
	}{
		{"before the ledger would forget it", 145, 146},
		{"during a dump, the ledger would forget it", 149, 152},
		{"after the ledger would have forgotten it", 160, 161},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, Config{Budgets: []*budget.Budget{plain()}})
			s.dump(0.1)
			f := flowTo(1, store)
			s.open(1, f)
			ended := done(f, collector.FIN, 29)
			for _, x := range []float64{30, 60, 90, 120} {
				s.dump(x, ended)
			}
			s.Apply(&collector.Event{Kind: collector.Begin, At: at(tt.begin), Netns: 1})
			s.Advance(at(tt.now))
			s.Apply(&collector.Event{Kind: collector.End, At: at(tt.now), Netns: 1})
			s.Advance(at(tt.now + 5))
			s.close(tt.now+5, f, collector.FIN)
			s.wantTotals(tt.now+6, 1, map[collector.Reason]uint64{collector.FIN: 1})
			s.dump(tt.now + 30)
			s.dump(tt.now + 60)
			s.dump(tt.now + 90)
			if s.flows.table.count != 0 {
				t.Errorf("%d entries left", s.flows.table.count)
			}
			if err := audit(s.Ledger); err != nil {
				t.Error(err)
			}
		})
	}
}
