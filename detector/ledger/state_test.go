package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
	"github.com/snatwatch/snatwatch/internal/forecasttest"
)

// taught is a ledger that saw twenty minutes of flows of some seconds.
func taught(t testing.TB) *Ledger {
	l := New(Config{Budgets: []*budget.Budget{coolingBudget(100, 15*time.Second)}, Start: at(0)})
	empty(l, 0)
	feedFlows(l, 0, 1200)
	if l.spaces.list[1].outlook == nil {
		t.Fatal("the port space has no forecast")
	}
	return l
}

func empty(l *Ledger, seconds float64) {
	l.Apply(&collector.Event{Kind: collector.Begin, At: at(seconds), Netns: 1})
	l.Apply(&collector.Event{Kind: collector.End, At: at(seconds), Netns: 1})
}

// feedFlows opens a flow a second for some seconds; each lives 20 s.
func feedFlows(l *Ledger, from, seconds float64) {
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

// A restart brings back what was learned of a port space once it is met, and keeps it until then.
func TestRestoredLedgerForecasts(t *testing.T) {
	t.Parallel()
	forecast := func(state []byte) *detector.Forecast {
		l := New(Config{Budgets: []*budget.Budget{coolingBudget(100, 15*time.Second)}, Start: at(1260)})
		if state != nil {
			if err := l.Restore(state, at(1260)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(l.AppendState(nil), []byte(store)) {
				t.Error("what is not met yet is lost")
			}
		}
		empty(l, 1260)
		feedFlows(l, 1260, 15)
		if !bytes.Contains(l.AppendState(nil), []byte(store)) {
			t.Error("what is met is lost")
		}
		return l.Snapshot(at(1276)).Budgets[0].Protocols[0].Spaces[0].Forecast
	}
	restored, fresh := forecast(taught(t).AppendState(nil)), forecast(nil)
	// A port is held for 20 s, and for 15 s more, at an open a second.
	const want = 35
	if math.Abs(restored.Mean[0]-want) >= math.Abs(fresh.Mean[0]-want) {
		t.Errorf("a minute ahead %+v restored, %+v fresh: want a better forecast of %d ports", restored, fresh, want)
	}
}

// Port spaces of two zones towards one destination each keep what they learned, whichever is met first after a restart.
func TestZonesRememberTheirOwn(t *testing.T) {
	t.Parallel()
	zoned := coolingBudget(100, 15*time.Second)
	zoned.Translated = true
	ledger := func(from int) *Ledger {
		l := New(Config{Budgets: []*budget.Budget{zoned}, Start: at(float64(from))})
		empty(l, float64(from))
		return l
	}
	open := func(l *Ledger, zone uint16, second int) {
		f := flowTo(second, store)
		f.Zone, f.ZoneOut, f.Translated, f.Opened = zone, zone, true, exactly(float64(second))
		l.Apply(&collector.Event{Kind: collector.Opened, At: at(float64(second)), Netns: 1, Flow: f})
	}
	was := ledger(0)
	for second := 1; second <= 30; second++ {
		open(was, 1, second)
		open(was, 2, second)
	}
	state := was.AppendState(nil)
	for _, met := range []uint16{1, 2} {
		l := ledger(40)
		if err := l.Restore(state, at(40)); err != nil {
			t.Fatal(err)
		}
		open(l, met, 41)
		l.Advance(at(42))
		for _, name := range []string{"zone 1", "zone 2"} {
			if !bytes.Contains(l.AppendState(nil), []byte(name)) {
				t.Errorf("zone %d is met: the state has no %s", met, name)
			}
		}
	}
}

func TestStateIsDeterministic(t *testing.T) {
	t.Parallel()
	a, b := taught(t).AppendState(nil), taught(t).AppendState(nil)
	if !bytes.Equal(a, b) {
		t.Error("the same events gave different bytes")
	}
}

func TestDamagedStateIsRefused(t *testing.T) {
	t.Parallel()
	state := taught(t).AppendState(nil)
	for _, tt := range []struct {
		name   string
		damage func([]byte) []byte
	}{
		{"empty", func([]byte) []byte { return nil }},
		{"not a state", func([]byte) []byte { return []byte("#!/bin/sh\necho a file of some length\n") }},
		{"cut off", func(b []byte) []byte { return b[:len(b)/2] }},
		{"one bit flipped", func(b []byte) []byte { b[len(b)/3] ^= 4; return b }},
		{"another version", func(b []byte) []byte { b[len(stateMagicText)]++; return sealed(b[:len(b)-4]) }},
		{"bytes left over", func(b []byte) []byte { return sealed(append(b[:len(b)-4], 1)) }},
		{"a number beyond all bounds", func(b []byte) []byte {
			b = b[:len(b)-4]
			copy(b[len(stateMagicText)+16:], "\xff\xff\xff\xff")
			return sealed(b)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := New(Config{Budgets: []*budget.Budget{azure()}, Start: at(0)})
			before := l.AppendState(nil)
			err := l.Restore(tt.damage(bytes.Clone(state)), at(0))
			if !errors.Is(err, forecast.ErrState) {
				t.Fatalf("got %v, want an ErrState", err)
			}
			if !bytes.Equal(l.AppendState(nil), before) {
				t.Error("something of it was taken in")
			}
		})
	}
}

// A state that a ledger wrote, with some of its bytes written over and the checksum made anew, so that every field of
// the decoder is met: an error and nothing of it taken in, or forecasts that a metric may show. edits is a list of
// places: three bytes say where, one how many bytes follow.
func FuzzRestore(f *testing.F) {
	state := taught(f).AppendState(nil)
	body := state[:len(state)-4]
	f.Add([]byte{})
	for at := len(stateMagicText); at < len(body); at += len(body) / 40 {
		for _, number := range []string{"\xff\xff\xff\xff\xff\xff\xff\xff", "\x00\x00\x00\x00\x00\x00\x00\x00", "\x00\x00\xc0\x7f", "\xff\xff\x7f\x58"} {
			f.Add(append([]byte{byte(at), byte(at >> 8), byte(at >> 16), byte(len(number))}, number...))
		}
	}
	f.Fuzz(func(t *testing.T, edits []byte) {
		edited := bytes.Clone(body)
		for len(edits) > 4 {
			at := int(edits[0]) | int(edits[1])<<8 | int(edits[2])<<16
			n := min(int(edits[3]), len(edits)-4)
			copy(edited[at%len(edited):], edits[4:4+n])
			edits = edits[4+n:]
		}
		l := New(Config{Budgets: []*budget.Budget{coolingBudget(100, 15*time.Second)}, Start: at(1260)})
		before := l.AppendState(nil)
		if err := l.Restore(sealed(edited), at(1260)); err != nil && !bytes.Equal(l.AppendState(nil), before) {
			t.Error("an error, and something was taken in")
		}
		empty(l, 1260)
		feedFlows(l, 1260, 15)
		finite(t, l)
		again := New(Config{Budgets: []*budget.Budget{coolingBudget(100, 15*time.Second)}, Start: at(1276)})
		if err := again.Restore(l.AppendState(nil), at(1276)); err != nil {
			t.Errorf("what it wrote itself: %v", err)
		}
	})
}

// Any bytes at all: an error or a state, and no harm.
func FuzzRestoreBytes(f *testing.F) {
	f.Add([]byte(stateMagicText))
	f.Add(append([]byte(stateMagicText), taught(f).AppendState(nil)[len(stateMagicText):100]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, state := range [][]byte{b, sealed(bytes.Clone(b))} {
			l := New(Config{Budgets: []*budget.Budget{coolingBudget(100, 15*time.Second)}, Start: at(0)})
			before := l.AppendState(nil)
			if err := l.Restore(state, at(0)); err != nil && !bytes.Equal(l.AppendState(nil), before) {
				t.Error("an error, and something was taken in")
			}
		}
	})
}

// stateMagicText is what a state begins with; its version follows.
const stateMagicText = "snatwatch state\n"

// sealed appends the checksum that a state ends with.
func sealed(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// finite fails where a forecast says what no metric may show.
func finite(t *testing.T, l *Ledger) {
	t.Helper()
	for i := range l.spaces.list {
		if o := l.spaces.list[i].outlook; o != nil && o.Latest() != nil {
			forecasttest.Check(t, o.Latest())
		}
	}
}
