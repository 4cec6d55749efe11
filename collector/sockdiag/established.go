package sockdiag

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// errEnough ends a dump that has shown what was asked for.
var errEnough = errors.New("enough sockets")

// Established returns at most atMost established TCP flows of ns that had a packet within the last within, in no
// order. It reads the kernel's table no further than it must.
func Established(ctx context.Context, ns *netns.Handle, within time.Duration, atMost int) ([]collector.Flow, error) {
	c, err := dialIn(ns)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	r := newReader(collector.Clock(), nil)
	sp := &namespace{ns: netns.Netns{Inode: ns.Inode()}, dump: c, filter: 1}
	if err := r.ask(ctx, sp, collector.TCP, 1<<tcpListen, r.listener); err != nil {
		return nil, err
	}
	var flows []collector.Flow
	each := func(m nlraw.Message) error {
		s := &r.gone // of the two parsers the one that reads tcp_info
		read := s.parse(m.Data) == nil
		if !read || s.state != tcpEstablished || !s.info.known || s.info.lastPacket > within || !s.leavesMachine() ||
			r.tcp.accepted(s.local.Port()) {
			return nil
		}
		var f collector.Flow
		s.flow(&f, collector.TCP, ns.Inode(), r.written)
		if flows = append(flows, f); len(flows) >= atMost {
			return errEnough
		}
		return nil
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		req := requestFamily(family, collector.TCP, 1<<tcpEstablished, r.loopback)
		req.Data[reqExtensions] = 1 << (attrInfo - 1)
		switch err := r.one(ctx, sp, req, each); {
		case errors.Is(err, errEnough):
			return flows, nil
		case errors.Is(err, unix.ENOENT): // a kernel without this family
		case err != nil:
			return flows, named(err, collector.TCP)
		}
	}
	return flows, nil
}

// Dump shows the flows of ns to sink once, from Begin to End, or to Abort where the kernel gives up. It leaves out
// sockets in TIME_WAIT, of which the kernel knows no owner: a client of 1,000 connections a second has 60,000.
func Dump(ctx context.Context, ns *netns.Handle, now func() collector.Time, sink collector.Sink) error {
	return DumpBound(ctx, ns, now, sink, nil)
}

// DumpBound shows the same, and calls bound with each UDP socket that has a local port and no destination. Such a
// socket sends to many: a resolver, a client of QUIC, a user-space NAT. Its source may be the unspecified address.
func DumpBound(ctx context.Context, ns *netns.Handle, now func() collector.Time, sink collector.Sink,
	bound func(*collector.Flow),
) error {
	c, err := nlraw.Detached(dialIn(ns))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	r := newReaderOfOpen(now, sink)
	r.bound = bound
	return r.dump(ctx, &namespace{
		ns: netns.Netns{Inode: ns.Inode()}, dump: c, filter: 1, unsure: newUnsure(),
	})
}

// newReaderOfOpen returns a reader that leaves sockets in TIME_WAIT alone.
func newReaderOfOpen(now func() collector.Time, sink collector.Sink) *reader {
	r := newReader(now, sink)
	r.states &^= 1 << tcpTimeWait
	return r
}
