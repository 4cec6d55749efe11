package sockdiag

import (
	"context"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

const (
	// The kernel can leave out loopback sockets. The filter costs 3 % of a dump and saves the whole cost of each
	// socket that it leaves out, so the reader asks for it if more than one socket in filterFrom is loopback. Every
	// lookEvery-th dump goes without the filter, to see whether it still pays.
	filterFrom = 16
	lookEvery  = 16
)

// dump shows all flows of sp from Begin to End, or to Abort when the kernel gives up.
func (r *reader) dump(ctx context.Context, sp *space) error {
	began := r.now()
	r.tally = Tally{}
	r.tcp.restart(sp.tcp.used)
	r.udp.restart(sp.udp.used)
	if err := r.mark(ctx, collector.Begin, sp.inode()); err != nil {
		return err
	}
	err := r.tables(ctx, sp)
	if r.out.Refused() != nil {
		return err
	}
	kind := collector.Abort
	if err == nil {
		kind = collector.End
		sp.tcp.keep(&r.tcp)
		sp.unsure = sp.unsure.keep()
		sp.udp.keep(&r.udp)
		r.learn(sp)
		// Ends that came during the dump belong before its own.
		if err := r.drain(ctx, sp); err != nil {
			return err
		}
	}
	if err := r.mark(ctx, kind, sp.inode()); err != nil {
		return err
	}
	if err := r.out.Flush(ctx); err != nil {
		return err
	}
	now := r.now()
	sp.stats.dumped(&r.tally, now.Sub(began), err)
	if r.tally.firstMalformed != nil {
		sp.stats.failed(r.tally.firstMalformed, now)
	}
	if err != nil {
		sp.stats.failed(err, now)
	}
	return err
}

// learn decides after a complete dump whether the next ones filter loopback.
func (r *reader) learn(sp *space) {
	switch {
	case sp.filter > 0:
		sp.filter--
	case r.tally.Loopback*filterFrom > r.tally.Sockets:
		sp.filter = lookEvery - 1
	}
}

// tables walks what the kernel keeps, the listeners of each protocol first.
func (r *reader) tables(ctx context.Context, sp *space) error {
	if err := r.ask(ctx, sp, collector.TCP, 1<<tcpListen, r.listener); err != nil {
		return err
	}
	if sp.unsure != nil {
		if err := r.findDirections(ctx, sp); err != nil {
			return err
		}
	}
	flows := func(m nlraw.Message) error { return r.flow(ctx, m, sp, collector.TCP) }
	if err := r.ask(ctx, sp, collector.TCP, statesFlows, flows); err != nil {
		return err
	}
	if err := r.ask(ctx, sp, collector.UDP, 1<<tcpClose, r.unconnected); err != nil {
		return err
	}
	flows = func(m nlraw.Message) error { return r.flow(ctx, m, sp, collector.UDP) }
	return r.ask(ctx, sp, collector.UDP, 1<<tcpEstablished, flows)
}

// ask sends the requests that show the sockets of one protocol in the given states.
func (r *reader) ask(ctx context.Context, sp *space, p collector.Protocol, states uint32,
	each func(nlraw.Message) error,
) error {
	var filter []byte
	if sp.filter > 0 {
		filter = r.loopback
	}
	if p == collector.TCP && !r.perFamily {
		err := r.one(ctx, sp, requestTCP(states, r.extensions, filter), each)
		if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EINVAL) {
			return named(err, p)
		}
		r.perFamily = true
	}
	shown := 0
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		req := requestFamily(family, p, states, filter)
		req.Data[reqExtensions] = r.extensions
		err := r.one(ctx, sp, req, each)
		// A kernel without UDP diagnosis or without IPv6 has none to show; one
		// without TCP over IPv4 cannot be read.
		if errors.Is(err, unix.ENOENT) && (p == collector.UDP || shown > 0) {
			continue
		}
		if err != nil {
			return named(err, p)
		}
		shown++
	}
	return nil
}

func named(err error, p collector.Protocol) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("dump %v sockets: %w", p, err)
}

func (r *reader) one(ctx context.Context, sp *space, req netlink.Message, each func(nlraw.Message) error) error {
	now := r.now()
	r.last = [2]collector.Time{now, now}
	datagram := func() error {
		// The kernel writes a datagram of a dump while the one before it is read.
		now := r.now()
		r.written = written{after: r.last[0], before: now}
		r.last[0], r.last[1] = r.last[1], now
		return nil
	}
	err := sp.dump.Dump(ctx, req, datagram, each)
	if errors.Is(err, nlraw.ErrInterrupted) {
		return fmt.Errorf("%w by changes", err)
	}
	return err
}

// parse reads a message into r.socket, and reports whether it could.
func (r *reader) parse(m nlraw.Message) bool {
	r.tally.Sockets++
	if err := r.socket.parse(m.Data); err != nil {
		if r.tally.Malformed++; r.tally.firstMalformed == nil {
			r.tally.firstMalformed = fmt.Errorf("dumped socket: %w", err)
		}
		return false
	}
	r.tally.UnknownAttributes += uint64(r.socket.unknown)
	return true
}

func (r *reader) listener(m nlraw.Message) error {
	if r.parse(m) && r.socket.state == tcpListen {
		r.tally.Listeners++
		r.tcp.listen(r.socket.local.Port())
	}
	return nil
}

func (r *reader) unconnected(m nlraw.Message) error {
	if r.parse(m) && r.socket.state == tcpClose {
		r.udp.listen(r.socket.local.Port())
	}
	return nil
}

// flow emits a socket if it is a flow.
func (r *reader) flow(ctx context.Context, m nlraw.Message, sp *space, p collector.Protocol) error {
	if !r.parse(m) {
		return nil
	}
	s := &r.socket
	heard := &r.tcp
	if p == collector.UDP {
		heard = &r.udp
	}
	switch {
	case 1<<s.state&statesFlows == 0:
		return nil
	case !s.leavesMachine():
		r.tally.Loopback++
		return nil
	case heard.accepted(s.local.Port()):
		r.tally.Inbound++
		return nil
	case p == collector.TCP && sp.unsure.hides(s.local.Port()):
		r.tally.Unsure++
		return nil
	}
	e, err := r.out.Next(ctx)
	if err != nil {
		return err
	}
	r.tally.Flows++
	e.Kind, e.At, e.Netns = collector.Seen, r.written.before, sp.inode()
	s.flow(&e.Flow, p, sp.inode(), r.written)
	return nil
}
