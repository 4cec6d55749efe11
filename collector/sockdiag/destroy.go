package sockdiag

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

const (
	// drainEvery is how often destroyed sockets are read. A read per event would cost six
	// times as much, and the sockets' owners a wake-up each. drainOften is for receive buffers
	// that could not be made large and hold some 200 sockets.
	drainEvery = 100 * time.Millisecond
	drainOften = 20 * time.Millisecond
	// drainQuiet is how often those of a namespace are read that had no flow at its last dump: most are pods that open
	// nothing.
	drainQuiet = 500 * time.Millisecond
	// receiveBuffer holds about 16 000 destroyed sockets: what closes during a long dump.
	receiveBuffer = 32 << 20
	// freeDelay is ample for what lies between a socket's end and the message of it: a
	// grace period of RCU and a work queue.
	freeDelay = time.Second
	// drainBatch is how many are read by one call, drainRounds how many such calls come in a row.
	drainBatch  = 64
	drainRounds = 1024
)

// drain reads what the destroy groups have sent since the last time, and emits the end of each flow among it. It
// returns errors of the Sink and of ctx, and counts all others.
func (r *reader) drain(ctx context.Context, sp *space) error {
	if sp.events == nil {
		return nil
	}
	if r.datagrams == nil {
		r.datagrams = nlraw.NewDatagrams(drainBatch)
	}
	asked := r.now()
	defer func() { sp.drained = asked }()
	for range drainRounds {
		err := sp.events.ReceiveReady(r.datagrams)
		if errors.Is(err, unix.ENOBUFS) {
			sp.stats.Destroyed.Overruns++
			if err := r.mark(ctx, collector.Overrun, sp.inode()); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			sp.stats.failed(err, r.now())
			break
		}
		for i := range r.datagrams.Len() {
			if err := r.datagram(ctx, sp, i); err != nil {
				return err
			}
		}
		if r.datagrams.Len() < r.datagrams.Cap() {
			break
		}
	}
	return r.out.Flush(ctx)
}

func (r *reader) datagram(ctx context.Context, sp *space, i int) error {
	b, ok := r.datagrams.Datagram(i)
	for ok && len(b) > 0 {
		m, rest, err := nlraw.Next(b)
		if err != nil {
			ok = false
			break
		}
		b = rest
		if m.Type != sockDiagByFamily {
			continue
		}
		sp.stats.Destroyed.Told++
		if err := r.gone.parse(m.Data); err != nil {
			sp.stats.Malformed++
			sp.stats.failed(fmt.Errorf("destroyed socket: %w", err), r.now())
			continue
		}
		sp.stats.UnknownAttributes += uint64(r.gone.unknown)
		if err := r.closed(ctx, sp, m.Data); err != nil {
			return err
		}
	}
	if !ok {
		sp.stats.Malformed++
	}
	return nil
}

// closed emits the end of the flow r.gone, if the socket was a flow and the kernel keeps nothing of it.
func (r *reader) closed(ctx context.Context, sp *space, msg []byte) error {
	g, stats := &r.gone, &sp.stats.Destroyed
	heard := &sp.tcp
	if g.protocol == collector.UDP {
		heard = &sp.udp
	}
	if g.foundNoPort() {
		return r.noPort(ctx, sp)
	}
	whole := g.remote.Port() != 0 && !g.remote.Addr().IsUnspecified()
	// A TCP socket that was disconnected, by a reset or a refused connect, has lost its
	// addresses, but not that it was connected.
	disconnected := !whole && g.protocol == collector.TCP && g.info.known && g.info.connected
	switch {
	case !whole && !disconnected, whole && !g.leavesMachine(), g.remote.Addr().IsLoopback(), heard.has(g.local.Port()),
		g.protocol == collector.TCP && sp.unsure.has(g.local.Port()):
		stats.Others++
		return nil
	}
	reason := collector.ReasonUnknown
	if whole && g.protocol == collector.TCP && g.info.known {
		switch {
		case g.info.finAcked:
			left, err := r.lingers(ctx, sp, g.family, msg)
			if err != nil {
				return err
			}
			if left {
				stats.Lingering++
				return nil
			}
			reason = collector.FIN
		case g.info.unanswered:
			reason = collector.Timeout
		case g.info.refused:
			reason = collector.RST
		}
	}
	e, err := r.out.Next(ctx)
	if err != nil {
		return err
	}
	stats.Closed++
	now := r.now()
	*e = collector.Event{Kind: collector.Closed, At: now, Netns: sp.inode()}
	f := &e.Flow
	*f = collector.Flow{
		Protocol: g.protocol, State: collector.Done, Reason: reason, Netns: sp.inode(),
		Opened: collector.Interval{To: now}, Ended: collector.Interval{From: sp.drained.Add(-freeDelay), To: now},
	}
	if g.protocol == collector.TCP {
		f.ID = uint32(g.cookie)
	}
	if !g.local.Addr().IsUnspecified() && g.local.Port() != 0 {
		f.Source, f.VIP = g.local, g.local
	}
	if !whole {
		stats.Unknown++
		return nil
	}
	f.Destination = g.remote
	f.Refused = reason == collector.RST
	if g.info.known {
		// The flow may have ended before its socket was closed, but not before its last packet.
		f.Active = now.Add(-g.info.lastPacket)
		f.Ended.From = min(f.Active.Add(-jiffy), now)
	}
	return nil
}

// foundNoPort reports whether connect returned EADDRNOTAVAIL to the socket's owner: tcp_v4_connect and tcp_v6_connect
// (Linux 6.18) write the destination's address into the socket, then look for a port, and if there is none take back
// the destination's port alone. A socket of its own port that met a connection with the same addresses has that port.
func (d *destroyed) foundNoPort() bool {
	return d.protocol == collector.TCP && d.info.known && !d.info.connected &&
		d.local.Port() == 0 && d.remote.Port() == 0 && !d.remote.Addr().IsUnspecified()
}

// noPort emits that r.gone found no port.
func (r *reader) noPort(ctx context.Context, sp *space) error {
	to := r.gone.remote
	if to.Addr().IsLoopback() {
		sp.stats.Destroyed.Others++
		return nil
	}
	e, err := r.out.Next(ctx)
	if err != nil {
		return err
	}
	sp.stats.Destroyed.NoPort++
	*e = collector.Event{Kind: collector.NoPort, At: r.now(), Netns: sp.inode()}
	e.Flow = collector.Flow{Protocol: collector.TCP, Netns: sp.inode(), Destination: to}
	return nil
}

// lingers asks whether the flow lives on without its socket: in TIME_WAIT, or in FIN_WAIT2 without an owner. The next
// dump shows either, and when it ended.
func (r *reader) lingers(ctx context.Context, sp *space, family uint8, msg []byte) (bool, error) {
	if sp.dump == nil {
		return true, nil
	}
	left := false
	req := requestSocket(family, msg[msgSockID:msgSockID+sizeofSockID])
	err := sp.dump.Get(ctx, req, func(m nlraw.Message) error {
		left = r.socket.parse(m.Data) == nil && r.socket.timer == timerTimeWait
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err == nil, errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESTALE):
	default:
		sp.stats.failed(fmt.Errorf("look up a closed socket: %w", err), r.now())
	}
	return left, nil
}
