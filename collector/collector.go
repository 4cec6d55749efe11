// Package collector holds the words of the kernel edge: what a flow is, what
// can happen to it, and how sure we are. It holds types and their
// clock; its subpackages read the kernel.
package collector

import (
	"context"
	"time"
)

// Time is a moment on the agent's clock, in nanoseconds. It was Unix time when
// the agent started and has followed the monotonic clock since, so a step of
// the wall clock does not move it. Zero means unknown.
type Time int64

// Add returns t+d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns t-u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Seconds returns t in seconds.
func (t Time) Seconds() float64 { return float64(t) / 1e9 }

// Clock starts a clock of the agent and returns the function that reads it. An agent
// has one; sources and the ledger's owner share it.
func Clock() func() Time {
	start := time.Now()
	began := Time(start.UnixNano())
	return func() Time { return began.Add(time.Since(start)) }
}

// Interval bounds a moment that is known only to lie in (From, To]. From == To
// is a moment known exactly; From == 0 means that nothing bounds it from below;
// the zero Interval means that it has not happened.
type Interval struct {
	From, To Time
}

// Exact reports whether the moment is known and not only bounded.
func (i Interval) Exact() bool { return i.From == i.To && i.To != 0 }

// IsZero reports whether the moment has not happened.
func (i Interval) IsZero() bool { return i == Interval{} }

// Sink takes events in order. It does not keep the slice. An error ends the
// source that called it; ctx cancels a Sink that waits.
type Sink func(ctx context.Context, events []Event) error
