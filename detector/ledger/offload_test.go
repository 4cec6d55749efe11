package ledger

import (
	"testing"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// Conntrack does not believe the RST of a flow that a flow table saw: its entry stays established for a while.
func TestOffloadedFlowIsReset(t *testing.T) {
	t.Parallel()
	rst := map[collector.Reason]uint64{collector.RST: 1}
	for _, c := range []struct {
		name       string
		play       func(s script, f, cut collector.Flow)
		live, cool int
		closed     map[collector.Reason]uint64
	}{
		{"reset", func(s script, _, cut collector.Flow) {
			s.dump(12, cut)
			s.dump(14, cut)
		}, 0, 1, rst},
		{"reset, and the entry goes", func(s script, _, cut collector.Flow) {
			s.dump(12, cut)
			s.dump(14)
			s.dump(15)
		}, 0, 1, rst},
		{"a packet comes after all", func(s script, f, cut collector.Flow) {
			s.dump(12, cut)
			f.Offloaded, f.Active = false, 0
			s.dump(14, f)
		}, 1, 0, rst},
		{"a flow that no flow table saw", func(s script, f, cut collector.Flow) {
			other := cut
			other.ID, other.Source, other.VIP = 7, flowTo(7, store).Source, flowTo(7, store).VIP
			s.dump(12, f, other)
			s.dump(14, f, other)
			s.close(15, f, collector.FIN)
		}, 1, 1, map[collector.Reason]uint64{collector.FIN: 1}},
		{"expired between two dumps, as an event says", func(s script, f, _ collector.Flow) {
			f.Reason, f.Ended = collector.Idle, collector.Interval{To: at(14)}
			s.event(collector.Closed, 14, f)
		}, 0, 1, rst},
		{"closed in conntrack's sight", func(s script, f, _ collector.Flow) {
			f.Offloaded = false
			s.dump(12, done(f, collector.FIN, 11))
		}, 0, 1, map[collector.Reason]uint64{collector.FIN: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
			s.dump(5)
			f := flowTo(1, store)
			f.Opened, f.Offloaded = collector.Interval{To: at(9)}, true
			s.dump(10, f)
			cut := f
			cut.Offloaded, cut.Cut = false, at(11)
			c.play(s, f, cut)
			s.want(16, c.live, c.cool)
			opened := uint64(c.live + c.cool)
			if c.name == "a packet comes after all" {
				opened++
			}
			s.wantTotals(16, opened, c.closed)
			if n := s.Snapshot(at(16)).Netns[0]; !n.Exact || n.Mismatches != 0 {
				t.Errorf("exact %v, %d mismatches", n.Exact, n.Mismatches)
			}
			if err := audit(s.Ledger); err != nil {
				t.Error(err)
			}
		})
	}
}

// While a flow table sees the packets, the kernel does not say when it forgets the flow: what it said before no longer
// holds, and the flow did not end for its silence.
func TestOffloadedFlowDoesNotExpire(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
	s.dump(5)
	f := flowTo(1, store)
	f.Opened, f.Expires = collector.Interval{To: at(9)}, at(40)
	s.dump(10, f)
	f.Offloaded, f.Expires = true, 0
	s.dump(30, f)
	s.dump(50, f)
	s.dump(70)
	s.wantTotals(71, 1, map[collector.Reason]uint64{collector.ReasonUnknown: 1})
}
