package detector

import (
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// wheelTick is the resolution of timers. A port is released at most this much late,
// never early.
const wheelTick = 100 * time.Millisecond

// The wheel has four levels: 256 slots of a tick, then three of 64 slots, each as long as
// the whole level below. A timer beyond the last waits there and is put in again.
const (
	lowBits   = 8
	highBits  = 6
	levels    = 4
	lowSlots  = 1 << lowBits
	highSlots = 1 << highBits
	wheelSpan = 1 << (lowBits + 3*highBits) // 77 days of ticks

	// slotMark tells a slot from an entry in flow.prev.
	slotMark = 1 << 31
)

// wheel holds one timer per flow, in lists through the entries themselves: setting and
// cancelling are O(1) and allocate nothing.
type wheel struct {
	flows *flowTable
	base  collector.Time // of tick 0
	now   uint32         // the tick that was last expired
	count int
	read  uint64 // of what was read ahead, so that it is read
	slots [lowSlots + (levels-1)*highSlots]uint32
}

// tickAt is the first tick not before t.
func (w *wheel) tickAt(t collector.Time) uint32 {
	if t <= w.base {
		return 0
	}
	return uint32((int64(t-w.base) + int64(wheelTick) - 1) / int64(wheelTick))
}

// set arms the timer of entry i, which must not be armed, to expire once t has passed.
func (w *wheel) set(i uint32, t collector.Time) {
	f := w.flows.at(i)
	f.due = max(w.tickAt(t), w.now+1)
	w.link(i, f)
	w.count++
}

func (w *wheel) link(i uint32, f *flow) {
	ahead := f.due - w.now
	at := f.due
	if ahead >= wheelSpan {
		at = w.now + wheelSpan - 1
		ahead = wheelSpan - 1
	}
	var s uint32
	switch {
	case ahead < lowSlots:
		s = at & (lowSlots - 1)
	case ahead < lowSlots<<highBits:
		s = lowSlots + at>>lowBits&(highSlots-1)
	case ahead < lowSlots<<(2*highBits):
		s = lowSlots + highSlots + at>>(lowBits+highBits)&(highSlots-1)
	default:
		s = lowSlots + 2*highSlots + at>>(lowBits+2*highBits)&(highSlots-1)
	}
	f.next, f.prev = w.slots[s], slotMark|s
	if f.next != 0 {
		w.flows.at(f.next).prev = i
	}
	w.slots[s] = i
}

// cancel disarms the timer of entry i if it is armed.
func (w *wheel) cancel(i uint32) {
	f := w.flows.at(i)
	if f.prev == 0 {
		return
	}
	w.unlink(f)
	w.count--
}

func (w *wheel) unlink(f *flow) {
	if f.prev&slotMark != 0 {
		w.slots[f.prev&^slotMark] = f.next
	} else {
		w.flows.at(f.prev).next = f.next
	}
	if f.next != 0 {
		w.flows.at(f.next).prev = f.prev
	}
	f.next, f.prev = 0, 0
}

// advance expires all timers due by now, tick by tick. expire may set and cancel
// timers of any entry.
func (w *wheel) advance(now collector.Time, expire func(i uint32)) {
	if now < w.base {
		return
	}
	for end := uint32(int64(now-w.base) / int64(wheelTick)); w.now < end; {
		if w.count == 0 {
			w.now = end
			return
		}
		w.now++
		if w.now&(lowSlots-1) == 0 {
			w.cascade()
		}
		for s := w.now & (lowSlots - 1); w.slots[s] != 0; {
			w.lookAhead(w.slots[s])
			for n := 0; n < lookAhead && w.slots[s] != 0; n++ {
				i := w.slots[s]
				w.unlink(w.flows.at(i))
				w.count--
				expire(i)
			}
		}
	}
}

// lookAhead reads where the entries from i on are found by: who expires them may remove
// them, and has it in the cache then.
func (w *wheel) lookAhead(i uint32) {
	for n := 0; n < lookAhead && i != 0; n++ {
		f := w.flows.at(i)
		w.read ^= w.flows.slots[w.flows.home(f.key.hi)]
		i = f.next
	}
}

// next is when the next tick begins.
func (w *wheel) next() collector.Time { return w.base.Add(time.Duration(w.now+1) * wheelTick) }

// cascade moves the timers of the next slot of each level that comes round one level down.
func (w *wheel) cascade() {
	t := w.now >> lowBits
	for level := range uint32(levels - 1) {
		s := lowSlots + level*highSlots + t&(highSlots-1)
		list := w.slots[s]
		w.slots[s] = 0
		for list != 0 {
			f := w.flows.at(list)
			next := f.next
			w.link(list, f)
			list = next
		}
		if t&(highSlots-1) != 0 {
			return
		}
		t >>= highBits
	}
}
