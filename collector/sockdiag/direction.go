package sockdiag

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
