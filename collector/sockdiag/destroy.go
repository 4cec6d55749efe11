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
	// freeDelay is ample for what lies between a socket's end and the message of it: a
	// grace period of RCU and a work queue.
	freeDelay = time.Second
	// drainBatch is how many are read by one call, drainRounds how many such calls come in a row.
	drainBatch  = 64
	drainRounds = 1024
)

// drain reads what the destroy groups have sent since the last time, and emits the end of each flow among it. It
// returns errors of the Sink and of ctx, and counts all others.
func (r *reader) drain(ctx context.Context, sp *namespace) error {
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

func (r *reader) datagram(ctx context.Context, sp *namespace, i int) error {
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
func (r *reader) closed(ctx context.Context, sp *namespace, msg []byte) error {
	g, stats := &r.gone, &sp.stats.Destroyed
	if g.foundNoPort() {
		return r.noPort(ctx, sp)
	}
	if !g.wasFlow(sp) {
		stats.Others++
		return nil
	}
	reason := g.reason()
	if reason == collector.FIN {
		left, err := r.lingers(ctx, sp, g.family, msg)
		if err != nil {
			return err
		}
		if left {
			stats.Lingering++
			return nil
		}
	}
	e, err := r.out.Next(ctx)
	if err != nil {
		return err
	}
	stats.Closed++
	if !g.whole() {
		stats.Unknown++
	}
	*e = collector.Event{Kind: collector.Closed, At: r.now(), Netns: sp.inode()}
	g.end(e, reason, sp.drained)
	return nil
}

// whole reports whether the socket still has its destination. A TCP socket that was disconnected, by a reset or a
// refused connect, has lost it.
func (d *destroyed) whole() bool { return d.remote.Port() != 0 && !d.remote.Addr().IsUnspecified() }

// wasFlow reports whether the socket was a connection that this machine opened towards another.
func (d *destroyed) wasFlow(sp *namespace) bool {
	heard := &sp.tcp
	if d.protocol == collector.UDP {
		heard = &sp.udp
	}
	// What was disconnected has not lost that it was connected.
	disconnected := !d.whole() && d.protocol == collector.TCP && d.info.known && d.info.connected
	switch {
	case !d.whole() && !disconnected, d.whole() && !d.leavesMachine(), d.remote.Addr().IsLoopback(),
		heard.has(d.local.Port()), d.protocol == collector.TCP && sp.unsure.has(d.local.Port()):
		return false
	}
	return true
}

// reason returns why the flow ended, as far as struct tcp_info tells.
func (d *destroyed) reason() collector.Reason {
	switch {
	case !d.whole() || d.protocol != collector.TCP || !d.info.known:
	case d.info.finAcked:
		return collector.FIN
	case d.info.unanswered:
		return collector.Timeout
	case d.info.refused:
		return collector.RST
	}
	return collector.ReasonUnknown
}

// end fills the flow of e. The destroy groups were last read at drained.
func (d *destroyed) end(e *collector.Event, reason collector.Reason, drained collector.Time) {
	f := &e.Flow
	*f = collector.Flow{
		Protocol: d.protocol, State: collector.Done, Reason: reason, Netns: e.Netns,
		Opened: collector.Interval{To: e.At}, Ended: collector.Interval{From: drained.Add(-freeDelay), To: e.At},
	}
	if d.protocol == collector.TCP {
		f.ID = uint32(d.cookie)
	}
	if !d.local.Addr().IsUnspecified() && d.local.Port() != 0 {
		f.Source, f.VIP = d.local, d.local
	}
	if !d.whole() {
		return
	}
	f.Destination = d.remote
	f.Refused = reason == collector.RST
	if d.info.known {
		// The flow may have ended before its socket was closed, but not before its last packet.
		f.Active = e.At.Add(-d.info.lastPacket)
		f.Ended.From = min(f.Active.Add(-jiffy), e.At)
	}
}

// foundNoPort reports whether connect returned EADDRNOTAVAIL to the socket's owner: tcp_v4_connect and tcp_v6_connect
// (Linux 6.18) write the destination's address into the socket, then look for a port, and if there is none take back
// the destination's port alone. A socket of its own port that met a connection with the same addresses has that port.
func (d *destroyed) foundNoPort() bool {
	return d.protocol == collector.TCP && d.info.known && !d.info.connected &&
		d.local.Port() == 0 && d.remote.Port() == 0 && !d.remote.Addr().IsUnspecified()
}

// noPort emits that r.gone found no port.
func (r *reader) noPort(ctx context.Context, sp *namespace) error {
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
func (r *reader) lingers(ctx context.Context, sp *namespace, family uint8, msg []byte) (bool, error) {
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
