package ledger

import (
	"encoding/binary"
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
)

// flowKey stands for one port towards one destination: it is made of protocol, network namespace, zone, destination,
// and the VIP with its port (under Local budgets the source). It is a SipHash-1-3 of 128 bits with the ledger's secret,
// because the addresses of an IPv6 flow would take 41 of the 100 bytes that a flow may cost. The chance that two of a
// million flows share a key is 1e-27, and without the secret nobody can choose two flows that do.
type flowKey struct{ hi, lo uint64 }

// address is an IP address in two words. An IPv4 address has 0 in hi and a mark above its 32 bits in lo; no IPv6
// address that is routed has both.
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

// keyer makes the keys of flows. Ledgers with equal keyers make the same keys, so one of them makes keys for all.
type keyer struct {
	secret [2]uint64 // as in Config.Key
	local  bool      // ports are those of Source
}

// lookup is what the flow of an event is found by. It depends on the event and the keyer alone.
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

// keyOf returns the key of f; own and ownPort are the address and port that the budget counts. Most flows are IPv4, and
// their key is made of three words; others take six. A bit of the second word tells the two kinds apart.
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
