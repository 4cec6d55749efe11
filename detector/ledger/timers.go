package ledger

import (
	"math"

	"github.com/snatwatch/snatwatch/collector"
)

// Ended flows have a timer each: it releases the port, then forgets the entry. A live flow's clock starts
// anew with every packet and almost never runs out, so there is one timer, the alarm, for a chunk of 64 entries:
// to set it costs a look, and a flow that ends has none to take back.

// chunkTimer marks the timer of a chunk; others are of entries.
const chunkTimer = 1 << 31

// setTimer makes ended entry i expire once t has passed. Its timer before, if any, is stale then.
func (l *Ledger) setTimer(i uint32, f *flow, t collector.Time) {
	f.due = l.timers.tickAt(t)
	l.timers.set(i, f.due)
}

// alarm makes the clocks of the live flows of chunk c be looked at once t has passed.
func (l *Ledger) alarm(c uint32, t collector.Time) {
	due := l.timers.tickAt(t)
	if was := l.table.chunks[c].alarm; was != 0 && was <= due {
		return
	}
	l.table.chunks[c].alarm = due
	l.timers.set(c|chunkTimer, due)
}

// expired treats timers that came due.
func (l *Ledger) expired(timers []timer) {
	for len(timers) > 0 {
		now := timers[:min(len(timers), lookAhead)]
		timers = timers[len(now):]
		l.table.warmTimed(now)
		for _, t := range now {
			if t.of&chunkTimer != 0 {
				l.chunkExpired(t.of&^chunkTimer, t.due)
			} else {
				l.flowExpired(t.of, t.due)
			}
		}
	}
}

// entry is the entry that t is of, or the first of its chunk.
func (t timer) entry() uint32 {
	if t.of&chunkTimer != 0 {
		return t.of << chunkShift
	}
	return t.of
}

// flowExpired treats a timer of entry i.
func (l *Ledger) flowExpired(i, due uint32) {
	f := l.table.at(i)
	if f.due != due || f.phase != phaseCooling && f.phase != phaseGone {
		return
	}
	f.due = 0
	n := l.netns[l.table.owner(i)]
	if f.phase == phaseCooling {
		l.count(f, 0, -1)
		f.phase, f.place = phaseGone, 0
		l.gone(n, i, f)
		return
	}
	// Still shown by the last dump, and dumps go on: it stays.
	if n.ended != 0 && f.dump == n.dump && l.now.Sub(n.ended) < maxInterval+linger {
		l.setTimer(i, f, l.now.Add(linger))
		return
	}
	l.remove(n, i)
}

// chunkExpired ends the live flows of chunk c of which the clock ran out.
func (l *Ledger) chunkExpired(c, due uint32) {
	chunk := &l.table.chunks[c]
	if chunk.alarm != due {
		return
	}
	chunk.alarm = 0
	n := l.netns[chunk.owner]
	next := collector.Time(math.MaxInt64)
	for i := c << chunkShift; i < (c+1)<<chunkShift; i++ {
		f := l.table.at(i)
		if f.phase != phaseLive {
			continue
		}
		at, reason := l.clock(f)
		switch {
		case at == 0:
		case at > l.now:
			next = min(next, at)
		case n.due() > l.now:
			// The next dump will say whether packets came since the last one.
			next = min(next, n.due())
		default:
			l.timeOut(n, i, f, at, reason)
		}
	}
	if next != math.MaxInt64 {
		l.alarm(c, next)
	}
}
