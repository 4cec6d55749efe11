package sockdiag

import (
	"context"
	"net/netip"

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
func (r *reader) dump(ctx context.Context, sp *namespace) error {
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
func (r *reader) learn(sp *namespace) {
	switch {
	case sp.filter > 0:
		sp.filter--
	case r.tally.Loopback*filterFrom > r.tally.Sockets:
		sp.filter = lookEvery - 1
	}
}

// tables walks what the kernel keeps, the listeners of each protocol first.
func (r *reader) tables(ctx context.Context, sp *namespace) error {
	if err := r.ask(ctx, sp, collector.TCP, 1<<tcpListen, r.listener); err != nil {
		return err
	}
	if sp.unsure != nil {
		if err := r.findDirections(ctx, sp); err != nil {
			return err
		}
	}
	flows := func(m nlraw.Message) error { return r.flow(ctx, m, sp, collector.TCP) }
	if err := r.ask(ctx, sp, collector.TCP, r.states, flows); err != nil {
		return err
	}
	unconnected := func(m nlraw.Message) error { return r.unconnected(m, sp) }
	if err := r.ask(ctx, sp, collector.UDP, 1<<tcpClose, unconnected); err != nil {
		return err
	}
	flows = func(m nlraw.Message) error { return r.flow(ctx, m, sp, collector.UDP) }
	return r.ask(ctx, sp, collector.UDP, 1<<tcpEstablished, flows)
}

// findDirections asks what struct tcp_info tells of the connections on unsure ports. TIME_WAIT has none: it goes with
// the other connections on its port.
func (r *reader) findDirections(ctx context.Context, sp *namespace) error {
	u := sp.unsure
	u.found, u.shown = map[uint16]direction{}, map[uint16]bool{}
	const states = statesFlows &^ (1 << tcpTimeWait)
	return r.askInfo(ctx, sp, states, func(m nlraw.Message) error {
		s := &r.gone // of the two parsers the one that reads tcp_info
		read := s.parse(m.Data) == nil
		if !read || !s.leavesMachine() || r.tcp.ports.has(s.local.Port()) || !u.has(s.local.Port()) {
			return nil
		}
		switch d := s.info.direction(s.state); d {
		case accepted:
			r.tcp.listen(s.local.Port())
		case opened:
			u.found[s.local.Port()] = opened
		}
		return nil
	})
}

func (r *reader) listener(m nlraw.Message) error {
	if r.parse(m) && r.socket.state == tcpListen {
		r.tally.Listeners++
		r.tcp.listen(r.socket.local.Port())
	}
	return nil
}

func (r *reader) unconnected(m nlraw.Message, sp *namespace) error {
	if !r.parse(m) || r.socket.state != tcpClose {
		return nil
	}
	r.udp.listen(r.socket.local.Port())
	if r.bound != nil {
		var f collector.Flow
		r.socket.flow(&f, collector.UDP, sp.inode(), r.written)
		f.Destination = netip.AddrPort{}
		r.bound(&f)
	}
	return nil
}

// flow emits a socket if it is a flow.
func (r *reader) flow(ctx context.Context, m nlraw.Message, sp *namespace, p collector.Protocol) error {
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
