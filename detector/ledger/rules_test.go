package ledger

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// The cloud forgets an idle flow while the kernel shows it for days.
func TestIdleFlowLosesItsPort(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
	f := flowTo(1, store)
	f.Active = at(0)
	for x := 0.0; x <= 230; x += 10 {
		s.dump(x, f)
	}
	s.want(239, 1, 0)
	s.dump(241, f)
	s.want(242, 0, 0)
	s.wantTotals(242, 0, map[collector.Reason]uint64{collector.Idle: 1})
	// The kernel's time of the last packet wobbles; that is no packet.
	f.Active = at(1.5)
	s.dump(250, f)
	s.want(251, 0, 0)
	// A packet makes the cloud give it a port again.
	f.Active = at(255)
	s.dump(260, f)
	s.want(261, 1, 0)
	// It ends for the kernel.
	f.State, f.Reason, f.Ended = collector.Done, collector.FIN, exactly(262)
	s.dump(270, f)
	s.want(271, 0, 1)
	s.want(262+239, 0, 1)
	s.want(262+241, 0, 0)
	if s.flows.table.count != 1 {
		t.Errorf("%d entries while the kernel shows one", s.flows.table.count)
	}
	s.dump(510)
	s.dump(520)
	if s.flows.table.count != 0 {
		t.Errorf("%d entries when the kernel shows none", s.flows.table.count)
	}
}

// Without dumps nobody can tell of another packet; with them the ledger waits for the next.
func TestIdleClockWaitsForTheNextDump(t *testing.T) {
	t.Parallel()
	t.Run("no dumps", func(t *testing.T) {
		t.Parallel()
		s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
		s.open(0, flowTo(1, store))
		s.want(239.9, 1, 0)
		s.want(240.2, 0, 0)
	})
	t.Run("a dump a minute", func(t *testing.T) {
		t.Parallel()
		s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
		f := flowTo(1, store)
		f.Active = at(0)
		for x := 0.0; x <= 180; x += 60 {
			s.dump(x, f)
		}
		f.Active = at(200) // nobody knows yet
		s.want(245, 1, 0)
		s.dump(250, f)
		s.want(251, 1, 0)
		s.wantTotals(251, 0, nil)
	})
}

func TestHalfOpen(t *testing.T) {
	t.Parallel()
	b := azure()
	b.TCP.HalfOpen = 30 * time.Second
	b.TCP.CoolDown[collector.Timeout] = 5 * time.Second
	s := newScript(t, Config{Budgets: []*budget.Budget{b}})
	f, g := flowTo(1, store), flowTo(2, store)
	f.State, g.State = collector.Opening, collector.Opening
	f.Opened, g.Opened = exactly(1), exactly(1)
	s.dump(0)
	s.dump(2, f, g)
	if p := s.tcp(3); p.Opening != 2 || p.Spaces[0].Opening != 2 {
		t.Errorf("%d opening, want 2", p.Opening)
	}
	g.State = collector.Established
	for x := 10.0; x < 40; x += 10 {
		s.dump(x, f, g)
	}
	s.dump(31.5, f, g)
	s.want(32, 1, 1)
	s.want(37, 1, 0)
	p := s.tcp(37)
	if p.Opening != 0 || p.Unanswered != 1 || p.NoPorts != 0 || p.Refused != 0 {
		t.Errorf("opening %d, unanswered %d, no ports %d, refused %d; want 0, 1, 0, 0", p.Opening, p.Unanswered, p.NoPorts, p.Refused)
	}
	s.wantTotals(37, 2, map[collector.Reason]uint64{collector.Timeout: 1})
}

func TestSweep(t *testing.T) {
	t.Parallel()
	f, g := flowTo(1, store), flowTo(2, store)
	for _, c := range []struct {
		name string
		do   func(s script)
		live int
	}{
		{"not shown", func(s script) { s.dump(10, g) }, 1},
		{"an abort says nothing of what it did not show", func(s script) {
			s.event(collector.Begin, 10, collector.Flow{})
			s.event(collector.Abort, 11, collector.Flow{})
		}, 2},
		{"opened during the dump", func(s script) {
			s.event(collector.Begin, 10, collector.Flow{})
			s.event(collector.Seen, 10, f)
			s.event(collector.Seen, 10, g)
			s.open(10.1, flowTo(3, store))
			s.event(collector.End, 11, collector.Flow{})
		}, 3},
		{"closed during the dump, which shows it late", func(s script) {
			s.event(collector.Begin, 10, collector.Flow{})
			s.close(10.1, f, collector.FIN)
			s.event(collector.Seen, 10.2, f)
			s.event(collector.Seen, 10.2, g)
			s.event(collector.End, 11, collector.Flow{})
		}, 1},
		{"opened and closed during the dump, which shows it late", func(s script) {
			h := flowTo(3, store)
			s.event(collector.Begin, 10, collector.Flow{})
			s.close(10.1, h, collector.FIN)
			for _, f := range []collector.Flow{f, g, h} {
				s.event(collector.Seen, 10.2, f)
			}
			s.event(collector.End, 11, collector.Flow{})
		}, 2},
		{"an empty dump empties the namespace", func(s script) { s.dump(10) }, 0},
		{"another namespace", func(s script) {
			s.Apply(&collector.Event{Kind: collector.Begin, At: at(10), Netns: 2})
			s.Apply(&collector.Event{Kind: collector.End, At: at(10), Netns: 2})
		}, 2},
		{"an end without a begin", func(s script) { s.event(collector.End, 10, collector.Flow{}) }, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, Config{Budgets: []*budget.Budget{plain()}})
			s.dump(1, f, g)
			c.do(s)
			s.want(12, c.live, 0)
			if err := audit(s.Ledger); err != nil {
				t.Error(err)
			}
		})
	}
}

// The event of an end may come after the dump that no longer shows the flow.
func TestLateEventOfAnEnd(t *testing.T) {
	t.Parallel()
	f := flowTo(1, store)
	done := f
	done.State, done.Reason, done.Ended = collector.Done, collector.RST, exactly(9)
	for _, c := range []struct {
		name string
		do   func(s script)
		want collector.Reason
	}{
		{"seen done, then gone", func(s script) { s.dump(10, done) }, collector.RST},
		{"gone", func(s script) { s.dump(10) }, collector.ReasonUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, Config{Budgets: []*budget.Budget{plain()}}) // no cool-down
			s.dump(0)
			s.open(1, f)
			c.do(s)
			s.dump(20)
			s.close(20.6, done, collector.RST)
			s.want(21, 0, 0)
			s.wantTotals(21, 1, map[collector.Reason]uint64{c.want: 1})
			s.dump(30)
			s.dump(40)
			if s.flows.table.count != 0 {
				t.Errorf("%d entries left", s.flows.table.count)
			}
		})
	}
}

// A port that is taken again towards the same destination is one port.
func TestReuseEndsCooling(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		again func(s script, f collector.Flow)
	}{
		{"an event", func(s script, f collector.Flow) { s.open(20, f) }},
		{"shown by a dump", func(s script, f collector.Flow) { s.dump(20, f) }},
	} {
		for _, id := range []uint32{0, 99} {
			t.Run(fmt.Sprintf("%s, id %d", c.name, id), func(t *testing.T) {
				t.Parallel()
				s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
				f := flowTo(1, store)
				if id == 0 {
					f.ID = 0
				}
				s.dump(1)
				s.open(2, f)
				s.close(10, f, collector.FIN)
				s.want(15, 0, 1)
				f.ID = id
				c.again(s, f)
				s.want(21, 1, 0)
				s.wantTotals(21, 2, map[collector.Reason]uint64{collector.FIN: 1})
				s.close(30, f, collector.RST)
				s.want(44, 0, 1)
				s.want(46, 0, 0)
			})
		}
	}
}

// A flow is first seen when it is over: it counts, and its port cools from when it ended.
func TestFirstSeenDone(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
	f := flowTo(1, store)
	f.State, f.Reason, f.Ended = collector.Done, collector.FIN, exactly(6)
	s.dump(0)
	s.dump(10, f)
	s.want(11, 0, 1)
	s.dump(20, f)
	s.wantTotals(21, 1, map[collector.Reason]uint64{collector.FIN: 1})
	s.want(245, 0, 1)
	s.want(247, 0, 0)
	// It opened within (0 s, 6 s]: the geometric mean of 1 ms and 6 s is 77 ms.
	p := s.tcp(248)
	if p.Lifetime.Sum < 0.077 || p.Lifetime.Sum > 0.078 || p.Hold.Sum < 240.077 || p.Hold.Sum > 240.078 {
		t.Errorf("lifetime %v, hold %v", p.Lifetime.Sum, p.Hold.Sum)
	}
}

func TestOpenedBounds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		opened collector.Interval
		dumped bool
		want   collector.Interval
	}{
		{"exact", exactly(7), true, exactly(7)},
		{"nothing known, first dump", collector.Interval{}, false, collector.Interval{To: at(10.25)}},
		{"nothing known, the dump before did not show it", collector.Interval{}, true, collector.Interval{From: at(5), To: at(10.25)}},
		{"bounds inside", collector.Interval{From: at(6), To: at(8)}, true, collector.Interval{From: at(6), To: at(8)}},
		{"bounds before what the dump rules out", collector.Interval{From: at(1), To: at(8)}, true, collector.Interval{From: at(5), To: at(8)}},
		{"older than the table goes back", collector.Interval{From: at(-9000), To: at(8)}, false, collector.Interval{To: at(8)}},
		{"exact and older than the dump before, as after a change of budgets", exactly(3), true, exactly(3)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, Config{Budgets: []*budget.Budget{plain()}})
			if c.dumped {
				s.dump(5)
			}
			f := flowTo(1, store)
			f.Opened = c.opened
			s.dump(10, f)
			var got collector.Interval
			s.flows.table.each(&s.namespaces.of(1).flows, func(_ uint32, f *flow) { got = f.openedInterval() })
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	type failures struct{ Unanswered, Refused, NoPorts uint64 }
	for _, c := range []struct {
		name string
		held int // ports of 100 held before, with 92 the effective ceiling
		end  func(f *collector.Flow)
		want failures
	}{
		{"no answer, room", 10, func(f *collector.Flow) { f.Reason = collector.Timeout }, failures{Unanswered: 1}},
		{"no answer, one below the ceiling", 90, func(f *collector.Flow) { f.Reason = collector.Timeout }, failures{Unanswered: 1}},
		{"no answer, at the ceiling", 91, func(f *collector.Flow) { f.Reason = collector.Timeout }, failures{NoPorts: 1}},
		{"refused, room", 10, func(f *collector.Flow) { f.Reason, f.Refused = collector.RST, true }, failures{Refused: 1}},
		{"refused, at the ceiling", 95, func(f *collector.Flow) { f.Reason, f.Refused = collector.RST, true }, failures{Refused: 1}},
		{"reset later", 95, func(f *collector.Flow) { f.Reason = collector.RST }, failures{}},
		{"UDP without an answer", 95, func(f *collector.Flow) { f.Protocol, f.Reason = collector.UDP, collector.Timeout }, failures{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, Config{Budgets: []*budget.Budget{plain()}})
			for n := range c.held {
				s.open(1, flowTo(1000+n, store))
			}
			f := flowTo(1, store)
			f.State = collector.Opening
			c.end(&f)
			r := f.Reason
			f.Reason = collector.ReasonUnknown
			s.open(2, f)
			s.close(100, f, r)
			p := s.tcp(101)
			if diff := cmp.Diff(c.want, failures{p.Unanswered, p.Refused, p.NoPorts}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestStalls(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{plain()}})
	for n := range 92 {
		s.open(1, flowTo(1000+n, store))
	}
	s.open(1, flowTo(1, "203.0.113.8:443"))
	stalled := []collector.Flow{
		flowTo(2, store), flowTo(3, store), flowTo(3, store), flowTo(4, "203.0.113.8:443"), flowTo(5, "203.0.113.9:443"),
	}
	s.ObserveStalls(at(3), stalled)
	s.ObserveStalls(at(4), stalled)
	p := s.tcp(4)
	if p.Stalled != 4 || p.NoPorts != 2 || p.Spaces[0].Stalled != 2 || p.Spaces[1].Stalled != 1 || p.Other.Stalled != 1 {
		t.Errorf("stalled %d (%d, %d, other %d), no ports %d; want 4 (2, 1, 1), 2",
			p.Stalled, p.Spaces[0].Stalled, p.Spaces[1].Stalled, p.Other.Stalled, p.NoPorts)
	}
	if f := p.Spaces[0].Forecast; f != nil && f.TimeToExhaustion != 0 {
		t.Errorf("opens fail and the forecast says %v s", f.TimeToExhaustion)
	}
	s.ObserveStalls(at(5), nil)
	if p := s.tcp(5); p.Stalled != 0 || p.Spaces[0].Stalled != 0 || p.NoPorts != 2 {
		t.Errorf("stalled %d and %d, no ports %d after an empty observation", p.Stalled, p.Spaces[0].Stalled, p.NoPorts)
	}
}

// A socket that stalls does not know its VIP. Where flows to its destination hold ports of one VIP alone, it waits for that.
func TestStallsOfOneVIP(t *testing.T) {
	t.Parallel()
	const other = "203.0.113.8:443"
	b := plain()
	b.Translated, b.SpacePerVIP = true, true
	s := newScript(t, Config{Budgets: []*budget.Budget{b}})
	open := func(n int, vip, to string) {
		f := flowTo(n, to)
		f.Translated, f.VIP = true, netip.AddrPortFrom(netip.MustParseAddr(vip), f.Source.Port())
		s.open(1, f)
	}
	for n := range 92 {
		open(1000+n, "198.51.100.1", store)
	}
	open(1, "198.51.100.1", other)
	open(2, "198.51.100.2", other)
	s.ObserveStalls(at(3), []collector.Flow{flowTo(3, store), flowTo(4, store), flowTo(5, other), flowTo(6, "203.0.113.9:443")})
	p := s.tcp(4)
	at := map[string]int{}
	for i := range p.Spaces {
		at[p.Spaces[i].VIP+" "+p.Spaces[i].Destination] = p.Spaces[i].Stalled
	}
	want := map[string]int{"198.51.100.1 " + store: 2, "198.51.100.1 " + other: 0, "198.51.100.2 " + other: 0}
	if diff := cmp.Diff(want, at); diff != "" || p.Stalled != 4 || p.NoPorts != 2 {
		t.Errorf("stalled %d, no ports %d, want 4 and 2; by space (-want +got):\n%s", p.Stalled, p.NoPorts, diff)
	}
}

func TestExactAndWarming(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
	type blindness struct {
		Exact, Warming bool
		Lost, Resyncs  uint64
		Other          uint64
	}
	want := func(seconds float64, b blindness) {
		t.Helper()
		x := s.Snapshot(at(seconds))
		n := x.Netns[0]
		if diff := cmp.Diff(b, blindness{n.Exact, x.Warming, n.EventsLost, n.Resyncs, n.OtherProtocols}); diff != "" {
			t.Errorf("at %v s (-want +got):\n%s", seconds, diff)
		}
	}
	none := collector.Flow{}
	s.event(collector.Begin, 1, none)
	want(1, blindness{Warming: true})
	icmp := flowTo(1, store)
	icmp.Protocol = 1
	s.event(collector.Seen, 1, icmp)
	s.event(collector.End, 2, none)
	want(2, blindness{Exact: true, Warming: true, Other: 1})
	want(241, blindness{Exact: true, Other: 1})
	s.event(collector.Begin, 250, none)
	s.event(collector.Overrun, 251, none)
	s.event(collector.End, 252, none) // began before the overrun
	want(252, blindness{Lost: 1})
	s.event(collector.Overrun, 253, none)
	s.event(collector.Begin, 254, none)
	s.event(collector.Abort, 255, none)
	want(255, blindness{Lost: 2})
	s.dump(260)
	want(261, blindness{Exact: true, Lost: 2, Resyncs: 1})
	s.dump(270)
	want(271, blindness{Exact: true, Lost: 2, Resyncs: 1})
}
