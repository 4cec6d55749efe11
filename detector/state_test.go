package detector

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// learned is a ledger that saw twenty minutes of flows of some seconds.
func learned(t testing.TB) *Ledger {
	l := NewLedger(LedgerConfig{Budgets: []*Budget{coolingBudget(100, 15*time.Second)}, Start: at(0)})
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
	l := NewLedger(LedgerConfig{Budgets: []*Budget{coolingBudget(100, 15*time.Second)}, Start: at(1260)})
	if err := l.Restore(state, at(1260)); err != nil {
		t.Fatal(err)
	}
	empty(l, 1260)
	feed(l, 1260, 10)
	fresh := NewLedger(LedgerConfig{Budgets: []*Budget{coolingBudget(100, 15*time.Second)}, Start: at(1260)})
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
			l := NewLedger(LedgerConfig{Budgets: []*Budget{azure()}, Start: at(0)})
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
			l := NewLedger(LedgerConfig{Budgets: []*Budget{coolingBudget(100, 15*time.Second)}, Start: at(0)})
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
	budgets := []*Budget{coolingBudget(100, 0)}
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
