package detector

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// learned is a ledger that saw twenty minutes of flows of some seconds.
func learned(t testing.TB) *Ledger {
	l := NewLedger(LedgerConfig{Budgets: []*budget.Budget{coolingBudget(100, 15*time.Second)}, Start: at(0)})
	empty(l, 0)
	feed(l, 0, 1200)
	if l.spaces[1].outlook == nil {
		t.Fatal("the port space has no forecast")
	}
	return l
}

func empty(l *Ledger, seconds float64) {
	l.Apply(&collector.Event{Kind: collector.Begin, At: at(seconds), Netns: 1})
	l.Apply(&collector.Event{Kind: collector.End, At: at(seconds), Netns: 1})
}

// feed opens a flow a second for some seconds; each lives 20 s.
func feed(l *Ledger, from, seconds float64) {
	for x := 1.0; x <= seconds; x++ {
		f := flowTo(int(from)+int(x), store)
		f.Opened = exactly(from + x)
		l.Apply(&collector.Event{Kind: collector.Opened, At: at(from + x), Netns: 1, Flow: f})
		if x > 20 {
			f := flowTo(int(from)+int(x)-20, store)
			f.Opened, f.Ended = exactly(from+x-20), exactly(from+x)
			f.State, f.Reason = collector.Done, collector.FIN
			l.Apply(&collector.Event{Kind: collector.Closed, At: at(from + x), Netns: 1, Flow: f})
		}
	}
}

// After a restart a minute long the hold times are there at once.
func TestStateBringsHoldTimesBack(t *testing.T) {
	t.Parallel()
	state := learned(t).AppendState(nil)
	l := NewLedger(LedgerConfig{Budgets: []*budget.Budget{coolingBudget(100, 15*time.Second)}, Start: at(1260)})
	if err := l.Restore(state, at(1260)); err != nil {
		t.Fatal(err)
	}
	empty(l, 1260)
	feed(l, 1260, 10)
	fresh := NewLedger(LedgerConfig{Budgets: []*budget.Budget{coolingBudget(100, 15*time.Second)}, Start: at(1260)})
	empty(fresh, 1260)
	feed(fresh, 1260, 10)
	survive := func(l *Ledger) float32 { return l.spaces[1].outlook.times.survive[ageBucket(12)] }
	if got := survive(l); got < 0.9 {
		t.Errorf("restored: %.2f of the flows outlive 11 s, want nearly all", got)
	}
	if got := survive(fresh); got > 0.9 {
		t.Errorf("without a state: %.2f of the flows outlive 11 s; nothing can be known yet", got)
	}
}

// again restarts a ledger at the given second with what l learned.
func again(t *testing.T, l *Ledger, seconds float64, cfg LedgerConfig) *Ledger {
	t.Helper()
	cfg.Budgets, cfg.Start = []*budget.Budget{coolingBudget(100, 15*time.Second)}, at(seconds)
	r := NewLedger(cfg)
	if err := r.Restore(l.AppendState(nil), at(seconds)); err != nil {
		t.Fatal(err)
	}
	empty(r, seconds)
	return r
}

// A second restart does not take what the first brought back, whether the port space was met in between
// or not; six hours do.
func TestStateOutlivesRestarts(t *testing.T) {
	t.Parallel()
	meet := func(l *Ledger, seconds float64) {
		f := flowTo(1, store)
		f.Opened = exactly(seconds)
		l.Apply(&collector.Event{Kind: collector.Opened, At: at(seconds), Netns: 1, Flow: f})
	}
	tests := []struct {
		name     string
		between  func(l *Ledger)
		restarts []float64 // seconds
		known    bool
	}{
		{"nothing happens", func(*Ledger) {}, []float64{1260, 1320}, true},
		{"time passes", func(l *Ledger) { l.Advance(l.now.Add(10 * time.Minute)) }, []float64{1260, 1920, 2580}, true},
		{"the port space is met and not yet forecast", func(l *Ledger) { meet(l, 1260) }, []float64{1260, 1260.5}, true},
		{"five hours", func(*Ledger) {}, []float64{1260, 1200 + 5*3600}, true},
		{"over six hours", func(*Ledger) {}, []float64{1260, 1200 + 3*3600, 1230 + 6*3600}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := learned(t)
			for _, x := range tt.restarts {
				l = again(t, l, x, LedgerConfig{})
				tt.between(l)
			}
			now := tt.restarts[len(tt.restarts)-1] + 700
			meet(l, now)
			o := l.spaces[1].outlook
			if known := o.speeds[hour].ended != (occurrence{}).ended; known != tt.known {
				t.Errorf("lifetimes known: %v, want %v", known, tt.known)
			}
			if tt.known && now-o.began+at(0).Seconds() < 1000 {
				t.Errorf("it is %v s old, want over 1000", now-o.began+at(0).Seconds())
			}
		})
	}
}

// Memories age by how long ago they were made, however often they were written in between.
func TestStateAgesMemories(t *testing.T) {
	t.Parallel()
	fade := func(restarts ...float64) float32 {
		l := learned(t)
		for _, x := range restarts {
			l = again(t, l, x, LedgerConfig{})
		}
		for _, v := range l.saved {
			m := v.until(l.now)
			return m.speeds[hour].lived[0]
		}
		t.Fatal("nothing was restored")
		return 0
	}
	if once, thrice := fade(5000), fade(1300, 2500, 5000); once != thrice {
		t.Errorf("%v after three restarts, want %v as after one", thrice, once)
	}
}

// What is kept of port spaces is bounded by how many may be forecast.
func TestStateIsBounded(t *testing.T) {
	t.Parallel()
	was := learned(t)
	name := was.spaceName(&was.spaces[1])
	l := again(t, was, 1260, LedgerConfig{ForecastMax: 3})
	for i, destination := range []string{"a", "b", "c", "d", "e"} {
		v := *l.saved[name]
		v.destination, v.at = destination, at(1000+float64(i))
		l.saved[v.spaceName] = &v
	}
	r := again(t, l, 1300, LedgerConfig{ForecastMax: 3})
	var got []string
	for name := range r.saved {
		got = append(got, name.destination)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{store, "d", "e"}, got); diff != "" {
		t.Errorf("the youngest three (-want +got)\n%s", diff)
	}
}

func TestStateIsDeterministic(t *testing.T) {
	t.Parallel()
	a, b := learned(t).AppendState(nil), learned(t).AppendState(nil)
	if !bytes.Equal(a, b) {
		t.Error("the same events gave different bytes")
	}
}

func TestDamagedStateIsRefused(t *testing.T) {
	t.Parallel()
	state := learned(t).AppendState(nil)
	for _, tt := range []struct {
		name   string
		damage func([]byte) []byte
	}{
		{"empty", func([]byte) []byte { return nil }},
		{"not a state", func([]byte) []byte { return []byte("#!/bin/sh\necho a file of some length\n") }},
		{"cut off", func(b []byte) []byte { return b[:len(b)/2] }},
		{"one bit flipped", func(b []byte) []byte { b[len(b)/3] ^= 4; return b }},
		{"another version", func(b []byte) []byte { b[len(stateMagic)]++; return sealed(b[:len(b)-4]) }},
		{"bytes left over", func(b []byte) []byte { return sealed(append(b[:len(b)-4], 1)) }},
		{"a number beyond all bounds", func(b []byte) []byte {
			b = b[:len(b)-4]
			copy(b[len(stateMagic)+16:], "\xff\xff\xff\xff")
			return sealed(b)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := NewLedger(LedgerConfig{Budgets: []*budget.Budget{azure()}, Start: at(0)})
			err := l.Restore(tt.damage(bytes.Clone(state)), at(0))
			if !errors.Is(err, ErrState) {
				t.Fatalf("got %v, want an ErrState", err)
			}
			if l.saved != nil || l.forecaster.all != (occurrence{}) {
				t.Error("something of it was taken in")
			}
		})
	}
}

func FuzzRestore(f *testing.F) {
	f.Add(learned(f).AppendState(nil))
	f.Add([]byte(stateMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, state := range [][]byte{b, sealed(bytes.Clone(b))} {
			l := NewLedger(LedgerConfig{Budgets: []*budget.Budget{coolingBudget(100, 15*time.Second)}, Start: at(0)})
			if err := l.Restore(state, at(0)); err != nil && l.saved != nil {
				t.Error("an error, and something was taken in")
			}
			empty(l, 0)
			feed(l, 0, 30)
			finite(t, l)
		}
	})
}

// The fill is averaged from what is held after a restart on, not from nothing.
func TestStateKeepsTheFill(t *testing.T) {
	t.Parallel()
	budgets := []*budget.Budget{coolingBudget(100, 0)}
	s := newScript(t, LedgerConfig{Budgets: budgets})
	s.dump(0)
	for n := range 600 {
		x := float64(n) + 1
		s.open(x, flowTo(n, store))
		s.close(x+0.5, flowTo(n, store), collector.FIN)
	}
	again := newScript(t, LedgerConfig{Budgets: budgets, Start: at(660)})
	if err := again.Restore(s.AppendState(nil), at(660)); err != nil {
		t.Fatal(err)
	}
	var flows []collector.Flow
	for n := range 20 {
		flows = append(flows, flowTo(n, store))
	}
	again.dump(670, flows...)
	again.Advance(at(672))
	o := again.spaces[1].outlook
	if o.began >= at(660).Seconds() {
		t.Error("nothing was restored")
	}
	if o.fillLately != 20 {
		t.Errorf("the fill is %.1f on average, want the 20 ports that are held", o.fillLately)
	}
}
