package cputime_test

import (
	"context"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/cputime"
)

// burn keeps the processor busy for about d.
func burn(d time.Duration) {
	n := 0
	for start := time.Now(); time.Since(start) < d; {
		n++
	}
	_ = n
}

// The meter counts what its goroutine does while it runs, and not what the Sink does meanwhile.
func TestMeter(t *testing.T) {
	t.Parallel()
	var m cputime.Meter
	if got := m.Take(); got != 0 {
		t.Errorf("before the start: %v", got)
	}
	m.Resume()
	burn(20 * time.Millisecond)
	m.Pause()
	if got := m.Take(); got <= 0 {
		t.Errorf("while it ran: %v, want more than 0", got)
	}
	burn(5 * time.Millisecond)
	m.Pause()
	if got := m.Take(); got != 0 {
		t.Errorf("while it did not run: %v, want 0", got)
	}

	sink := m.Without(func(context.Context, []collector.Event) error {
		m.Take()
		burn(time.Millisecond)
		m.Pause() // no effect: it is paused
		if got := m.Take(); got != 0 {
			t.Errorf("in the Sink: %v, want 0", got)
		}
		return nil
	})
	m.Resume()
	if err := sink(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	burn(20 * time.Millisecond)
	m.Pause()
	if got := m.Take(); got <= 0 {
		t.Errorf("after the Sink: %v, want more than 0: it goes on", got)
	}
}
