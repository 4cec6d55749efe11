// Package cputime measures how much processor time a goroutine takes. The budget of the agent is in processor time,
// because time on the clock counts others' work too.
package cputime

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
)

// Meter adds up the processor time of the goroutine that runs it. While it runs the goroutine keeps its thread.
type Meter struct {
	running bool
	since   time.Duration
	total   time.Duration
}

// Resume starts the meter, or goes on after Pause.
func (m *Meter) Resume() {
	runtime.LockOSThread()
	m.running, m.since = true, thread()
}

// Pause stops the meter, if it runs.
func (m *Meter) Pause() {
	if m.running {
		m.total += thread() - m.since
		m.running = false
		runtime.UnlockOSThread()
	}
}

// Take returns the sum and starts a new one.
func (m *Meter) Take() time.Duration {
	t := m.total
	m.total = 0
	return t
}

// Without returns a Sink that hands over to sink and pauses the meter meanwhile.
func (m *Meter) Without(sink collector.Sink) collector.Sink {
	return func(ctx context.Context, events []collector.Event) error {
		if m.running {
			m.Pause()
			defer m.Resume()
		}
		return sink(ctx, events)
	}
}

// Process returns the processor time, user and system, of the whole process since it began, 0 if the kernel does not
// say.
func Process() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// thread returns the processor time of the calling thread, 0 if the kernel does not say.
func thread() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
