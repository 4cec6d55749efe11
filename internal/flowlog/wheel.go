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
	now     int64 // all before was applied
	slots   [slots]uint32
	kept    slab[kept] // of all slots; the first is none
	free    uint32     // the first of kept that holds nothing
	pending int        // in slots
	ahead   []change
	due     []uint64 // of one second, as it is applied
}

// kept is a change in a slot, and the next there.
type kept struct {
	order uint32 // ns within the second, then a bit that is set where a port is taken
	space int32
	next  uint32
}

// newWheel calls apply with each change once its time has come.
func newWheel(apply func(change)) *wheel {
	w := &wheel{apply: apply}
	w.kept.add(kept{})
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
	k := kept{order: uint32(c.at-whole*second) << 1, space: c.space}
	if c.by > 0 {
		k.order++
	}
	slot := &w.slots[whole%slots]
	k.next = *slot
	if i := w.free; i != 0 {
		old := w.kept.at(i)
		w.free = old.next
		*old, *slot = k, i
	} else {
		*slot = w.kept.add(k)
	}
	w.pending++
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
	one := w.kept.at(*slot).order >> 1
	same := true // all at one time, as in logs of whole seconds
	for i := *slot; ; {
		k := w.kept.at(i)
		w.due = append(w.due, uint64(k.order)<<32|uint64(uint32(k.space)))
		same = same && k.order>>1 == one
		if k.next == 0 {
			k.next = w.free
			break
		}
		i = k.next
	}
	w.free, *slot = *slot, 0
	w.pending -= len(w.due)
	if !same {
		slices.Sort(w.due)
		for _, d := range w.due {
			w.apply(w.change(d))
		}
		return
	}
	for _, take := range [...]uint64{0, 1} {
		for _, d := range w.due {
			if d>>32&1 == take {
				w.apply(w.change(d))
			}
		}
	}
}

// change is one that was due.
func (w *wheel) change(d uint64) change {
	return change{at: w.now + int64(d>>33), space: int32(uint32(d)), by: int8(d>>32&1)*2 - 1}
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
