package owner

import (
	"cmp"
	"hash/maphash"
	"math"
	"net/netip"
	"slices"

	"github.com/snatwatch/snatwatch/collector"
)

// index tells by a key of 48 bits whose a socket is. It takes 8 bytes a socket: a machine may have a hundred thousand
// of its own.
type index struct {
	// entries are sorted: 48 bits of a key and then 16 of a number in ids.
	entries []uint64
	ids     []Identity
}

const idBits = 16

// find returns whose the socket of a key is.
func (x *index) find(key uint64) (Identity, bool) {
	if x == nil {
		return Identity{}, false
	}
	i, found := slices.BinarySearchFunc(x.entries, key<<idBits, func(e, want uint64) int {
		return cmp.Compare(e>>idBits, want>>idBits)
	})
	if !found {
		return Identity{}, false
	}
	return x.ids[x.entries[i]&math.MaxUint16], true
}

// of returns whose a flow of conntrack is: of the socket that is connected so, and where none is, as of a UDP socket
// that sends to many, of the one that is bound to its source.
func (x *index) of(f *collector.Flow) (Identity, bool) {
	id, ok := x.find(keyOf(f).bits())
	if ok || f.Protocol != collector.UDP {
		return id, ok
	}
	// Where 0.0.0.0 and [::] are both bound to the port, that of [::] sends nothing by IPv4: 0.0.0.0 comes first.
	from := [...]netip.Addr{f.Source.Addr(), netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	for _, a := range from {
		if a.Is4() && !f.Source.Addr().Is4() {
			continue // a socket of IPv4 sends nothing by IPv6
		}
		k := flowKey{source: netip.AddrPortFrom(a, f.Source.Port()), protocol: collector.UDP}
		if id, ok = x.find(k.bits()); ok {
			break
		}
	}
	return id, ok
}

// indexer makes an index.
type indexer struct {
	index
	numbers map[Identity]uint64
}

func newIndexer() *indexer { return &indexer{numbers: map[Identity]uint64{}} }

// add notes whose the socket of a key is. More owners than can be numbered are left out.
func (x *indexer) add(key uint64, id Identity) {
	n, known := x.numbers[id]
	if !known {
		if len(x.ids) > math.MaxUint16 {
			return
		}
		n = uint64(len(x.ids))
		x.numbers[id] = n
		x.ids = append(x.ids, id)
	}
	x.entries = append(x.entries, key<<idBits|n)
}

// done returns the index, with no more memory than it needs.
func (x *indexer) done() *index {
	slices.Sort(x.entries)
	return &index{slices.Clip(slices.Clone(x.entries)), x.ids}
}

var hashSeed = maphash.MakeSeed()

// bits are 48 bits of a hash: among a hundred thousand sockets a flow without one is taken for one of them once in
// three billion times.
func (k flowKey) bits() uint64 { return maphash.Comparable(hashSeed, k) >> idBits }
