// Package collector holds the words of the kernel edge: what a flow is, what can happen to it, and how exactly we know.
// It holds types, their clock, and the Batch that hands events over. Its subpackages read the kernel: conntrack and
// sockdiag read flows (in each, parse.go parses the kernel's messages), nlraw reads netlink for both, netns, limits,
// natrules and cloud read what the machine is.
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

// Clock starts a clock and returns the function that reads it. An agent has one clock, which its sources and the
// owner of its ledgers share.
func Clock() func() Time {
	start := time.Now()
	began := Time(start.UnixNano())
	return func() Time { return began.Add(time.Since(start)) }
}

// Interval bounds a moment: it lies in (From, To]. If From == To we know the moment exactly; if From == 0 we know no
// lower bound. The zero Interval means that the moment has not come.
type Interval struct {
	From, To Time
}

// Exact reports whether we know the moment itself and not only its bounds.
func (i Interval) Exact() bool { return i.From == i.To && i.To != 0 }

// IsZero reports whether the moment has not come.
func (i Interval) IsZero() bool { return i == Interval{} }

// Sink takes events in their order. It does not keep the slice. An error ends the source that called it. A Sink that
// waits returns when ctx is cancelled.
type Sink func(ctx context.Context, events []Event) error
