package detector

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
)

// flowKey stands for one port towards one destination: protocol, network namespace,
// zone, destination, and the VIP and port (Local budgets: the source). It is a
// 128-bit SipHash-1-3 with the ledger's secret key, because the addresses of an IPv6
// flow would take 41 bytes of the 100 that a flow may cost: among a million flows
// two share a key with a chance of 1e-27, and nobody without the secret can
// choose two that do.
type flowKey struct{ hi, lo uint64 }

// address is an IP address as two words: IPv4 has hi == 0 and a mark above its 32 bits, which
// no IPv6 address that is routed has.
type address struct{ hi, lo uint64 }

const ipv4Mark = 0xffff << 32

func pack(a netip.Addr) address {
	if a.Is4() {
		b := a.As4()
		return address{0, ipv4Mark | uint64(binary.BigEndian.Uint32(b[:]))}
	}
	if !a.IsValid() {
		return address{}
	}
	b := a.As16()
	return address{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// keyOf hashes f. own is where the flow's port is: VIP, or Source for Local budgets.
func keyOf(secret [2]uint64, f *collector.Flow, own, destination address, ownPort uint16) flowKey {
	s := newSipHash(secret).write(f.Netns).
		write(uint64(f.Protocol) | uint64(f.Zone)<<8 | uint64(ownPort)<<24 | uint64(f.Destination.Port())<<40)
	if own.hi == 0 && destination.hi == 0 {
		return s.write(own.lo<<32 | destination.lo&0xffff_ffff).finish(own.lo>>32<<32 | destination.lo>>32)
	}
	return s.write(own.hi).write(own.lo).write(destination.hi).write(destination.lo).finish(1 << 63)
}

// sipHash is SipHash-1-3 with 128 bits of output, over whole words: Aumasson and Bernstein,
// "SipHash: a fast short-input PRF" (2012).
type sipHash struct{ v0, v1, v2, v3 uint64 }

func newSipHash(k [2]uint64) sipHash {
	return sipHash{
		k[0] ^ 0x736f6d6570736575, k[1] ^ 0x646f72616e646f6d ^ 0xee,
		k[0] ^ 0x6c7967656e657261, k[1] ^ 0x7465646279746573,
	}
}

// A struct of four words stays in registers when it is passed by value.
func (s sipHash) round() sipHash {
	s.v0 += s.v1
	s.v1 = bits.RotateLeft64(s.v1, 13) ^ s.v0
	s.v0 = bits.RotateLeft64(s.v0, 32)
	s.v2 += s.v3
	s.v3 = bits.RotateLeft64(s.v3, 16) ^ s.v2
	s.v0 += s.v3
	s.v3 = bits.RotateLeft64(s.v3, 21) ^ s.v0
	s.v2 += s.v1
	s.v1 = bits.RotateLeft64(s.v1, 17) ^ s.v2
	s.v2 = bits.RotateLeft64(s.v2, 32)
	return s
}

func (s sipHash) write(w uint64) sipHash {
	s.v3 ^= w
	s = s.round()
	s.v0 ^= w
	return s
}

func (s sipHash) finish(last uint64) flowKey {
	s = s.write(last)
	s.v2 ^= 0xee
	s = s.round().round().round()
	hi := s.v0 ^ s.v1 ^ s.v2 ^ s.v3
	s.v1 ^= 0xdd
	s = s.round().round().round()
	return flowKey{hi, s.v0 ^ s.v1 ^ s.v2 ^ s.v3}
}
