package flowlog

import (
	"cmp"
	"slices"
)

// change is a port taken or released.
type change struct {
	at    int64 // ns since 1970
	space int32 // of Counter.spaces
	by    int8
}

// slots are seconds: more than the longest lag and the longest cool-down together.
const slots = 1 << 13

// wheel holds changes until their time has come, by the second. What is further ahead than it reaches waits in a list.
type wheel struct {
	apply   func(change)
	now     int64         // all before was applied
	slots   [slots]uint32 // the chunk that each fills, 0 for none
	kept    slab[chunk]   // of all slots; the first is none
	free    uint32        // the first chunk that no slot has
	pending int           // changes in slots
	ahead   []change
	due     []kept // of one second, as it is applied
}

// kept is a change within its second: ns, a bit that is set where a port is taken, and 32 bits of space. They sort by
// time, and at one time releases come first.
type kept uint64

func (k kept) taken() bool { return k>>32&1 == 1 }
func (k kept) ns() int64   { return int64(k >> 33) }

// chunk holds changes of one slot.
type chunk struct {
	changes [15]kept // two cache lines with the rest
	n       uint32
	next    uint32 // the chunk of the slot that is full, or the next one that no slot has; 0 for none
}

// newWheel calls apply with each change once its time has come.
func newWheel(apply func(change)) *wheel {
	w := &wheel{apply: apply}
	w.kept.add(chunk{})
	return w
}

const second = int64(1e9)

// add keeps a change, or applies it at once where its time is over.
func (w *wheel) add(c change) {
	switch {
	case w.now == 0 || c.at-w.now >= slots*second:
		w.ahead = append(w.ahead, c)
	case c.at < w.now:
		c.at = w.now
		w.apply(c)
	default:
		w.keep(c)
	}
}

// keep puts a change into its slot.
func (w *wheel) keep(c change) {
	whole := c.at / second
	k := kept(c.at-whole*second)<<33 | kept(uint32(c.space))
	if c.by > 0 {
		k |= 1 << 32
	}
	slot := &w.slots[whole%slots]
	in := w.kept.at(*slot)
	if *slot == 0 || in.n == uint32(len(in.changes)) {
		in = w.fill(slot)
	}
	in.changes[in.n] = k
	in.n++
	w.pending++
}

// fill gives a slot another chunk.
func (w *wheel) fill(slot *uint32) *chunk {
	i := w.free
	if i == 0 {
		i = w.kept.add(chunk{})
	}
	c := w.kept.at(i)
	w.free, c.n, c.next, *slot = c.next, 0, *slot, i
	return c
}

// advance applies what is due before the second of now, in order of time; at one time releases come first.
func (w *wheel) advance(now int64) {
	now -= now % second
	if w.now == 0 && len(w.ahead) > 0 { // the first time: from the earliest on
		w.now = slices.MinFunc(w.ahead, func(a, b change) int { return cmp.Compare(a.at, b.at) }).at
		w.now -= w.now % second
		w.spread()
	}
	for w.now < now {
		if w.pending == 0 {
			if len(w.ahead) == 0 {
				break
			}
			// Nothing happens until the earliest of those ahead.
			next := slices.MinFunc(w.ahead, func(a, b change) int { return cmp.Compare(a.at, b.at) }).at
			w.now = min(now, max(w.now, next-next%second))
			w.spread()
			if w.pending == 0 {
				break
			}
		}
		w.settle()
		w.now += second
		if w.now/second%(slots/4) == 0 {
			w.spread()
		}
	}
	w.now = max(w.now, min(now, never-1))
}

// settle applies the changes of the second of now.
func (w *wheel) settle() {
	slot := &w.slots[w.now/second%slots]
	if *slot == 0 {
		return
	}
	w.due = w.due[:0]
	for i := *slot; ; {
		c := w.kept.at(i)
		w.due = append(w.due, c.changes[:c.n]...)
		if c.next == 0 {
			c.next = w.free
			break
		}
		i = c.next
	}
	w.free, *slot = *slot, 0
	w.pending -= len(w.due)
	one := w.due[0].ns()
	if slices.ContainsFunc(w.due, func(k kept) bool { return k.ns() != one }) {
		slices.Sort(w.due)
		for _, k := range w.due {
			w.apply(w.change(k))
		}
		return
	}
	for _, taken := range [...]bool{false, true} { // all at one time, as in logs of whole seconds
		for _, k := range w.due {
			if k.taken() == taken {
				w.apply(w.change(k))
			}
		}
	}
}

// change is one that was due.
func (w *wheel) change(k kept) change {
	c := change{at: w.now + k.ns(), space: int32(uint32(k)), by: -1}
	if k.taken() {
		c.by = 1
	}
	return c
}

// spread moves changes that are now within reach into their slots.
func (w *wheel) spread() {
	rest := w.ahead[:0]
	for _, c := range w.ahead {
		if c.at-w.now < slots*second {
			c.at = max(c.at, w.now)
			w.keep(c)
		} else {
			rest = append(rest, c)
		}
	}
	w.ahead = rest
}
