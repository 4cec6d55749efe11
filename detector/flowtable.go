package detector

import (
	"math/bits"

	"github.com/snatwatch/snatwatch/collector"
)

// phase is what a flow's entry stands for.
type phase uint8

const (
	phaseFree    phase = iota
	phaseLive          // the flow lives and holds its port
	phaseCooling       // it ended and its port is not free yet
	phaseGone          // it ended, its port is free, the kernel may still show it
)

// What is known of an entry besides.
const (
	flagTold      = 1 << iota // its end came as an event: a dump that began before may still show it
	flagMissed                // the last complete dump did not show it
	flagAtCeiling             // its port space was at its effective ceiling when it opened
	flagSwept                 // it ended because a dump did not show it
	flagOwnClock              // it ended by the ledger's idle or half-open clock, not in the kernel
	flagTranslated
	flagOpening // live, and a dump showed it without an answer
	flagOwed    // live, and the end of the flow before it is not counted yet: its event is on the way
)

// flow is one entry of the table, 72 bytes.
type flow struct {
	key flowKey
	// opened is when it opened at the latest, span how many microseconds before that
	// it may have been.
	opened collector.Time
	// moment is the last packet known of a live flow, 0 where unknown; of an ended one
	// the moment at which its port is free.
	moment     collector.Time
	span       uint32
	due        uint32 // tick of the timer
	next, prev uint32 // of the timer's slot, or of the free list
	place      place
	id, before uint32 // CTA_ID of this flow and of the one before it on the same port
	dump       uint16 // number of the dump that showed it last
	port, vip  uint16 // where flows may share a port: the port and the number of the VIP
	phase      phase
	flags      uint8
	reason     collector.Reason
	protocol   collector.Protocol
}

// spanUnknown: nothing bounds from below when the flow opened. It stands for all spans
// above 71 minutes too, which widens what is known and never narrows it.
const spanUnknown = 1<<32 - 1

func (f *flow) setOpened(i collector.Interval) {
	f.opened, f.span = i.To, spanUnknown
	if i.From == 0 && i.To != 0 {
		return
	}
	if us := (int64(i.To-i.From) + 999) / 1000; us >= 0 && us < spanUnknown {
		f.span = uint32(us)
	}
}

// openedInterval is the same from open to close.
func (f *flow) openedInterval() collector.Interval {
	if f.span == spanUnknown {
		return collector.Interval{To: f.opened}
	}
	return collector.Interval{From: max(f.opened-collector.Time(f.span)*1000, 0), To: f.opened}
}

// Entries live in blocks of 1024, which are nine pages of Go's allocator without waste; a namespace
// owns chunks of 64, so that its sweep walks nothing else.
const (
	blockShift = 10
	chunkShift = 6
	chunkSize  = 1 << chunkShift
)

// flowTable finds flows by key. Entry 0 is not used, so that 0 can mean none.
type flowTable struct {
	blocks []*[1 << blockShift]flow
	owners []uint32 // number of the namespace by chunk
	spare  []uint32 // chunks nobody owns

	// slots is an open-addressing table with linear probing. The upper half of a slot is the
	// upper half of the key's hi, which also says where the slot belongs, so that
	// neither growth nor removal touches the entries; the lower half is the entry.
	slots []uint64
	count int
}

// flowSet is the flows of one namespace.
type flowSet struct {
	owner  uint32
	chunks []uint32
	free   uint32 // first of the free list, linked by next
	count  int
}

func (t *flowTable) at(i uint32) *flow { return &t.blocks[i>>blockShift][i&(1<<blockShift-1)] }

// owner is the number of the namespace that entry i belongs to.
func (t *flowTable) owner(i uint32) uint32 { return t.owners[i>>chunkShift] }

func (t *flowTable) home(slot uint64) int {
	// The upper half as a fraction of the table: any size will do.
	h, _ := bits.Mul64(slot&^0xffff_ffff, uint64(len(t.slots)))
	return int(h)
}

// find returns the entry of k, 0 if there is none.
func (t *flowTable) find(k flowKey) uint32 {
	if len(t.slots) == 0 {
		return 0
	}
	for p := t.home(k.hi); ; {
		s := t.slots[p]
		if s == 0 {
			return 0
		}
		if s>>32 == k.hi>>32 {
			if i := uint32(s); t.at(i).key == k {
				return i
			}
		}
		if p++; p == len(t.slots) {
			p = 0
		}
	}
}

// candidate returns an entry that may be that of k, without a look at it; 0 if there is none.
func (t *flowTable) candidate(k flowKey) uint32 {
	for p := t.home(k.hi); ; {
		s := t.slots[p]
		if s == 0 || s>>32 == k.hi>>32 {
			return uint32(s)
		}
		if p++; p == len(t.slots) {
			p = 0
		}
	}
}

// add makes an entry for k, which has none, in set.
func (t *flowTable) add(k flowKey, set *flowSet) uint32 {
	if set.free == 0 {
		t.grab(set)
	}
	i := set.free
	f := t.at(i)
	set.free = f.next
	*f = flow{key: k}
	set.count++
	if t.count++; t.count*8 > len(t.slots)*7 {
		t.grow()
	}
	t.put(k.hi&^0xffff_ffff | uint64(i))
	return i
}

func (t *flowTable) put(slot uint64) {
	p := t.home(slot)
	for t.slots[p] != 0 {
		if p++; p == len(t.slots) {
			p = 0
		}
	}
	t.slots[p] = slot
}

func (t *flowTable) grow() {
	old := t.slots
	t.slots = make([]uint64, max(1024, len(old)+len(old)/2))
	for _, s := range old {
		if s != 0 {
			t.put(s)
		}
	}
}

// remove takes entry i out of the table.
func (t *flowTable) remove(i uint32, set *flowSet) {
	f := t.at(i)
	slot := f.key.hi&^0xffff_ffff | uint64(i)
	p := t.home(slot)
	for t.slots[p] != slot {
		if p++; p == len(t.slots) {
			p = 0
		}
	}
	// Close the gap: move back each slot that still belongs at or before it.
	n := len(t.slots)
	for q := p; ; {
		if q++; q == n {
			q = 0
		}
		s := t.slots[q]
		if s == 0 {
			break
		}
		if distance(t.home(s), q, n) >= distance(p, q, n) {
			t.slots[p] = s
			p = q
		}
	}
	t.slots[p] = 0
	t.count--
	*f = flow{next: set.free}
	set.free = i
	if set.count--; set.count == 0 {
		t.release(set)
	}
}

// distance is how far to is behind from in a ring of n.
func distance(from, to, n int) int {
	if to < from {
		return to - from + n
	}
	return to - from
}

// grab gives set a chunk of free entries.
func (t *flowTable) grab(set *flowSet) {
	if len(t.spare) == 0 {
		first := uint32(len(t.blocks)) << (blockShift - chunkShift)
		t.blocks = append(t.blocks, new([1 << blockShift]flow))
		for c := range uint32(1 << (blockShift - chunkShift)) {
			t.owners = append(t.owners, 0)
			t.spare = append(t.spare, first+1<<(blockShift-chunkShift)-1-c)
		}
	}
	c := t.spare[len(t.spare)-1]
	t.spare = t.spare[:len(t.spare)-1]
	t.owners[c] = set.owner
	set.chunks = append(set.chunks, c)
	for n := uint32(chunkSize); n > 0; n-- {
		i := c<<chunkShift + n - 1
		if i == 0 {
			continue
		}
		t.at(i).next, set.free = set.free, i
	}
}

// release gives all chunks of an empty set back.
func (t *flowTable) release(set *flowSet) {
	t.spare = append(t.spare, set.chunks...)
	set.chunks, set.free = set.chunks[:0], 0
}
