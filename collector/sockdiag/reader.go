package sockdiag

import (
	"context"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// batchEvents is how many events the Sink gets at once: what a processor keeps close.
const batchEvents = 128

// reader turns what the kernel says of one namespace after the other into events. Its
// buffers serve all namespaces.
type reader struct {
	now      func() collector.Time
	sink     collector.Sink
	loopback []byte // filter that leaves it out
	// perFamily: the kernel does not know TCPDIAG_GETSOCK.
	perFamily bool

	events   []collector.Event
	socket   socket
	tcp, udp inbound
	last     [2]collector.Time // of the last two datagrams, or of the request
	written  written
	tally    Tally

	gone  destroyed
	batch *nlraw.Batch
}

func newReader(now func() collector.Time, sink collector.Sink) *reader {
	return &reader{
		now: now, sink: sink, loopback: notLoopback(),
		events: make([]collector.Event, 0, batchEvents),
	}
}

// sinkError is an error of the Sink's: it ends the source, one of the kernel's does not.
type sinkError struct{ error }

func (e sinkError) Unwrap() error { return e.error }

// next returns room for one event, and hands the batch over when it is full.
func (r *reader) next(ctx context.Context) (*collector.Event, error) {
	if len(r.events) == cap(r.events) {
		if err := r.flush(ctx); err != nil {
			return nil, err
		}
	}
	r.events = r.events[:len(r.events)+1]
	return &r.events[len(r.events)-1], nil
}

func (r *reader) flush(ctx context.Context) error {
	if len(r.events) == 0 {
		return nil
	}
	err := r.sink(ctx, r.events)
	r.events = r.events[:0]
	if err != nil {
		return sinkError{err}
	}
	return nil
}

// mark emits an event that tells of the whole namespace.
func (r *reader) mark(ctx context.Context, kind collector.Kind, netns uint64) error {
	e, err := r.next(ctx)
	if err != nil {
		return err
	}
	*e = collector.Event{Kind: kind, At: r.now(), Netns: netns}
	return nil
}
