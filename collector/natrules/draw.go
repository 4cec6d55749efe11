package natrules

import (
	"encoding/binary"
	"math/bits"
)

// draw is the numbers that numgen draws from, or that a hash is one of: count of them from first on. network says that
// they stand in network byte order. The zero value is of what else is drawn.
type draw struct {
	first, count uint32
	network      bool
}

// among returns the elements that are drawn at all, and whether every draw gives one of them; so it is taken to be
// where the numbers are not known.
func (d draw) among(es []element) (drawn []element, all bool) {
	if d.count == 0 {
		return es, true
	}
	covered := uint64(0)
	for i := range es {
		e := &es[i]
		if e.all {
			return append(drawn, es[i]), true
		}
		if len(e.key) != 4 || len(e.last) != 4 {
			return es, false
		}
		from, to := uint64(d.number(e.key)), uint64(d.number(e.last))
		if e.open && to > 0 {
			to--
		}
		from, to = max(from, uint64(d.first)), min(to, uint64(d.first)+uint64(d.count)-1)
		if from <= to {
			drawn = append(drawn, es[i])
			covered += to - from + 1
		}
	}
	return drawn, covered >= uint64(d.count)
}

// bits are those that differ between the numbers, or may.
func (d draw) bits() uint32 {
	if d.count == 0 {
		return allBits
	}
	return uint32(1)<<bits.Len32(d.first+d.count-1) - 1
}

func (d draw) number(key []byte) uint32 {
	if d.network {
		return binary.BigEndian.Uint32(key)
	}
	return binary.NativeEndian.Uint32(key)
}
