package ledger

import (
	"testing"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// Conntrack forgot a flow, and met it again in its middle: it is one flow, opened once and ended once, and not refused.
func TestPickedUp(t *testing.T) {
	t.Parallel()
	again := func(f collector.Flow, id uint32, x float64) collector.Flow {
		f = polled(f, x)
		f.ID, f.PickedUp = id, true
		return f
	}
	for _, c := range []struct {
		name   string
		play   func(s script, f collector.Flow)
		live   int
		cool   int
		closed map[collector.Reason]uint64
	}{
		{"between two dumps", func(s script, f collector.Flow) {
			s.dump(10, again(f, 99, 10))
			s.dump(12, again(f, 99, 10))
		}, 1, 0, nil},
		{"between two dumps, and the ids take turns", func(s script, f collector.Flow) {
			for n := range 5 {
				s.dump(10+float64(n), again(f, []uint32{99, f.ID}[n%2], 10))
			}
		}, 1, 0, nil},
		{"after a dump that lacked it", func(s script, f collector.Flow) {
			s.dump(10)
			s.dump(12, again(f, 99, 12))
			s.dump(14, again(f, 99, 12))
		}, 1, 0, map[collector.Reason]uint64{collector.ReasonUnknown: 1}},
		{"after a dump that lacked it, with the same id, and it ended", func(s script, f collector.Flow) {
			s.dump(10)
			s.dump(12, again(f, f.ID, 12))
			s.dump(14, done(again(f, f.ID, 12), collector.FIN, 13))
		}, 0, 1, map[collector.Reason]uint64{collector.ReasonUnknown: 1}},
		{"events", func(s script, f collector.Flow) {
			s.close(10, f, collector.Evicted)
			p := again(f, 99, 11)
			s.event(collector.Opened, 11, p)
			s.dump(12, p)
			s.close(13, p, collector.FIN)
		}, 0, 1, map[collector.Reason]uint64{collector.Evicted: 1}},
		{"events, the same id", func(s script, f collector.Flow) {
			s.close(10, f, collector.Evicted)
			s.event(collector.Opened, 11, again(f, f.ID, 11))
		}, 1, 0, map[collector.Reason]uint64{collector.Evicted: 1}},
		{"events, and a reset that conntrack takes for a refusal", func(s script, f collector.Flow) {
			s.close(10, f, collector.Evicted)
			p := again(f, 99, 11)
			s.event(collector.Opened, 11, p)
			p.Refused = true
			s.close(12, p, collector.RST)
		}, 0, 1, map[collector.Reason]uint64{collector.Evicted: 1}},
		{"a flow that the ledger did not know", func(s script, f collector.Flow) {
			p := again(flowTo(5, store), 99, 10)
			s.dump(10, polled(f, 10), p)
			s.event(collector.Opened, 11, again(flowTo(6, store), 100, 11))
		}, 3, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
			s.dump(2)
			f := flowTo(1, store)
			s.open(3, f)
			s.dump(5, polled(f, 5))
			c.play(s, f)
			s.want(15, c.live, c.cool)
			s.wantTotals(15, 1, c.closed)
			if p := s.tcp(15); p.Refused != 0 {
				t.Errorf("%d refused", p.Refused)
			}
			if err := audit(s.Ledger); err != nil {
				t.Error(err)
			}
		})
	}
}

// The id that a port had before may come back to it: it is a flow like any other.
func TestIDComesBack(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
	s.dump(2)
	f := flowTo(1, store)
	for n := range 6 {
		f.ID = uint32(7 + n%2)
		x := 5 + 2*float64(n)
		s.dump(x, polled(f, x))
		s.want(x+1, 1, 0)
	}
	s.wantTotals(20, 6, map[collector.Reason]uint64{collector.ReasonUnknown: 5})
	if n := s.Snapshot(at(20)).Netns[0]; n.Mismatches != 0 {
		t.Errorf("%d mismatches", n.Mismatches)
	}
}
