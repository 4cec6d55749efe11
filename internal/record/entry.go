package record

import (
	"encoding/binary"
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
)

// flowKey finds a flow. Two flows may have the same one only if their conntrack ids are equal as well; then the later
// takes the place of the earlier.
type flowKey struct {
	id, ports uint32
	addresses uint64
}

// phase is how far a flow got.
type phase uint8

const (
	absent phase = iota // nothing is here
	live
	ended // its row is written; the kernel still has its entry
	gone  // its row is written, and an event said during a dump that the entry is gone
	left  // its row is written, a dump lacked it, and an event may still say that the entry is gone
)

// entry is a flow, and what is known of it: 128 bytes, two lines of a cache, of which each dump reads most. There is no
// pointer in it, so that the garbage collector need not look at hundreds of thousands of them.
type entry struct {
	key           flowKey
	last          collector.Time // when it was last seen live, or of one that left, when the dump began that lacked it
	opened, ended collector.Interval
	dump          uint32 // the last dump that showed it, or during which an event named it
	// next is the number of the entry that the last dump showed after this one: dumps keep their order.
	next                         uint32
	vip                          side
	zone                         uint16
	protocol                     collector.Protocol
	state                        collector.State
	phase                        phase
	reason                       collector.Reason
	translated, refused, stalled bool

	source, destination side
}

// side is one of the two of a flow: address and port, of IPv4 as mapped into IPv6. The zero side is unknown.
type side [18]byte

func sideOf(a netip.AddrPort) (s side) {
	if a.IsValid() {
		b := a.Addr().As16()
		copy(s[:], b[:])
		binary.BigEndian.PutUint16(s[16:], a.Port())
	}
	return s
}

// address is the inverse of sideOf.
func (s *side) address() netip.AddrPort {
	if *s == (side{}) {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(s[:16])).Unmap(), binary.BigEndian.Uint16(s[16:]))
}

func keyOf(f *collector.Flow) flowKey {
	return flowKey{
		id: f.ID, ports: uint32(f.Source.Port())<<16 | uint32(f.Destination.Port()),
		addresses: uint64(low(f.Source.Addr()))<<32 | uint64(low(f.Destination.Addr())),
	}
}

// low returns the last 32 bits of an address.
func low(a netip.Addr) uint32 {
	b := a.As16()
	return uint32(b[12])<<24 | uint32(b[13])<<16 | uint32(b[14])<<8 | uint32(b[15])
}
