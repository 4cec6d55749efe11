package ledger

import (
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// held is a range of this machine's NAT whose kernel does not evict closed entries.
func held() *budget.Budget {
	b := plain()
	b.Translated = true
	b.TCP.CoolDown[collector.FIN], b.TCP.CoolDown[collector.RST] = 120*time.Second, 10*time.Second
	return b
}

// Where the kernel does not evict closed entries, an entry is what holds a port: the port is held while there is an
// entry, and no longer.
func TestEntryHoldsThePort(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		play       func(s script, f collector.Flow)
		live, cool int
	}{
		{"a dump lacks the closed entry", func(s script, f collector.Flow) {
			s.dump(10, done(f, collector.FIN, 9))
			s.dump(14)
		}, 0, 0},
		{"a dump that broke off lacks it", func(s script, f collector.Flow) {
			s.dump(10, done(f, collector.FIN, 9))
			s.event(collector.Begin, 14, collector.Flow{})
			s.event(collector.Abort, 14.5, collector.Flow{})
		}, 0, 1},
		{"DESTROY of the closed entry", func(s script, f collector.Flow) {
			s.dump(10, done(f, collector.FIN, 9))
			s.close(14, f, collector.FIN)
		}, 0, 0},
		{"DESTROY of a live entry, as conntrack -F leads to", func(s script, f collector.Flow) {
			s.dump(10, polled(f, 10))
			s.close(14, f, collector.Evicted)
		}, 0, 0},
		{"a dump lacks the live entry", func(s script, f collector.Flow) {
			s.dump(10, polled(f, 10))
			s.dump(14)
		}, 0, 0},
		{"refused", func(s script, f collector.Flow) {
			f.State = collector.Opening
			s.open(10, f)
			f.Refused = true
			s.close(10.1, f, collector.RST)
		}, 0, 0},
		{"an end that an event tells, of a flow that nobody saw", func(s script, f collector.Flow) {
			s.close(14, f, collector.FIN)
		}, 0, 0},
		{"the tuple of a closed entry is opened again, on another port", func(s script, f collector.Flow) {
			s.dump(10, done(f, collector.FIN, 9))
			again := flowTo(2, store)
			again.Translated = true
			s.dump(14, polled(again, 14))
		}, 1, 0},
		{"the tuple of a closed entry is opened again, on the same port", func(s script, f collector.Flow) {
			s.dump(10, done(f, collector.FIN, 9))
			f.ID = 99
			s.dump(14, polled(f, 14))
		}, 1, 0},
		{"DESTROY of the entry before comes late", func(s script, f collector.Flow) {
			s.dump(10, done(f, collector.FIN, 9))
			again := f
			again.ID = 99
			s.open(14, again)
			s.close(14.1, f, collector.FIN)
		}, 1, 0},
		{"closed, and the entry is shown", func(s script, f collector.Flow) {
			for x := 10.0; x < 60; x += 5 {
				s.dump(x, done(f, collector.FIN, 9))
			}
		}, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, Config{Budgets: []*budget.Budget{held()}})
			s.dump(5)
			f := flowTo(1, store)
			f.Translated = true
			c.play(s, f)
			s.want(20, c.live, c.cool)
			if err := audit(s.Ledger); err != nil {
				t.Error(err)
			}
			s.dump(70)
			s.dump(80)
			s.dump(90)
			s.want(91, 0, 0)
			if n := s.flows.table.count; n != 0 {
				t.Errorf("%d entries are left", n)
			}
		})
	}
}

// A dump says how much longer an entry holds its port, which may be more or less than the kernel's settings say.
func TestEntryUnderATimeoutOfItsOwn(t *testing.T) {
	t.Parallel()
	t.Run("longer", func(t *testing.T) {
		t.Parallel()
		s := newScript(t, Config{Budgets: []*budget.Budget{held()}})
		s.dump(5)
		f := flowTo(1, store)
		f.Translated = true
		for x := 10.0; x < 300; x += 5 {
			shown := done(f, collector.FIN, x+0.25) // more is left than the settings allow
			shown.Ended.From = 0
			s.dump(x, shown)
			s.want(x+1, 0, 1)
		}
		s.dump(300)
		s.want(301, 0, 0)
		s.wantTotals(302, 1, map[collector.Reason]uint64{collector.FIN: 1})
	})
	t.Run("longer than dumps are apart", func(t *testing.T) {
		t.Parallel()
		s := newScript(t, Config{Budgets: []*budget.Budget{held()}})
		s.dump(5)
		f := flowTo(1, store)
		f.Translated = true
		for x := 10.0; x < 700; x += 150 {
			shown := done(f, collector.FIN, x+0.25)
			shown.Ended.From = 0
			s.dump(x, shown)
			s.want(x+1, 0, 1)
			s.want(x+140, 0, 0) // as far as it knows
			if err := audit(s.Ledger); err != nil {
				t.Error(err)
			}
		}
		s.dump(760)
		s.want(761, 0, 0)
		s.wantTotals(762, 1, map[collector.Reason]uint64{collector.FIN: 1})
	})
	t.Run("shorter", func(t *testing.T) {
		t.Parallel()
		s := newScript(t, Config{Budgets: []*budget.Budget{held()}})
		f := flowTo(1, store)
		f.Translated = true
		s.dump(5, polled(f, 5))
		for x := 10.0; x <= 20; x += 5 {
			s.dump(x, done(f, collector.FIN, -90))
		}
		s.want(29, 0, 1)
		s.want(32, 0, 0)
		s.wantTotals(33, 0, map[collector.Reason]uint64{collector.FIN: 1})
	})
}

// A cool-down that somebody configured is of a NAT further out: conntrack's entry does not end it.
func TestConfiguredCoolDownOutlastsTheEntry(t *testing.T) {
	t.Parallel()
	b := held()
	b.Params.TCP.CoolDown = map[collector.Reason]time.Duration{collector.FIN: 120 * time.Second}
	s := newScript(t, Config{Budgets: []*budget.Budget{b}})
	f := flowTo(1, store)
	f.Translated = true
	s.dump(5)
	s.dump(10, done(f, collector.FIN, 9))
	s.dump(14)
	s.want(15, 0, 1)
	s.want(130, 0, 0)
}

// The first dump shows all that holds a port, so nothing is left to wait for.
func TestEntriesNeedNoWarmUp(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{held()}})
	if !s.Snapshot(at(1)).Warming {
		t.Error("not warming before the first dump")
	}
	s.dump(2)
	if s.Snapshot(at(3)).Warming {
		t.Error("warming after the first dump")
	}
}
