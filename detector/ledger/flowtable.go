package ledger

import (
	"math/bits"
	"unsafe"

	"github.com/snatwatch/snatwatch/detector/ledger/prefetch"
)

// Entries stand in blocks of 1024 (64 KB), which start at a cache line. A namespace owns chunks of 64 entries, so that
// the sweep at the end of its dump walks no other namespace's.
const (
	blockShift = 10
	chunkShift = 6
	chunkSize  = 1 << chunkShift
)

// flowTable finds flows by key. Entry 0 is not used, so that 0 can mean none.
type flowTable struct {
	blocks  []*[1 << blockShift]flow
	chunks  []chunk
	spare   []uint32 // chunks nobody owns
	buckets []bucket
	count   int
}

// bucket holds as many slots as fit into a line of the processor's cache, so that a look-up misses the cache once. The
// lower half of a slot is the number of an entry. The upper half is the upper half of the key's hi; it says which
// bucket the slot belongs to, so the table grows without reading entries. A slot that finds its bucket full goes to the
// next bucket with room.
type bucket struct {
	// tags has a byte for each slot, 0 for a free one, so that one comparison covers all slots. The last byte counts the
	// slots that belong to this bucket or one before and stand in a later one; once it is 255 it stays so.
	tags  uint64
	slots [bucketSlots]uint64
}

const (
	bucketSlots = 7
	tagOnes     = 0x00_01_01_01_01_01_01_01
	tagUsed     = 0x80 * tagOnes // the bit that is set in every tag
	tagShift    = 8 * bucketSlots
)

// tagOf returns the tag of a slot, or of the hi of a key, from other bits than home uses.
func tagOf(slot uint64) uint64 { return slot>>32&0xff | 0x80 }

// like sets the upper bit of the byte of each slot that has the tag, and seldom the bit of another slot.
func (b *bucket) like(tag uint64) uint64 {
	x := b.tags ^ tag*tagOnes
	return (x - tagOnes) &^ x & tagUsed
}

// passed reports whether slots that belong to b, or to a bucket before it, stand in a later one.
func (b *bucket) passed() bool { return b.tags>>tagShift != 0 }

// pass counts n more slots that stand in a later bucket; n is 1, or -1 as an unsigned number.
func (b *bucket) pass(n uint64) {
	if b.tags>>tagShift != 0xff {
		b.tags += n << tagShift
	}
}

// chunk is what the entries of a chunk have in common.
type chunk struct {
	netns uint32 // number of the namespace
	// alarm is the tick in which the first of the chunk's live flows may lose its port by a timeout of the budget, 0 if
	// none can. The live flows of a chunk share this one timer.
	alarm uint32
}

// flowSet is the flows of one namespace.
type flowSet struct {
	netns  uint32 // number of the namespace
	chunks []uint32
	free   []uint32 // entries of its chunks that hold no flow; the last of them is taken next
	count  int
}

// at returns entry i. It computes the address, because indexing the block would also read the block's first entry, to
// check that the block is not nil.
func (t *flowTable) at(i uint32) *flow {
	return (*flow)(unsafe.Add(unsafe.Pointer(t.blocks[i>>blockShift]), uintptr(i&(1<<blockShift-1))*unsafe.Sizeof(flow{})))
}

// netnsOf returns the number of the namespace that entry i belongs to.
func (t *flowTable) netnsOf(i uint32) uint32 { return t.chunks[i>>chunkShift].netns }

// each calls do for each entry of set; do may remove it.
func (t *flowTable) each(set *flowSet, do func(i uint32, f *flow)) {
	for c := 0; c < len(set.chunks); c++ {
		first := set.chunks[c] << chunkShift
		for i := first; i < first+chunkSize && set.count > 0; i++ {
			if f := t.at(i); f.phase != phaseFree {
				do(i, f)
			}
		}
	}
}

// home returns the bucket that a slot, or the hi of a key, belongs to.
func (t *flowTable) home(slot uint64) int {
	// The upper half as a fraction of the table: any size will do.
	h, _ := bits.Mul64(slot&^0xffff_ffff, uint64(len(t.buckets)))
	return int(h)
}

// after returns the bucket that follows b.
func (t *flowTable) after(b int) int {
	if b++; b < len(t.buckets) {
		return b
	}
	return 0
}

// find returns the entry of k, 0 if there is none.
func (t *flowTable) find(k flowKey) uint32 {
	n := t.home(k.hi)
	for range t.buckets {
		b := &t.buckets[n]
		for m := b.like(tagOf(k.hi)); m != 0; m &= m - 1 {
			if i := uint32(b.slots[bits.TrailingZeros64(m)/8]); t.at(i).key == k {
				return i
			}
		}
		if !b.passed() {
			break
		}
		n = t.after(n)
	}
	return 0
}

// candidate returns the entry that is most likely of k, without reading it; 0 if there is none.
func (t *flowTable) candidate(k flowKey) uint32 {
	n := t.home(k.hi)
	for range t.buckets {
		b := &t.buckets[n]
		for m := b.like(tagOf(k.hi)); m != 0; m &= m - 1 {
			if s := b.slots[bits.TrailingZeros64(m)/8]; s>>32 == k.hi>>32 {
				return uint32(s)
			}
		}
		if !b.passed() {
			break
		}
		n = t.after(n)
	}
	return 0
}

// readAhead is how many events ApplyAll looks up together. A processor core waits for 10 to 16 cache misses at once;
// 64 events cost 4 % less than 32, and 8 % less than 16.
const readAhead = 64

// fetch has the processor read the buckets of lookups ahead.
func (t *flowTable) fetch(lookups []lookup) {
	if len(t.buckets) == 0 {
		return
	}
	var lines [readAhead]unsafe.Pointer
	for i := range lookups {
		lines[i] = unsafe.Pointer(&t.buckets[t.home(lookups[i].key.hi)])
	}
	prefetch.Lines(&lines[0], len(lookups))
}

// candidates gives the most likely entry of each lookup, 0 where there is none, and has the processor read them ahead.
func (t *flowTable) candidates(lookups []lookup, entries []uint32) {
	if len(t.buckets) == 0 {
		return
	}
	var lines [readAhead]unsafe.Pointer
	for i := range lookups {
		entries[i] = t.candidate(lookups[i].key)
		lines[i] = unsafe.Pointer(t.at(entries[i]))
	}
	prefetch.Lines(&lines[0], len(lookups))
}

// add makes an entry for k, which has none, in set.
func (t *flowTable) add(k flowKey, set *flowSet) uint32 {
	if len(set.free) == 0 {
		t.grab(set)
	}
	last := len(set.free) - 1
	i := set.free[last]
	set.free = set.free[:last]
	*t.at(i) = flow{key: k}
	set.count++
	if t.count++; t.count*5 > len(t.buckets)*bucketSlots*4 {
		t.grow()
	}
	t.put(k.hi&^0xffff_ffff | uint64(i))
	return i
}

func (t *flowTable) put(slot uint64) {
	for n := t.home(slot); ; n = t.after(n) {
		b := &t.buckets[n]
		if free := ^b.tags & tagUsed; free != 0 {
			k := bits.TrailingZeros64(free) / 8
			b.slots[k] = slot
			b.tags |= tagOf(slot) << (8 * k)
			return
		}
		b.pass(1)
	}
}

func (t *flowTable) grow() {
	old := t.buckets
	t.buckets = make([]bucket, max(128, len(old)+len(old)/2))
	for n := range old {
		b := &old[n]
		for m := b.tags & tagUsed; m != 0; m &= m - 1 {
			t.put(b.slots[bits.TrailingZeros64(m)/8])
		}
	}
}

// remove takes entry i out of the table.
func (t *flowTable) remove(i uint32, set *flowSet) {
	f := t.at(i)
	t.take(f.key.hi&^0xffff_ffff | uint64(i))
	t.count--
	*f = flow{}
	set.free = append(set.free, i)
	if set.count--; set.count == 0 {
		t.giveBack(set)
	}
}

func (t *flowTable) take(slot uint64) {
	for n := t.home(slot); ; n = t.after(n) {
		b := &t.buckets[n]
		for m := b.like(tagOf(slot)); m != 0; m &= m - 1 {
			if k := bits.TrailingZeros64(m) / 8; b.slots[k] == slot {
				b.tags &^= 0xff << (8 * k)
				return
			}
		}
		b.pass(^uint64(0))
	}
}

// grab gives set a chunk of free entries.
func (t *flowTable) grab(set *flowSet) {
	if len(t.spare) == 0 {
		first := uint32(len(t.blocks)) << (blockShift - chunkShift)
		t.blocks = append(t.blocks, new([1 << blockShift]flow))
		for c := range uint32(1 << (blockShift - chunkShift)) {
			t.chunks = append(t.chunks, chunk{})
			t.spare = append(t.spare, first+1<<(blockShift-chunkShift)-1-c)
		}
	}
	c := t.spare[len(t.spare)-1]
	t.spare = t.spare[:len(t.spare)-1]
	t.chunks[c].netns = set.netns
	set.chunks = append(set.chunks, c)
	for n := uint32(chunkSize); n > 0; n-- {
		i := c<<chunkShift + n - 1
		if i != 0 {
			set.free = append(set.free, i)
		}
	}
}

// giveBack gives all chunks of an empty set back.
func (t *flowTable) giveBack(set *flowSet) {
	t.spare = append(t.spare, set.chunks...)
	set.chunks, set.free = set.chunks[:0], set.free[:0]
}
