package sockdiag

import (
	"context"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// direction is who opened a connection.
type direction uint8

// The directions; of two sockets on one local port the higher counts.
const (
	directionUnknown direction = iota
	opened                     // this side
	accepted                   // the other side
)

// direction tells who opened a connection in that state, by what its struct tcp_info counts: a SYN of ours was
// acknowledged as a byte that was never sent, and the SYN-ACK of a connection that was accepted is not counted
// (tcp_snd_una_update, net/ipv4/tcp_input.c, and tcp_create_openreq_child, Linux 6.18). While data is unacknowledged
// the two look alike, and so does a FIN that may have been acknowledged.
func (t *tcpInfo) direction(state uint8) direction {
	switch state {
	case tcpSynSent:
		return opened
	case tcpSynRecv:
		return accepted
	case tcpEstablished, tcpCloseWait:
	default:
		return directionUnknown
	}
	switch {
	case !t.known || t.unacked:
	case t.beyondData == 1:
		return opened
	case t.beyondData == 0:
		return accepted
	}
	return directionUnknown
}

// unsure are the local TCP ports of a namespace whose connections either side may have opened: they were there before
// the first dump and nothing listens there now, and a server that went leaves the connections that it accepted. They
// are no flows until a dump tells. Nil where the direction of all connections is known.
type unsure struct {
	first bool // no dump was complete yet: all ports are unsure
	ports map[uint16]bool
	// found is what the dump in progress tells of ports, shown those of which it does not.
	found map[uint16]direction
	shown map[uint16]bool
}

func newUnsure() *unsure { return &unsure{first: true, ports: map[uint16]bool{}} }

func (u *unsure) has(port uint16) bool { return u != nil && (u.first || u.ports[port]) }

// hides reports whether a connection on port is none of which the dump in progress tells the direction.
func (u *unsure) hides(port uint16) bool {
	if !u.has(port) || u.found[port] != directionUnknown {
		return false
	}
	u.shown[port] = true
	return true
}

// keep ends a complete dump, and returns what is unsure after it.
func (u *unsure) keep() *unsure {
	if u == nil || len(u.shown) == 0 {
		return nil
	}
	return &unsure{ports: u.shown}
}

// findDirections asks what struct tcp_info tells of the connections on unsure ports. TIME_WAIT has none: it goes with
// the other connections on its port.
func (r *reader) findDirections(ctx context.Context, sp *space) error {
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

// askInfo asks for TCP sockets with struct tcp_info.
func (r *reader) askInfo(ctx context.Context, sp *space, states uint32, each func(nlraw.Message) error) error {
	r.extensions = 1 << (attrInfo - 1)
	defer func() { r.extensions = 0 }()
	return r.ask(ctx, sp, collector.TCP, states, each)
}
