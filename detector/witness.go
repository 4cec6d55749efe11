package detector

import (
	"errors"
	"fmt"

	"github.com/snatwatch/snatwatch/collector"
)

// A witness knows the last witnessSlots slots of witnessWidth seconds: the longest cool-down that it can
// tell of.
const (
	witnessSlots = 256
	witnessWidth = 4
	// witnessEarly is how many slots lie between two dumps.
	witnessEarly = 3
)

// witness remembers how opens fared in a port space where some fail, and which ports were held
// then by flows that were answered, so that another budget can be tried on it.
type witness struct {
	of      *outlook
	failing float64 // second of the last close of a flow that was not answered
	judged  float64 // second of the last judgement
	ticked  float64 // second of the last tick
	since   int64   // slot from which on all is known
	now     int64   // slot of the last tick
	// ended counts answered flows by when they ended; answered and failed count flows
	// by when they opened.
	ended, answered, failed [witnessSlots]uint16
	// rest is the ports held otherwise than by a cool-down after a FIN, as of the end of a slot.
	rest [witnessSlots]float32
	// other and unanswered count ports that are held after an end, by when they are
	// released: of answered flows that did not end by a FIN, and of flows that were
	// never answered. The sums are of those not released.
	other, unanswered       [witnessSlots]uint16
	otherSum, unansweredSum int
}

func witnessSlot(t collector.Time) int64 { return second(t) / witnessWidth }

// start makes w the witness of o, from what o knows of the time before: each flow that opened
// and is gone is taken for one that was answered and ended at once.
func (w *witness) start(o *outlook) {
	o.arrived()
	now := max(o.last, float64(o.came.now))
	*w = witness{of: o, ticked: now, now: int64(now) / witnessWidth}
	w.since = max(o.came.since/witnessWidth, w.now-witnessSlots+1)
	var opened [witnessSlots]float32
	before := float32(o.opened)
	for i := w.since; i <= w.now; i++ {
		n := o.came.count(i*witnessWidth, (i+1)*witnessWidth)
		opened[i&(witnessSlots-1)] = n
		before -= n
	}
	if w.since == o.came.since/witnessWidth && w.now-w.since < witnessSlots-witnessEarly {
		// What opened before o began, and was told of after.
		for range witnessEarly {
			w.since--
			opened[w.since&(witnessSlots-1)] = max(0, before) / witnessEarly
		}
	}
	a := &o.times.ages
	for j := range a.cells {
		for s, n := range a.cells[j] {
			if i := a.cellStart(j, s) / witnessWidth; n > 0 && i >= w.since && i <= w.now {
				opened[i&(witnessSlots-1)] -= float32(n)
			}
		}
	}
	for i := range w.rest {
		w.rest[i] = o.evidence.live
	}
	carry := float32(0)
	for i := w.since; i <= w.now; i++ {
		n := opened[i&(witnessSlots-1)] + carry
		whole := uint16(max(0, min(n, 1<<16-1)))
		w.ended[i&(witnessSlots-1)], w.answered[i&(witnessSlots-1)] = whole, whole
		carry = n - float32(whole)
	}
}

// forget begins anew at second now, from nothing.
func (w *witness) forget(now float64) {
	slot := int64(now) / witnessWidth
	*w = witness{of: w.of, ticked: now, failing: w.failing, judged: w.judged, now: slot, since: slot}
}

// count is how many arrivals fell between seconds from and to, where blocks of a level are the
// finest that reach back there, spread evenly over each.
func (a *arrivals) count(from, to int64) (n float32) {
	for j := range a.blocks {
		last := a.now >> j
		if last-from>>j >= arrivalBlocks {
			continue
		}
		for b := from >> j; b <= (to-1)>>j && b <= last; b++ {
			part := min(to, (b+1)<<j, a.now+1) - max(from, b<<j)
			n += a.blocks[j][b&(arrivalBlocks-1)] * float32(part) / float32(min((b+1)<<j, a.now+1)-b<<j)
		}
		return n
	}
	return 0
}

// inside reports whether slot i is remembered.
func (w *witness) inside(i int64) bool { return i > w.now-witnessSlots && i <= w.now }

// close tells of a flow's end.
func (w *witness) close(opened, ended collector.Interval, release collector.Time, reason collector.Reason, fin bool) {
	// To is when the first packet went out; where dumps alone tell, From is the dump before.
	open, known := witnessSlot(opened.To), opened.From != 0
	later := release > ended.To
	if reason == collector.Timeout {
		w.failing = max(w.failing, ended.To.Seconds())
		if known {
			w.add(&w.failed, open)
		}
		if later {
			// One slot later than the port is free, so that none is missing while it is held.
			w.hold(&w.unanswered, &w.unansweredSum, witnessSlot(release)+1)
		}
		return
	}
	if known && reason != collector.ReasonUnknown {
		w.add(&w.answered, open)
	}
	switch {
	case fin || reason == collector.ReasonUnknown:
		w.add(&w.ended, witnessSlot(ended.To))
	case later:
		w.hold(&w.other, &w.otherSum, witnessSlot(release))
	}
}

// hold counts a port that is released in slot i.
func (w *witness) hold(counts *[witnessSlots]uint16, sum *int, i int64) {
	if n := &counts[i&(witnessSlots-1)]; i > w.now && i < w.now+witnessSlots && *n < 1<<16-1 {
		*n++
		*sum++
	}
}

// add counts one in slot i, which may be the one that begins after the last tick.
func (w *witness) add(counts *[witnessSlots]uint16, i int64) {
	w.advance(i)
	if n := &counts[i&(witnessSlots-1)]; w.inside(i) && *n < 1<<16-1 {
		*n++
	}
}

// told says that a flow was answered that no tick counted among the live ones, from its
// open until its end or now.
func (w *witness) told(opened, until collector.Time) {
	for i := max(witnessSlot(opened), w.since); i < min(witnessSlot(until), w.now); i++ {
		w.rest[i&(witnessSlots-1)]++
	}
}

// advance forgets what is out of reach in slot now, and releases the ports that are due.
func (w *witness) advance(now int64) {
	for w.now < now {
		w.now++
		i := w.now & (witnessSlots - 1)
		w.ended[i], w.answered[i], w.failed[i] = 0, 0, 0
		w.rest[i] = w.rest[(w.now-1)&(witnessSlots-1)]
		w.otherSum -= int(w.other[i])
		w.unansweredSum -= int(w.unanswered[i])
		w.other[i], w.unanswered[i] = 0, 0
	}
	w.since = max(w.since, w.now-witnessSlots+1)
}

// tick takes how many ports live flows hold at second now that were answered.
func (w *witness) tick(now, live float64) {
	i, last := int64(now)/witnessWidth, int64(w.ticked)/witnessWidth
	w.advance(i)
	rest := float32(live) + float32(w.otherSum)
	before := w.rest[last&(witnessSlots-1)]
	for k := max(last+1, w.since); k < i; k++ {
		w.rest[k&(witnessSlots-1)] = before + (rest-before)*float32(k-last)/float32(i-last)
	}
	w.rest[i&(witnessSlots-1)] = rest
	w.ticked = now
}

// due reports whether it is time to judge again.
func (w *witness) due(now float64) bool {
	if now-w.judged < contradictionSlot {
		return false
	}
	w.judged = now
	return true
}

// audit recounts what the witnesses of s hold; of are the outlooks that there are. It is for the tests of whoever
// feeds outlooks.
func (s *stock) audit(of map[*outlook]bool) error {
	if len(s.witnesses) > witnessesMax {
		return fmt.Errorf("%d witnesses, at most %d", len(s.witnesses), witnessesMax)
	}
	for _, w := range s.witnesses {
		other, unanswered := 0, 0
		for i := range w.other {
			other += int(w.other[i])
			unanswered += int(w.unanswered[i])
		}
		switch {
		case w.of == nil || !of[w.of] || w.of.witness() != w:
			return errors.New("a witness is of no port space")
		case other != w.otherSum || unanswered != w.unansweredSum:
			return fmt.Errorf("a witness holds %d and %d ports, its slots say %d and %d", w.otherSum, w.unansweredSum, other, unanswered)
		}
	}
	return nil
}
