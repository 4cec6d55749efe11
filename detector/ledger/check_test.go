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

// Where the kernel announces new flows, one that only a dump shows makes the ledger inexact, if no event of it comes
// soon after. What nobody announced may have been there before.
func TestUnannouncedFlows(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		announced  bool // the kernel announces new flows
		event      bool // of the flow that the second dump shows
		mismatches uint64
	}{
		{"polled", false, false, 0},
		{"announced just after", true, true, 0},
		{"not announced", true, false, 1},
	} {
		s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
		s.dump(1, polled(flowTo(1, store), 1))
		later := polled(flowTo(2, store), 5)
		s.event(collector.Begin, 5, collector.Flow{})
		s.event(collector.Seen, 5.1, polled(flowTo(1, store), 1))
		s.event(collector.Seen, 5.1, later)
		s.Apply(&collector.Event{Kind: collector.End, Announced: tt.announced, At: at(5.5), Netns: 1})
		if tt.event {
			s.open(5.6, later)
		}
		for _, seconds := range []float64{6, 9} {
			n := s.Snapshot(at(seconds)).Netns[0]
			if want := tt.mismatches * uint64(seconds/9); n.Mismatches != want || n.Exact != (want == 0) {
				t.Errorf("%s, at %v s: exact %v, %d mismatches, want %d", tt.name, seconds, n.Exact, n.Mismatches, want)
			}
		}
		s.dump(10, polled(flowTo(1, store), 1), later)
		if n := s.Snapshot(at(11)).Netns[0]; !n.Exact {
			t.Errorf("%s: not exact after the next dump", tt.name)
		}
		s.want(11, 2, 0)
	}
}

// A gap makes the ledger inexact until a dump that began after it is complete.
func TestGap(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
	look := func(seconds float64, exact bool) {
		t.Helper()
		if n := s.Snapshot(at(seconds)).Netns[0]; n.Exact != exact || n.EventsLost != 0 {
			t.Errorf("at %v s: exact %v, %d events lost, want %v, none", seconds, n.Exact, n.EventsLost, exact)
		}
	}
	s.dump(1)
	look(2, true)
	s.event(collector.Begin, 3, collector.Flow{})
	s.event(collector.Gap, 3.1, collector.Flow{})
	s.event(collector.End, 3.2, collector.Flow{})
	look(4, false)
	s.dump(5)
	look(6, true)
}

// A flow that had packets a moment ago and that a dump lacks vanished with its entry, and others may have with it. One that
// was silent expired, one that was never answered was refused or gave up, and an event may still tell of an end.
func TestVanishedFlows(t *testing.T) {
	t.Parallel()
	still := polled(flowTo(9, store), 1)
	for _, tt := range []struct {
		name      string
		last      float64 // packet
		announced bool
		change    func(*collector.Flow)
		vanished  uint64
	}{
		{"a moment ago", 95, false, func(*collector.Flow) {}, 1},
		{"silent for a minute", 30, false, func(*collector.Flow) {}, 0},
		{"the last packet is unknown", 95, false, func(f *collector.Flow) { f.Active = 0 }, 0},
		{"never answered", 95, false, func(f *collector.Flow) { f.State = collector.Opening }, 0},
		{"until its limit, which came", 95, false, func(f *collector.Flow) { f.Expires = at(102) }, 0},
		{"long before its limit", 95, false, func(f *collector.Flow) { f.Expires = at(300) }, 1},
		{"UDP", 95, false, func(f *collector.Flow) { f.Protocol = collector.UDP }, 0},
		{"in a flow table", 95, false, func(f *collector.Flow) { f.Offloaded = true }, 0},
		{"ends are announced", 95, true, func(*collector.Flow) {}, 0},
	} {
		s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
		f := polled(flowTo(1, store), tt.last)
		tt.change(&f)
		s.dump(90, still)
		s.dump(100, still, f)
		s.event(collector.Begin, 102, collector.Flow{})
		s.event(collector.Seen, 102.1, still)
		s.Apply(&collector.Event{Kind: collector.End, Announced: tt.announced, At: at(102.2), Netns: 1})
		if n := s.Snapshot(at(103)).Netns[0]; n.Vanished != tt.vanished || n.Exact != (tt.vanished == 0) || n.Mismatches != 0 {
			t.Errorf("%s: exact %v, %d vanished, want %d", tt.name, n.Exact, n.Vanished, tt.vanished)
		}
		s.dump(104, still)
		if n := s.Snapshot(at(105)).Netns[0]; !n.Exact || n.Vanished != tt.vanished {
			t.Errorf("%s: after the next dump: exact %v, %d vanished", tt.name, n.Exact, n.Vanished)
		}
	}
}

// Closed flows whose entries stay for longer than the kernel's limit says, under a timeout policy or since the limit was
// lowered, are not taken for others on their ports: a dump bounds their end by its own time alone.
func TestEntriesThatOutlastTheLimit(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
	const n = 10
	var open, ended []collector.Flow
	for i := range n {
		f := polled(flowTo(i, store), 2)
		f.ID = uint32(100 + i)
		open = append(open, f)
		f.State, f.Reason = collector.Done, collector.FIN
		ended = append(ended, f)
	}
	s.dump(1)
	s.dump(3, open...)
	for now := 5.0; now < 40; now += 2 {
		for i := range ended {
			ended[i].Ended = collector.Interval{To: at(now)}
		}
		s.dump(now, ended...)
		if got := s.Snapshot(at(now + 0.5)).Netns[0]; !got.Exact || got.Reopened != 0 {
			t.Fatalf("at %v s: exact %v, %d reopened", now, got.Exact, got.Reopened)
		}
	}
	if p := s.tcp(41); p.Opened != n || sumOf(p.Closed) != n || p.Live != 0 {
		t.Errorf("%d live of %d opened, closed %v, want 0 of %d", p.Live, p.Opened, p.Closed, n)
	}
}

// Ports that come round about as fast as dumps make the ledger inexact: a flow that opened and ended on one between two
// dumps is not seen. A few among many do not.
func TestPortsComeRoundFast(t *testing.T) {
	t.Parallel()
	const ports = 10
	for _, tt := range []struct {
		name  string
		apart float64 // between two uses of a port, dumps come each 2 s
		quick int     // ports that are used so soon again
		want  bool    // inexact
	}{
		{"each dump", 2, ports, true},
		{"each other dump", 4, ports, false},
		{"each tenth dump", 20, ports, false},
		{"few ports", 2, quickLeast - 1, false},
	} {
		s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
		inexact := false
		flows := map[int]collector.Flow{}
		id := uint32(100)
		for i := range 20 {
			now := float64(1 + 2*i)
			for port := range ports {
				if _, used := flows[port]; used && (port >= tt.quick || i%int(tt.apart/2) != 0) {
					continue
				}
				id++
				f := flowTo(port, store)
				f.ID = id
				flows[port] = done(f, collector.FIN, now-0.5)
			}
			var shown []collector.Flow
			for port := range ports {
				shown = append(shown, flows[port])
			}
			s.dump(now, shown...)
			inexact = inexact || i > 3 && !s.Snapshot(at(now + 0.5)).Netns[0].Exact
		}
		if n := s.Snapshot(at(50)).Netns[0]; inexact != tt.want || (n.Reopened > 0) != tt.want {
			t.Errorf("%s: inexact %v, %d reopened, want %v", tt.name, inexact, n.Reopened, tt.want)
		}
	}
}
