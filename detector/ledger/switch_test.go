package ledger

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// Sockets show flows first, then conntrack does: with other IDs, with some that no socket has, and without other
// namespaces.
func TestSwitchSource(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
	live, ended, opening := flowTo(1, store), flowTo(2, store), flowTo(3, store)
	inner := flowTo(4, store)
	inner.Netns = 2
	for _, f := range []*collector.Flow{&live, &ended, &opening, &inner} {
		f.Inode = 7
	}
	opening.State = collector.Opening
	s.dump(1)
	done := ended
	done.State, done.Reason, done.Ended, done.Inode = collector.Done, collector.FIN, exactly(5), 0
	s.dump(10, live, done, opening)
	for _, k := range []collector.Kind{collector.Begin, collector.Seen, collector.End} {
		s.Apply(&collector.Event{Kind: k, At: at(10), Netns: 2, Flow: inner})
	}
	s.want(11, 3, 1)
	s.wantTotals(11, 3, map[collector.Reason]uint64{collector.FIN: 1})

	s.SwitchSource(1)
	if err := audit(s.Ledger); err != nil {
		t.Fatal(err)
	}
	s.want(11, 2, 1)
	s.wantTotals(11, 3, map[collector.Reason]uint64{collector.FIN: 1})
	type exact struct {
		Netns uint64
		Exact bool
	}
	var got []exact
	for _, n := range s.Snapshot(at(11)).Netns {
		got = append(got, exact{n.Netns, n.Exact})
	}
	if diff := cmp.Diff([]exact{{1, false}, {2, true}}, got); diff != "" {
		t.Errorf("exact (-want +got):\n%s", diff)
	}

	forwarded := flowTo(5, store)
	for _, f := range []*collector.Flow{&live, &done, &opening} {
		f.ID, f.Inode = f.ID+100, 0
	}
	s.dump(20, live, done, opening, forwarded)
	s.want(21, 3, 1)
	s.wantTotals(21, 3, map[collector.Reason]uint64{collector.FIN: 1})
	for x := 30.0; x <= 120; x += 10 {
		s.dump(x, live, done, opening, forwarded)
	}
	s.wantTotals(121, 3, map[collector.Reason]uint64{collector.FIN: 1})
	s.dump(130)
	s.wantTotals(131, 3, map[collector.Reason]uint64{collector.FIN: 1, collector.Timeout: 1, collector.ReasonUnknown: 2})
	s.want(600, 0, 0)
	if err := audit(s.Ledger); err != nil {
		t.Fatal(err)
	}
}
