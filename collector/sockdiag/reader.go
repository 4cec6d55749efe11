package sockdiag

import (
	"context"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// batchEvents is how many events the Sink gets at once: as many as fit a processor's cache.
const batchEvents = 128

// reader turns what the kernel shows into events, one namespace after the other. Its buffers serve all namespaces.
type reader struct {
	now      func() collector.Time
	out      collector.Batch
	loopback []byte // filter that leaves it out
	// perFamily: the kernel does not know TCPDIAG_GETSOCK.
	perFamily bool
	// states are those of the TCP sockets that a dump shows.
	states uint32
	// extensions are the attributes that a request asks for, as bits.
	extensions uint8
	// bound, if set, is called with each UDP socket that is not connected.
	bound func(*collector.Flow)

	socket   socket
	tcp, udp inbound
	last     [2]collector.Time // of the last two datagrams, or of the request
	written  written
	tally    Tally

	gone      destroyed
	datagrams *nlraw.Datagrams
}

func newReader(now func() collector.Time, sink collector.Sink) *reader {
	r := &reader{now: now, loopback: notLoopback(), states: statesFlows}
	r.out.Start(sink, batchEvents)
	return r
}

// mark emits an event about the whole namespace.
func (r *reader) mark(ctx context.Context, kind collector.Kind, netns uint64) error {
	return r.out.Mark(ctx, kind, r.now(), netns)
}
