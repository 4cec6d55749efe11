package conntrack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

const (
	// drainBatch is how many events one system call reads.
	drainBatch = 64
	// eventBytes is what an event takes of the queue's room.
	eventBytes = 2 << 10
	// drainLeast is the shortest time from one read of the events to the next.
	drainLeast = 5 * time.Millisecond
	// rateLeast is how many events a second are reckoned with where fewer came of late.
	rateLeast = 1000
)

// listener reads the events of flows that open and end. It does not ask for events of flows that change: they would
// cost the packet path 10 µs a connection.
type listener struct {
	conn  *nlraw.Conn
	table *table // to parse with, and to emit through
	// slots take turns: during a dump, the listener holds back what it read last.
	slots [2]slot
	turn  int
	// began is when it began to listen, empty the last moment at which nothing was left to be read.
	began, empty collector.Time
	// lost is set by an overrun, until a dump begins.
	lost bool
	// silent is set when events are found to be off, until a dump begins.
	silent bool

	// room is how many events its queue holds, rate how many come a second, of late the most.
	room, rate float64
	paced      collector.Time // when rate was last taken
	pacedThen  uint64         // opened and closed then

	counts
	reported counts // what Stats has of them already
}

// counts is what a listener has seen.
type counts struct{ opened, closed, overruns uint64 }

// slot is what one system call read.
type slot struct {
	datagrams *nlraw.Datagrams
	// The events came in (from, at].
	from, at collector.Time
	held     bool
}

// listen opens a listener in the namespace of descriptor ns. Its queue holds buffer bytes; an event takes about 2 KiB.
func listen(ns, buffer int, t *table) (*listener, error) {
	conn, err := dial(ns)
	if err != nil {
		return nil, err
	}
	l := &listener{conn: conn, table: t, empty: t.clock.read()}
	l.began, l.paced = l.empty, l.empty
	for i := range l.slots {
		l.slots[i].datagrams = nlraw.NewDatagrams(drainBatch)
	}
	if err := l.join(buffer); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return l, nil
}

func (l *listener) join(buffer int) error {
	nl := l.conn.Netlink()
	if err := nl.SetReadBuffer(buffer); err != nil { // SO_RCVBUFFORCE where allowed
		return fmt.Errorf("set receive buffer to %d: %w", buffer, err)
	}
	size, err := l.conn.ReadBuffer() // without the right to force it, net.core.rmem_max bounds it
	if err != nil {
		return err
	}
	l.room = float64(size) / eventBytes
	if l.table.translated {
		program, err := bpf.Assemble(translatedOnly())
		if err != nil {
			return err
		}
		if err := nl.SetBPF(program); err != nil {
			return fmt.Errorf("filter events: %w", err)
		}
	}
	for _, group := range []uint32{unix.NFNLGRP_CONNTRACK_NEW, unix.NFNLGRP_CONNTRACK_DESTROY} {
		if err := nl.JoinGroup(group); err != nil {
			return kernelError("listen to conntrack", err)
		}
	}
	return l.conn.Detach()
}

// translatedOnly is a socket filter that lets an event pass if CTA_STATUS has IPS_SRC_NAT, or is
// absent. It saves the reader and its queue, not the packet path.
func translatedOnly() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadConstant{Dst: bpf.RegA, Val: unix.NLMSG_HDRLEN + sizeofNfgenmsg},
		bpf.LoadConstant{Dst: bpf.RegX, Val: uint32(attrStatus)},
		bpf.LoadExtension{Num: bpf.ExtNetlinkAttr}, // A = offset of the attribute, 0 if there is none
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 3},
		bpf.TAX{},
		bpf.LoadIndirect{Off: unix.SizeofNlAttr, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: ipsSrcNAT, SkipTrue: 1},
		bpf.RetConstant{Val: 0xffff},
		bpf.RetConstant{Val: 0},
	}
}

// pace takes the rate at which events have come since the last call.
func (l *listener) pace(now collector.Time) {
	events := l.opened + l.closed
	if since := now.Sub(l.paced); since > 0 {
		l.rate = max(float64(events-l.pacedThen)/since.Seconds(), l.rate*7/8)
		l.paced, l.pacedThen = now, events
	}
}

// pause returns how long events may wait to be read: until they fill a tenth of their room as they come of late, so
// that ten times as many find room too.
func (l *listener) pause(longest time.Duration) time.Duration {
	if wait := l.room / 10 / max(l.rate, rateLeast); wait < longest.Seconds() {
		return min(max(time.Duration(wait*float64(time.Second)), drainLeast), longest)
	}
	return longest
}

// drain emits all events that are there.
func (l *listener) drain(ctx context.Context) error {
	s := &l.slots[0]
	for {
		more, err := l.read(ctx, s)
		if err != nil {
			return err
		}
		if err := l.emit(ctx, s); err != nil {
			return err
		}
		if !more {
			l.pace(s.at)
			return l.table.out.Flush(ctx)
		}
	}
}

// between emits, during a dump, what was read two reads of the dump ago, and reads more. An
// event must not overtake what the kernel had written before it: the flow that an event ends
// may stand in a datagram of the dump that was prepared then and not read yet.
func (l *listener) between(ctx context.Context) error {
	s := &l.slots[l.turn]
	if err := l.emit(ctx, s); err != nil {
		return err
	}
	_, err := l.read(ctx, s)
	l.turn ^= 1
	return err
}

// release emits, after a dump, what the listener held back.
func (l *listener) release(ctx context.Context) error {
	for range l.slots {
		if err := l.emit(ctx, &l.slots[l.turn]); err != nil {
			return err
		}
		l.turn ^= 1
	}
	return l.table.out.Flush(ctx)
}

// read fills s, and reports whether there may be more. If the kernel had to drop events, read emits an Overrun.
func (l *listener) read(ctx context.Context, s *slot) (more bool, err error) {
	start := l.table.clock.read()
	err = l.conn.ReceiveReady(s.datagrams)
	s.from, s.at, s.held = l.empty, l.table.clock.read(), true
	switch {
	case errors.Is(err, unix.ENOBUFS):
		l.lost = true
		l.overruns++
		return true, l.table.out.Mark(ctx, collector.Overrun, s.at, l.table.netns)
	case err != nil:
		return false, kernelError("read conntrack events", err)
	case s.datagrams.Len() == s.datagrams.Cap():
		return true, nil
	}
	l.empty = start
	return false, nil
}

// emit emits what s holds.
func (l *listener) emit(ctx context.Context, s *slot) error {
	if !s.held {
		return nil
	}
	s.held = false
	t := l.table
	r := reading{from: s.from, at: s.at, clock: t.clock, timeouts: t.timeouts}
	for i := range s.datagrams.Len() {
		b, whole := s.datagrams.Datagram(i)
		if !whole {
			t.found.parseErrors++
			t.found.parseError = nlraw.ErrMalformed
			continue
		}
		for len(b) > 0 {
			var m nlraw.Message
			var err error
			if m, b, err = nlraw.Next(b); err != nil {
				t.found.parseErrors++
				t.found.parseError = err
				break
			}
			if err := l.event(ctx, &r, m); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *listener) event(ctx context.Context, r *reading, m nlraw.Message) error {
	t := l.table
	if m.Type != msgNew && m.Type != msgDelete || !t.parse(m.Data) {
		return nil
	}
	if p := t.msg.orig.proto; p != collector.TCP && p != collector.UDP {
		return nil
	}
	e, err := t.out.Next(ctx)
	if err != nil {
		return err
	}
	*e = collector.Event{Kind: collector.Opened, At: r.at, Netns: t.netns}
	e.Flow.Netns = t.netns
	if m.Type == msgNew {
		l.opened++
		r.fillOpened(&e.Flow, &t.msg)
		return nil
	}
	l.closed++
	e.Kind = collector.Closed
	r.fillClosed(&e.Flow, &t.msg)
	return nil
}
