package ledger

import (
	"math"

	"github.com/snatwatch/snatwatch/collector"
)

// Each ended flow has a timer: it releases the port, then removes the entry. The deadline of a live flow moves with
// every packet and almost never comes, so a chunk of 64 entries shares one timer, the alarm: to set it costs one
// comparison, and a flow that ends has no timer to take back.

// setTimer makes ended entry i expire at t. An earlier timer of the entry is stale then.
func (fl *flows) setTimer(i uint32, f *flow, t collector.Time) {
	f.due = fl.timers.tickAt(t)
	fl.timers.set(i, f.due)
}

// alarm makes the deadlines of the live flows of chunk c be checked at t.
func (fl *flows) alarm(c uint32, t collector.Time) {
	due := fl.timers.tickAt(t)
	if was := fl.table.chunks[c].alarm; was != 0 && was <= due {
		return
	}
	fl.table.chunks[c].alarm = due
	fl.timers.set(c|chunkTimer, due)
}

// expired handles timers that are due.
func (fl *flows) expired(timers []timer) {
	for len(timers) > 0 {
		now := timers[:min(len(timers), readAhead)]
		timers = timers[len(now):]
		fl.table.warmTimed(now)
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
	n := fl.namespaces.list[fl.table.owner(i)]
	if f.phase == phaseCooling {
		fl.spaces.count(f, 0, -1)
		f.phase, f.place = phaseGone, 0
		fl.linger(n, i, f)
		return
	}
	// Dumps go on: the second that does not show it removes it. The kernel may say so long after the flow has ended.
	if n.ended != 0 && fl.clock.now.Sub(n.ended) < maxInterval+lingerFor {
		fl.setTimer(i, f, fl.clock.now.Add(lingerFor))
		return
	}
	fl.remove(n, i)
}

// chunkExpired ends the live flows of chunk c whose deadline has passed.
func (fl *flows) chunkExpired(c, due uint32) {
	chunk := &fl.table.chunks[c]
	if chunk.alarm != due {
		return
	}
	chunk.alarm = 0
	n := fl.namespaces.list[chunk.owner]
	next := collector.Time(math.MaxInt64)
	for i := c << chunkShift; i < (c+1)<<chunkShift; i++ {
		f := fl.table.at(i)
		if f.phase != phaseLive {
			continue
		}
		at, reason := fl.deadline(f)
		switch {
		case at == 0:
		case at > fl.clock.now:
			next = min(next, at)
		case n.due() > fl.clock.now:
			// The next dump says whether packets came since the last one.
			next = min(next, n.due())
		default:
			fl.timeOut(n, i, f, at, reason)
		}
	}
	if next != math.MaxInt64 {
		fl.alarm(c, next)
	}
}
