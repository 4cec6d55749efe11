package collector

import (
	"fmt"
	"net/netip"
)

// Protocol is an IP protocol number (IPPROTO_TCP, IPPROTO_UDP).
type Protocol uint8

// Protocols that a budget can hold ports of: include/uapi/linux/in.h.
const (
	TCP Protocol = 6
	UDP Protocol = 17
)

// String returns the protocol as metrics and the page show it.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

// State is what is known of a flow's life, the same for conntrack and sockets.
type State uint8

// The states of a flow.
const (
	// StateUnknown: the message did not say.
	StateUnknown State = iota
	// Opening: the first packet went out and nothing came back. TCP SYN_SENT,
	// UDP without a reply.
	Opening
	// Established: packets went both ways. TCP SYN_RECV and ESTABLISHED, UDP with a reply.
	Established
	// Closing: a FIN was seen, not yet both. TCP FIN_WAIT, CLOSE_WAIT, LAST_ACK.
	Closing
	// Done: the flow has ended and only its entry remains. TCP TIME_WAIT and CLOSE.
	Done
)

var stateNames = [...]string{"unknown", "opening", "established", "closing", "done"}

func (s State) String() string { return name(stateNames[:], int(s), "state") }

// Reason is why a flow ended.
type Reason uint8

// The reasons, in the order of every array that a Reason indexes.
const (
	// ReasonUnknown: the flow is gone and nothing says why.
	ReasonUnknown Reason = iota
	// FIN: both sides closed.
	FIN
	// RST: one side reset.
	RST
	// Timeout: the first packet was never answered.
	Timeout
	// Idle: no packet for the idle timeout of the budget, or UDP expired.
	Idle
	// Evicted: the kernel took the entry away before its timeout (early drop, or its
	// port was given to another flow).
	Evicted
	// NumReasons is the length of an array indexed by Reason.
	NumReasons
)

var reasonNames = [...]string{"unknown", "fin", "rst", "timeout", "idle", "evicted"}

// String returns the reason as the label "reason" shows it.
func (r Reason) String() string { return name(reasonNames[:], int(r), "reason") }

// Flow is one connection as it looks where it leaves the machine. In an
// Event it is a view: valid until the Sink returns.
type Flow struct {
	Protocol Protocol
	State    State
	// Reason is set when State is Done or the event is Closed.
	Reason Reason
	// Translated: this machine's NAT changed the source (IPS_SRC_NAT).
	Translated bool
	// Refused: the first packet was answered by a reset (Reason RST; in conntrack a TCP
	// entry that never got IPS_ASSURED).
	Refused bool
	// PickedUp: conntrack met the flow in its middle, because its table was flushed or another machine had the flow
	// before.
	PickedUp bool
	// Offloaded: a flow table sees its packets now (IPS_OFFLOAD), and conntrack does not.
	Offloaded bool
	// Zone is the conntrack zone of the packets that come back: the kernel gives out a port once in each such zone.
	// ZoneOut is the zone of the packets that leave. They differ only if a rule sets the zone of one direction. Both are 0
	// for sockets.
	Zone, ZoneOut uint16
	// ID is CTA_ID, or the lower half of a socket's cookie: it tells apart two flows that
	// had the same tuple, one after the other. 0 where unknown.
	ID uint32
	// Netns is the inode number of the network namespace where the flow was seen.
	Netns uint64

	// Source is the flow's own address and port before translation, Destination
	// the remote end, VIP the public address and port after translation (equal
	// to Source when not translated). Addresses are unmapped (no ::ffff:).
	Source, Destination, VIP netip.AddrPort

	// Opened bounds when the flow opened.
	Opened Interval
	// Ended bounds when it ended; the zero Interval while it lives.
	Ended Interval
	// Active is the time of the last packet in either direction, 0 where unknown.
	Active Time
	// Expires is when conntrack forgets a live flow at the earliest, if no packet of it comes before; 0 where unknown.
	Expires Time
	// Cut is when the flow ended at the latest, if a flow table saw its packets before: conntrack then does not believe
	// its RST. 0 where nothing says so.
	Cut Time

	// Inode and Cgroup (cgroup v2 id) name the socket's owner; sockets only,
	// 0 where unknown.
	Inode uint32
	// Owner is the number of who holds the flow's port; the source leaves it 0.
	Owner  OwnerNumber
	Cgroup uint64
}

func name(names []string, i int, kind string) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("%s %d", kind, i)
}
