package flowlog

import (
	"encoding/binary"
	"math/bits"
)

// live is a flow that has not ended as far as the log was read.
type live struct {
	tuple      Tuple
	start, end int64
	space      int32 // of Counter.spaces
}

// flowTable finds live flows by tuple, in hash tables with linear probing that the garbage collector need not look
// into. It grows with the flows that are live at a time.
type flowTable struct {
	slots []flowSlot // a power of two, at most half of them taken
	flows slab[live]
}

// flowSlot holds the upper half of a hash, the lower half of which says where the slot should be.
type flowSlot struct {
	hash uint32
	flow uint32 // of flows, from 1 on; 0 for none
}

// slotsLeast is how many slots a table begins with.
const slotsLeast = 1 << 10

func newFlowTable() *flowTable { return &flowTable{slots: make([]flowSlot, slotsLeast)} }

// hash spreads tuples well enough for logs, whose writers mean no harm.
func (t *Tuple) hash() uint64 {
	ports := uint64(t.SourcePort)<<24 | uint64(t.DestinationPort)<<8 | uint64(t.Protocol)
	return hashEnds(&t.Source, &t.Destination, ports)
}

func hashEnds(source, destination *Addr, ports uint64) uint64 {
	const k0, k1, k2 = 0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb
	h := fold(source.word(0)^k0, source.word(8)^k1)
	h ^= fold(destination.word(0)^k1, destination.word(8)^k2)
	return fold(h^ports, k0)
}

func (a *Addr) word(i int) uint64 { return binary.LittleEndian.Uint64(a[i:]) }

func fold(x, y uint64) uint64 {
	high, low := bits.Mul64(x, y)
	return high ^ low
}

// slot returns the slot of a tuple, or the empty one where it would be.
func (t *flowTable) slot(tuple *Tuple, hash uint64) uint32 {
	mask := uint32(len(t.slots) - 1)
	i := uint32(hash) & mask
	for ; t.slots[i].flow != 0; i = (i + 1) & mask {
		if s := t.slots[i]; s.hash == uint32(hash>>32) && t.flows.at(s.flow-1).tuple == *tuple {
			break
		}
	}
	return i
}

// find returns the flow of a tuple, nil for none, valid until the next remove or sweep.
func (t *flowTable) find(tuple *Tuple, hash uint64) *live {
	if s := t.slots[t.slot(tuple, hash)]; s.flow != 0 {
		return t.flows.at(s.flow - 1)
	}
	return nil
}

// add takes a flow whose tuple is not there.
func (t *flowTable) add(f live, hash uint64) {
	t.slots[t.slot(&f.tuple, hash)] = flowSlot{uint32(hash >> 32), t.flows.add(f) + 1}
	if 2*t.flows.n > uint32(len(t.slots)) {
		t.place(2 * len(t.slots))
	}
}

// remove drops the flow of a tuple that is there.
func (t *flowTable) remove(tuple *Tuple, hash uint64) {
	i := t.slot(tuple, hash)
	gone, last := t.slots[i].flow-1, t.flows.n-1
	if gone != last {
		moved := t.flows.at(last)
		t.slots[t.slot(&moved.tuple, moved.tuple.hash())].flow = gone + 1
		*t.flows.at(gone) = *moved
	}
	t.flows.n--
	mask := uint32(len(t.slots) - 1)
	for j := (i + 1) & mask; t.slots[j].flow != 0; j = (j + 1) & mask {
		// The flow at j fills the gap if that is not before the slot where it should be.
		if home := uint32(t.flows.at(t.slots[j].flow-1).tuple.hash()) & mask; (j-home)&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = flowSlot{}
}

// place finds each flow a slot anew, of so many.
func (t *flowTable) place(slots int) {
	if slots == len(t.slots) {
		clear(t.slots)
	} else {
		t.slots = make([]flowSlot, slots)
	}
	for i := range t.flows.n {
		f := t.flows.at(i)
		h := f.tuple.hash()
		t.slots[t.slot(&f.tuple, h)] = flowSlot{uint32(h >> 32), i + 1}
	}
}

// sweep keeps the flows that keep says yes to.
func (t *flowTable) sweep(keep func(*live) bool) {
	n := uint32(0)
	for i := range t.flows.n {
		if f := t.flows.at(i); keep(f) {
			*t.flows.at(n) = *f
			n++
		}
	}
	if n < t.flows.n {
		t.flows.n = n
		t.place(len(t.slots))
	}
}

// endTable remembers when flows ended, by the hash of their tuples: two tuples of one hash are once in many billions.
type endTable struct {
	slots []endSlot // a power of two, at most half of them taken
	n     int
}

type endSlot struct {
	hash uint64
	end  int64 // 0 for none
}

func newEndTable() *endTable { return &endTable{slots: make([]endSlot, slotsLeast)} }

// find returns the slot of a hash, or the empty one where it would be, valid until the next put or sweep.
func (t *endTable) find(hash uint64) *endSlot {
	mask := uint64(len(t.slots) - 1)
	i := hash & mask
	for t.slots[i].end != 0 && t.slots[i].hash != hash {
		i = (i + 1) & mask
	}
	return &t.slots[i]
}

// put remembers an end in the slot of its hash.
func (t *endTable) put(s *endSlot, hash uint64, end int64) {
	end = max(end, 1)
	if s.end == 0 {
		t.n++
	}
	*s = endSlot{hash, end}
	if 2*t.n > len(t.slots) {
		old := t.slots
		t.slots = make([]endSlot, 2*len(old))
		for _, s := range old {
			if s.end != 0 {
				*t.find(s.hash) = s
			}
		}
	}
}

// sweep forgets ends before a time.
func (t *endTable) sweep(before int64) {
	for i := range t.slots {
		// What moves into the slot is looked at, too.
		for s := &t.slots[i]; s.end != 0 && s.end < before; {
			t.remove(uint64(i))
		}
	}
}

// remove empties a slot, and lets those that had to give way to it move up.
func (t *endTable) remove(i uint64) {
	t.n--
	mask := uint64(len(t.slots) - 1)
	for j := (i + 1) & mask; t.slots[j].end != 0; j = (j + 1) & mask {
		if home := t.slots[j].hash & mask; (j-home)&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = endSlot{}
}

// slab is a list that never moves, so that growing it leaves nothing behind.
type slab[E any] struct {
	chunks []*[chunkSize]E
	n      uint32
}

const chunkSize = 1 << 12

func (s *slab[E]) at(i uint32) *E { return &s.chunks[i/chunkSize][i%chunkSize] }

// add returns the new element's number.
func (s *slab[E]) add(e E) uint32 {
	if s.n == uint32(len(s.chunks)*chunkSize) {
		s.chunks = append(s.chunks, new([chunkSize]E))
	}
	*s.at(s.n) = e
	s.n++
	return s.n - 1
}
