package ledger

import (
	"math"
	"time"
	"unsafe"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/ledger/prefetch"
)

// Each ended flow has a timer, which releases the port and later removes the entry. The deadline of a live flow moves
// with every packet and is almost never reached. So the live flows of a chunk of 64 entries share one timer, the alarm:
// setting it mostly costs one comparison, and a flow that ends leaves no timer behind.

// deadline returns when live flow f, which a counts, loses its port by the budget's idle or half-open timeout if no
// packet comes, and the reason; 0 if never, or if the time of its last packet is unknown.
func (a *account) deadline(f *flow) (collector.Time, collector.Reason) {
	t := a.terms
	if f.flags&flagOpening != 0 && t.HalfOpen > 0 {
		return max(f.moment, f.opened).Add(t.HalfOpen), collector.Timeout
	}
	if t.Idle > 0 && f.moment != 0 {
		return f.moment.Add(t.Idle), collector.Idle
	}
	return 0, 0
}

// timeOut ends the live flow of entry i at its deadline at.
func (fl *flows) timeOut(n *netns, i uint32, f *flow, at collector.Time, reason collector.Reason) {
	f.flags |= flagTimedOut
	fl.failed(f, reason, false)
	fl.end(n, i, f, collector.Interval{From: at, To: at}, reason)
}

// setTimer makes ended entry i expire at t. An earlier timer of the entry is stale then.
func (fl *flows) setTimer(i uint32, f *flow, t collector.Time) {
	f.due = fl.timers.tickAt(t)
	fl.timers.put(timer{i, f.due})
}

// alarm sees to it that the deadlines of the live flows of chunk c are checked at t at the latest. If t is 0, it does
// nothing.
func (fl *flows) alarm(c uint32, t collector.Time) {
	if t == 0 {
		return
	}
	due := fl.timers.tickAt(t)
	if was := fl.table.chunks[c].alarm; was != 0 && was <= due {
		return
	}
	fl.table.chunks[c].alarm = due
	fl.timers.put(timer{c | chunkTimer, due})
}

// advance releases ports and ends flows that are due. It returns false if no timer can be due yet.
func (fl *flows) advance() bool {
	if fl.clock.now < fl.wakeAt {
		return false
	}
	fl.timers.advance(fl.clock.now, fl.expire)
	fl.wakeAt = fl.timers.next()
	return true
}

// expired handles timers that are due.
func (fl *flows) expired(timers []timer) {
	for len(timers) > 0 {
		now := timers[:min(len(timers), readAhead)]
		timers = timers[len(now):]
		fl.table.fetchTimed(now)
		for _, t := range now {
			if t.of&chunkTimer != 0 {
				fl.chunkExpired(t.of&^chunkTimer, t.due)
			} else {
				fl.flowExpired(t.of, t.due)
			}
		}
	}
}

// flowExpired handles a timer of entry i.
func (fl *flows) flowExpired(i, due uint32) {
	f := fl.table.at(i)
	if f.due != due || f.phase != phaseCooling && f.phase != phaseGone {
		return
	}
	f.due = 0
	n := fl.namespaces.list[fl.table.netnsOf(i)]
	if f.phase == phaseCooling {
		fl.spaces.count(f, 0, -1)
		f.phase, f.place = phaseGone, 0
		fl.linger(n, i, f)
		return
	}
	// While dumps go on, the second dump that lacks the flow removes the entry, which may be long after the end.
	if n.ended != 0 && fl.clock.now.Sub(n.ended) < maxInterval+lingerFor {
		fl.setTimer(i, f, fl.clock.now.Add(lingerFor))
		return
	}
	fl.table.remove(i, &n.flows)
}

// chunkExpired ends the live flows of chunk c whose deadline has passed.
func (fl *flows) chunkExpired(c, due uint32) {
	chunk := &fl.table.chunks[c]
	if chunk.alarm != due {
		return
	}
	chunk.alarm = 0
	n := fl.namespaces.list[chunk.netns]
	next := collector.Time(math.MaxInt64)
	for i := c << chunkShift; i < (c+1)<<chunkShift; i++ {
		f := fl.table.at(i)
		if f.phase != phaseLive {
			continue
		}
		at, reason := fl.spaces.accountOf(f).deadline(f)
		switch {
		case at == 0:
		case at > fl.clock.now:
			next = min(next, at)
		case n.due() > fl.clock.now:
			// The next dump tells whether packets came since the last dump.
			next = min(next, n.due())
		default:
			fl.timeOut(n, i, f, at, reason)
		}
	}
	if next != math.MaxInt64 {
		fl.alarm(c, next)
	}
}

// wheelTick is the resolution of timers. A port is released at most this much late,
// never early.
const wheelTick = 100 * time.Millisecond

// The wheel has four levels. The first has 256 slots of one tick, the others have 64 slots, each as long as the whole
// level below. A timer that is due beyond the last level waits in it and is put in again.
const (
	lowBits   = 8
	highBits  = 6
	levels    = 4
	lowSlots  = 1 << lowBits
	highSlots = 1 << highBits
	wheelSpan = 1 << (lowBits + 3*highBits) // 77 days of ticks
)

// chunkTimer marks the timer of a chunk; other timers belong to entries.
const chunkTimer = 1 << 31

// timer expires in tick due. of is the number of the entry that it belongs to, or with chunkTimer the number of the
// chunk.
type timer struct{ of, due uint32 }

// timerList is up to 126 timers of one slot, 1 KB.
type timerList struct {
	next   *timerList
	count  int
	timers [126]timer
}

// wheel holds timers in lists, one for each slot, so no entry is read before its timer expires, and then many are at
// once. A timer cannot be taken back: it expires, and its due tells that it is stale.
type wheel struct {
	base  collector.Time // of tick 0
	now   uint32         // the tick that was last expired
	count int
	slots [lowSlots + (levels-1)*highSlots]*timerList
	spare *timerList
}

// tickAt is the first tick not before t that can still expire; never 0.
func (w *wheel) tickAt(t collector.Time) uint32 {
	if t <= w.base {
		return w.now + 1
	}
	return max(uint32((int64(t-w.base)+int64(wheelTick)-1)/int64(wheelTick)), w.now+1)
}

// put makes t expire in its tick, which tickAt gave.
func (w *wheel) put(t timer) {
	w.count++
	s := w.slot(t.due)
	l := w.slots[s]
	if l == nil || l.count == len(l.timers) {
		if w.spare == nil {
			w.spare = &timerList{}
		}
		l, w.spare = w.spare, w.spare.next
		l.next, l.count = w.slots[s], 0
		w.slots[s] = l
	}
	l.timers[l.count] = t
	l.count++
}

// slot returns the slot in which a timer of tick at waits.
func (w *wheel) slot(at uint32) uint32 {
	ahead := at - w.now
	if ahead >= wheelSpan {
		at = w.now + wheelSpan - 1
		ahead = wheelSpan - 1
	}
	switch {
	case ahead < lowSlots:
		return at & (lowSlots - 1)
	case ahead < lowSlots<<highBits:
		return lowSlots + at>>lowBits&(highSlots-1)
	case ahead < lowSlots<<(2*highBits):
		return lowSlots + highSlots + at>>(lowBits+highBits)&(highSlots-1)
	}
	return lowSlots + 2*highSlots + at>>(lowBits+2*highBits)&(highSlots-1)
}

// advance hands all timers that are due by now to expire, tick by tick and up to a list at a time. expire may set
// timers.
func (w *wheel) advance(now collector.Time, expire func([]timer)) {
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
		w.empty(w.now&(lowSlots-1), expire)
	}
}

// empty takes the timers out of slot s.
func (w *wheel) empty(s uint32, do func([]timer)) {
	l := w.slots[s]
	w.slots[s] = nil
	for l != nil {
		w.count -= l.count
		do(l.timers[:l.count])
		next := l.next
		l.next, w.spare = w.spare, l
		l = next
	}
}

// next returns when the next tick begins.
func (w *wheel) next() collector.Time { return w.base.Add(time.Duration(w.now+1) * wheelTick) }

// cascade moves timers one level down: the timers of the slot that begins now, on each level where a slot begins.
func (w *wheel) cascade() {
	t := w.now >> lowBits
	for level := range uint32(levels - 1) {
		w.empty(lowSlots+level*highSlots+t&(highSlots-1), func(list []timer) {
			for _, t := range list {
				w.put(t)
			}
		})
		if t&(highSlots-1) != 0 {
			return
		}
		t >>= highBits
	}
}

// entry returns the entry that t belongs to, or the first entry of its chunk.
func (t timer) entry() uint32 {
	if t.of&chunkTimer != 0 {
		return t.of << chunkShift
	}
	return t.of
}

// fetchTimed has the processor read the entries of at most readAhead timers ahead, then the buckets of these entries.
// With it open and close of any of a million flows take 0.68 of what they take without
// (BenchmarkLedgerTimersReadAhead).
func (t *flowTable) fetchTimed(timers []timer) {
	var lines [readAhead]unsafe.Pointer
	for i, x := range timers {
		lines[i] = unsafe.Pointer(t.at(x.entry()))
	}
	prefetch.Lines(&lines[0], len(timers))
	for i, x := range timers {
		lines[i] = unsafe.Pointer(&t.buckets[t.home(t.at(x.entry()).key.hi)])
	}
	prefetch.Lines(&lines[0], len(timers))
}
