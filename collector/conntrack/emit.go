package conntrack

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
)

// A Sink is handed at most batchMax events at once, 50 KiB of them, so that it can work on some while it fetches others;
// walkMax of them during a dump, when the kernel empties the caches of what lies idle.
const (
	batchMax = 256
	walkMax  = 64
)

// emitter hands events to a sink in batches, out of one slice.
type emitter struct {
	sink  collector.Sink
	batch []collector.Event
	most  int // events in a batch
	// refused is what the sink said; nothing is handed to it after that.
	refused error
	meter   meter
}

// start makes e ready for a sink.
func (e *emitter) start(sink collector.Sink) {
	if e.batch == nil {
		e.batch = make([]collector.Event, 0, batchMax)
	}
	e.sink, e.batch, e.most, e.refused = sink, e.batch[:0], batchMax, nil
}

// next returns a place for one more event, which the caller is to overwrite.
func (e *emitter) next(ctx context.Context) (*collector.Event, error) {
	if len(e.batch) >= e.most {
		if err := e.flush(ctx); err != nil {
			return nil, err
		}
	}
	e.batch = e.batch[:len(e.batch)+1]
	return &e.batch[len(e.batch)-1], nil
}

// add emits an event that tells of no flow.
func (e *emitter) add(ctx context.Context, k collector.Kind, at collector.Time, netns uint64) error {
	event, err := e.next(ctx)
	if err == nil {
		*event = collector.Event{Kind: k, At: at, Netns: netns}
	}
	return err
}

// flush hands over what there is.
func (e *emitter) flush(ctx context.Context) error {
	if e.refused != nil || len(e.batch) == 0 {
		return e.refused
	}
	metered := e.meter.running
	e.meter.pause()
	e.refused = e.sink(ctx, e.batch)
	if metered {
		e.meter.resume()
	}
	e.batch = e.batch[:0]
	return e.refused
}

// meter adds up the CPU time of the goroutine that runs it, without what the
// sink takes. While it runs the goroutine keeps its thread.
type meter struct {
	running bool
	since   time.Duration
	total   time.Duration
}

func (m *meter) resume() {
	runtime.LockOSThread()
	m.running, m.since = true, threadCPU()
}

func (m *meter) pause() {
	if m.running {
		m.total += threadCPU() - m.since
		m.running = false
		runtime.UnlockOSThread()
	}
}

// take returns the total and starts a new one.
func (m *meter) take() time.Duration {
	t := m.total
	m.total = 0
	return t
}

func threadCPU() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
