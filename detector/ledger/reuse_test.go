package ledger

import (
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// polled is a flow as a dump of conntrack shows it without stamps: it opened before its last packet.
func polled(f collector.Flow, last float64) collector.Flow {
	f.Opened = collector.Interval{To: at(last)}
	f.Active = at(last)
	return f
}

// done is f as a dump shows it after its end, which is known to a second.
func done(f collector.Flow, r collector.Reason, ended float64) collector.Flow {
	f = polled(f, ended)
	f.State, f.Reason, f.Active = collector.Done, r, 0
	f.Ended = collector.Interval{From: at(ended - 1), To: at(ended)}
	return f
}

// The kernel gives a connection over the tuple of one that ended the same id: it is another flow all the same.
func TestSameIDAgain(t *testing.T) {
	t.Parallel()
	fin := map[collector.Reason]uint64{collector.FIN: 1}
	for _, c := range []struct {
		name   string
		play   func(s script, f collector.Flow)
		live   int
		cool   int
		opened uint64
		closed map[collector.Reason]uint64
	}{
		{"TIME_WAIT, then established", func(s script, f collector.Flow) {
			s.dump(10, done(f, collector.FIN, 9))
			s.dump(12, polled(f, 12))
		}, 1, 0, 2, fin},
		{"CLOSE, then opening", func(s script, f collector.Flow) {
			s.dump(10, done(f, collector.RST, 9))
			f.State = collector.Opening
			s.dump(12, polled(f, 12))
		}, 1, 0, 2, map[collector.Reason]uint64{collector.RST: 1}},
		{"TIME_WAIT, then one that opened and closed", func(s script, f collector.Flow) {
			s.dump(10, done(f, collector.FIN, 9))
			s.dump(14, done(f, collector.FIN, 13))
		}, 0, 1, 2, map[collector.Reason]uint64{collector.FIN: 2}},
		{"TIME_WAIT, then one that opened and was reset", func(s script, f collector.Flow) {
			s.dump(6, done(f, collector.FIN, 5.5))
			s.dump(15.9, done(f, collector.RST, 15.5))
		}, 0, 1, 2, map[collector.Reason]uint64{collector.FIN: 1, collector.RST: 1}},
		{"TIME_WAIT, then an RST that is late", func(s script, f collector.Flow) {
			s.dump(10, done(f, collector.FIN, 9))
			s.dump(13, done(f, collector.RST, 12))
		}, 0, 1, 1, fin},
		{"CLOSE, then one that opened and ended by FIN", func(s script, f collector.Flow) {
			s.dump(10, done(f, collector.RST, 9))
			s.dump(12, done(f, collector.FIN, 11))
		}, 0, 1, 2, map[collector.Reason]uint64{collector.RST: 1, collector.FIN: 1}},
		{"TIME_WAIT renewed by a FIN sent again", func(s script, f collector.Flow) {
			s.dump(10, done(f, collector.FIN, 9))
			s.dump(12, done(f, collector.FIN, 10.2))
		}, 0, 1, 1, fin},
		{"TIME_WAIT all along", func(s script, f collector.Flow) {
			for x := 10.0; x < 30; x += 2 {
				s.dump(x, done(f, collector.FIN, 9))
			}
		}, 0, 1, 1, fin},
		{"established, then opening", func(s script, f collector.Flow) {
			s.dump(10, polled(f, 10))
			f.State = collector.Opening
			s.dump(12, polled(f, 12))
		}, 1, 0, 2, map[collector.Reason]uint64{collector.ReasonUnknown: 1}},
		{"established, then established with a later stamp", func(s script, f collector.Flow) {
			f.Opened, f.Active = exactly(9), at(9)
			s.dump(10, f)
			f.Opened, f.Active = exactly(11), at(11)
			s.dump(12, f)
		}, 1, 0, 2, map[collector.Reason]uint64{collector.ReasonUnknown: 1}},
		{"TIME_WAIT, then a NEW event", func(s script, f collector.Flow) {
			s.dump(10, done(f, collector.FIN, 9))
			s.open(11, f)
		}, 1, 0, 2, fin},
		{"a NEW event that comes after the dump that shows the end", func(s script, f collector.Flow) {
			s.dump(10, done(f, collector.FIN, 9))
			f.Opened, f.Active = exactly(8), at(8)
			s.event(collector.Opened, 11, f)
		}, 0, 1, 1, fin},
		{"events of both, then a dump that is late", func(s script, f collector.Flow) {
			s.open(7, f)
			s.event(collector.Begin, 10, collector.Flow{})
			s.close(10.1, f, collector.FIN)
			s.open(10.2, f)
			s.event(collector.Seen, 10.3, done(f, collector.FIN, 9))
			s.event(collector.End, 10.5, collector.Flow{})
		}, 1, 0, 2, fin},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
			s.dump(5)
			c.play(s, flowTo(1, store))
			s.want(16, c.live, c.cool)
			s.wantTotals(16, c.opened, c.closed)
		})
	}
}

// Near exhaustion each port comes round: every connection is counted, and every port is held once.
func TestPortsThatComeRound(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
	s.dump(1)
	const ports, rounds = 20, 30
	for r := range rounds {
		x := 10 + 4*float64(r)
		var live, ended []collector.Flow
		for n := range ports {
			live = append(live, polled(flowTo(n, store), x))
			ended = append(ended, done(flowTo(n, store), collector.FIN, x+2))
		}
		s.dump(x, live...)
		s.want(x+1, ports, 0)
		s.dump(x+2, ended...)
		s.want(x+3, 0, ports)
	}
	s.wantTotals(10+4*rounds, ports*rounds, map[collector.Reason]uint64{collector.FIN: ports * rounds})
}

// A flow whose timeout is not the one that the kernel's settings say lives until the kernel says otherwise.
func TestAgeThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		age  float64 // that the settings lead to, at each dump
		seen float64 // when the flow is first shown, 0 is before the first dump
	}{
		{"nft ct timeout of an hour", 432000 - 3599, 8},
		{"left a flow table", 432000 - 86351, 8},
		{"there before the agent", 432000 - 3599, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
			f := flowTo(1, store)
			opened := c.seen
			if c.seen != 0 {
				s.dump(6)
				opened = 7
			} else {
				c.seen = 6
			}
			for x := c.seen; x < 60; x += 5 {
				shown := polled(f, x-c.age)
				s.dump(x, shown)
				if opened != 0 {
					s.want(x+1, 1, 0)
				}
			}
			s.want(60, 1, 0) // it sends a packet between any two dumps
			s.dump(62, done(f, collector.FIN, 61))
			s.want(63, 0, 1)
		})
	}
}

// A closed entry under a shorter timeout looks as if it had ended before the dump that showed it live.
func TestEndThatCannotBe(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
	f := flowTo(1, store)
	s.dump(2)
	s.dump(200, polled(f, 200))
	s.dump(202, done(f, collector.FIN, 202-115))
	s.wantTotals(203, 1, map[collector.Reason]uint64{collector.FIN: 1})
	s.want(203, 0, 1)
	s.want(203+230, 0, 1) // held for 240 s from the end
	p := s.tcp(204)
	if got := time.Duration(p.Hold.Sum * float64(time.Second)); got < 240*time.Second {
		t.Errorf("held for %v in all, want at least the cool-down", got)
	}
}

// The events of a flow that ended and of the next one under its tuple and id come at once, when nobody knows to a second when
// the first ended: they are two flows. So they are where a dump shows the second before the events come.
func TestEventsOfTwoFlowsUnderOneID(t *testing.T) {
	t.Parallel()
	f := flowTo(1, store)
	for _, tt := range []struct {
		name  string
		ended bool             // a dump has shown the end of the first
		dump  []collector.Flow // that is in progress when the events come; nil: none is
	}{
		{"only the event tells of the end", false, nil},
		{"between dumps", true, nil},
		{"a dump shows the first", true, []collector.Flow{done(f, collector.FIN, 3)}},
		{"a dump shows the second", true, []collector.Flow{polled(f, 4.1)}},
	} {
		s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
		s.dump(1)
		s.open(1.5, f)
		s.dump(2, polled(f, 2))
		if tt.ended {
			s.dump(3.5, done(f, collector.FIN, 3))
		}
		if tt.dump != nil {
			s.event(collector.Begin, 4, collector.Flow{})
			for _, g := range tt.dump {
				s.event(collector.Seen, 4.2, g)
			}
		}
		first, second := f, f
		first.State, first.Reason, first.Ended = collector.Done, collector.FIN, collector.Interval{From: at(2.9), To: at(4.3)}
		second.State, second.Opened = collector.Opening, collector.Interval{From: at(4.28), To: at(4.3)}
		s.event(collector.Closed, 4.3, first)
		s.event(collector.Opened, 4.3, second)
		if tt.dump != nil {
			s.Apply(&collector.Event{Kind: collector.End, Announced: true, At: at(4.4), Netns: 1})
		}
		s.Apply(&collector.Event{Kind: collector.Begin, At: at(5), Netns: 1})
		s.event(collector.Seen, 5.1, polled(f, 5))
		s.Apply(&collector.Event{Kind: collector.End, Announced: true, At: at(5.2), Netns: 1})
		snap := s.Snapshot(at(9))
		p, n := snap.Budgets[0].Protocols[0], snap.Netns[0]
		closed := uint64(0)
		for _, c := range p.Closed {
			closed += c
		}
		if p.Opened != 2 || p.Live != 1 || closed != 1 || !n.Exact || n.Mismatches != 0 {
			t.Errorf("%s: %d live of %d opened, %d closed, exact %v, %d mismatches; want 1 of 2, 1", tt.name, p.Live, p.Opened, closed,
				n.Exact, n.Mismatches)
		}
	}
}

// A FIN or an RST that is sent again renews the timeout of an ended entry, on a busy machine for many seconds. Where events
// announce each flow that opens, that is no other flow.
func TestEndSentAgainUnderEvents(t *testing.T) {
	t.Parallel()
	f := flowTo(1, store)
	for _, tt := range []struct {
		name    string
		another bool // opens and ends on the tuple, with the same id
		lost    bool // the kernel dropped events
		want    uint64
	}{
		{name: "sent again", want: 1},
		{name: "another", another: true, want: 2},
		{name: "events were lost", lost: true, want: 2},
	} {
		s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
		announced := func(seconds float64, flows ...collector.Flow) {
			s.event(collector.Begin, seconds, collector.Flow{})
			for _, f := range flows {
				s.event(collector.Seen, seconds+0.1, f)
			}
			s.Apply(&collector.Event{Kind: collector.End, Announced: true, At: at(seconds + 0.2), Netns: 1})
		}
		announced(1)
		s.open(1.5, f)
		announced(4, done(f, collector.RST, 3))
		if tt.another {
			s.close(5, f, collector.RST)
			s.open(5.1, f)
		}
		if tt.lost {
			s.event(collector.Overrun, 5, collector.Flow{})
		}
		announced(8, done(f, collector.RST, 7))
		if got := s.tcp(9); got.Opened != tt.want || got.Closed[collector.RST] != tt.want || got.Live != 0 {
			t.Errorf("%s: %d opened, %d reset, %d live; want %d, %[5]d, 0", tt.name, got.Opened, got.Closed[collector.RST], got.Live,
				tt.want)
		}
	}
}
