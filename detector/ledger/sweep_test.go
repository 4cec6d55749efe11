package ledger

import (
	"testing"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// conntrack shows a SYN that nobody answered until it forgets it; between two dumps it forgets
// what was refused as well.
func TestSweptBeforeAnAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		state      collector.State
		inode      uint32
		last       float64 // the last dump that shows the flow
		reason     collector.Reason
		unanswered uint64
	}{
		{name: "no answer", state: collector.Opening, last: 120, reason: collector.Timeout, unanswered: 1},
		{name: "an answer may have come", state: collector.Opening, last: 0},
		{name: "answered", state: collector.Established, last: 120},
		{name: "a socket", state: collector.Opening, inode: 7, last: 120},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, Config{Budgets: []*budget.Budget{plain()}})
			f := flowTo(1, store)
			f.State, f.Inode, f.Opened = c.state, c.inode, exactly(0)
			for x := 0.0; x <= c.last; x += 10 {
				s.dump(x, f)
			}
			s.want(c.last+9, 1, 0)
			s.dump(c.last + 10)
			s.wantTotals(c.last+11, 1, map[collector.Reason]uint64{c.reason: 1})
			if got := s.tcp(c.last + 11).Unanswered; got != c.unanswered {
				t.Errorf("unanswered: %d, want %d", got, c.unanswered)
			}
		})
	}
}
