package ledger

import (
	"encoding/binary"
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

func (a address) is4() bool { return a.hi == 0 && a.lo>>32 == ipv4Mark>>32 }

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

// keyer makes the keys of flows. Ledgers whose keyers are the same share what one of them made.
type keyer struct {
	secret [2]uint64 // as in Config.Key
	local  bool      // ports are those of Source
}

// lookup is what finds the flow of an event in a table of flows. It depends on the event and the keyer alone.
type lookup struct {
	key               flowKey
	home, destination address // home is of the flow's port: the VIP, or the source under Local budgets
	port              uint16  // that the flow holds
}

// lookup fills k for event e. k stays zero for an event of no TCP or UDP flow.
func (y *keyer) lookup(e *collector.Event, k *lookup) {
	f := &e.Flow
	ofFlow := e.Kind == collector.Seen || e.Kind == collector.Opened || e.Kind == collector.Closed
	if !ofFlow || f.Protocol != collector.TCP && f.Protocol != collector.UDP {
		*k = lookup{}
		return
	}
	own := y.own(f)
	k.home, k.destination, k.port = pack(own.Addr()), pack(f.Destination.Addr()), own.Port()
	k.key = keyOf(y.secret, f, k.home, k.destination, k.port)
}

// own returns the address and port that the budget of f counts.
func (y *keyer) own(f *collector.Flow) netip.AddrPort {
	if y.local {
		return f.Source
	}
	return f.VIP
}

// keyOf hashes f. own is where the flow's port is: VIP, or Source for Local budgets. Most flows
// are IPv4 and take three words; a bit of the second tells these from those that take six.
func keyOf(secret [2]uint64, f *collector.Flow, own, destination address, ownPort uint16) flowKey {
	meta := uint64(f.Protocol) | uint64(f.Zone)<<8 | uint64(ownPort)<<24 | uint64(f.Destination.Port())<<40
	if own.is4() && destination.is4() {
		return sipHash(secret, f.Netns, meta|1<<56, own.lo<<32|destination.lo&0xffff_ffff)
	}
	return sipHash(secret, f.Netns, meta, own.hi, own.lo, destination.hi, destination.lo)
}

// sipHash is SipHash-1-3 with 128 bits of output, over whole words: Aumasson and Bernstein,
// "SipHash: a fast short-input PRF" (2012).
func sipHash(k [2]uint64, words ...uint64) flowKey {
	v0, v1 := k[0]^0x736f6d6570736575, k[1]^0x646f72616e646f6d^0xee
	v2, v3 := k[0]^0x6c7967656e657261, k[1]^0x7465646279746573
	for _, w := range words {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3^w)
		v0 ^= w
	}
	v2 ^= 0xee
	for range 3 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	hi := v0 ^ v1 ^ v2 ^ v3
	v1 ^= 0xdd
	for range 3 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	return flowKey{hi, v0 ^ v1 ^ v2 ^ v3}
}

// sipRound is small enough for the compiler to put it where it is called.
func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v2 += v3
	v1 = (v1<<13 | v1>>51) ^ v0
	v3 = (v3<<16 | v3>>48) ^ v2
	v0 = v0<<32 | v0>>32
	v2 += v1
	v0 += v3
	v1 = (v1<<17 | v1>>47) ^ v2
	v3 = (v3<<21 | v3>>43) ^ v0
	return v0, v1, v2<<32 | v2>>32, v3
}
