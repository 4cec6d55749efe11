package flowlog

import (
	"cmp"
	"slices"
)

// change is a port taken or released.
type change struct {
	at    int64 // ns since 1970
	space *Space
	by    int8
}

// slots are seconds: more than the longest lag and the longest cool-down together.
const slots = 1 << 13

// wheel holds changes until their time has come, by the second. What is further ahead than it reaches waits in a list.
type wheel struct {
	now     int64 // all before was applied
	slots   [slots][]change
	ahead   []change
	pending int // in slots
}

func newWheel() *wheel { return &wheel{} }

const second = int64(1e9)

// add keeps a change, or applies it at once where its time is over.
func (w *wheel) add(c change, apply func(change)) {
	switch s := c.at / second; {
	case w.now == 0 || s-w.now/second >= slots:
		w.ahead = append(w.ahead, c)
	case c.at < w.now:
		c.at = w.now
		apply(c)
	default:
		w.slots[s%slots] = append(w.slots[s%slots], c)
		w.pending++
	}
}

// advance applies what is due before the second of now, in order of time; at one time releases come first.
func (w *wheel) advance(now int64, apply func(change)) {
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
		i := w.now / second % slots
		slot := w.slots[i]
		slices.SortFunc(slot, func(a, b change) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.by, b.by)) })
		for _, c := range slot {
			apply(c)
		}
		w.pending -= len(slot)
		w.slots[i] = slot[:0]
		w.now += second
		if w.now/second%(slots/4) == 0 {
			w.spread()
		}
	}
	w.now = max(w.now, min(now, never-1))
}

// spread moves changes that are now within reach into their slots.
func (w *wheel) spread() {
	rest := w.ahead[:0]
	for _, c := range w.ahead {
		if s := c.at / second; s-w.now/second < slots {
			s = max(s, w.now/second)
			w.slots[s%slots] = append(w.slots[s%slots], c)
			w.pending++
		} else {
			rest = append(rest, c)
		}
	}
	w.ahead = rest
}
