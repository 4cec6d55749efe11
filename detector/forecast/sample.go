package forecast

import "github.com/snatwatch/snatwatch/collector"

// A sample has sampleSlots slots of slotSeconds seconds: together the longest cool-down that it can find.
const (
	sampleSlots = 256
	slotSeconds = 4
	// earlySlots is how many slots lie between two dumps.
	earlySlots = 3
)

// sample counts, in a port space where opens fail, the answered and the failed opens and the ports that answered flows
// held meanwhile. Another budget is fitted to it.
type sample struct {
	of      *Outlook
	failing float64 // second of the last close of a flow that was not answered
	fitted  float64 // second of the last fit
	ticked  float64 // second of the last tick
	since   int64   // slot from which on all is known
	now     int64   // slot of the last tick
	// ended counts answered flows by the slot of their end; answered and failed count flows by the slot of their open.
	ended, answered, failed [sampleSlots]uint16
	// rest is how many ports were held at the end of each slot, those cooling after a FIN left out.
	rest [sampleSlots]float32
	// other and unanswered count ports that are held after the end of a flow, by the slot of their release: other counts
	// those of answered flows that did not end by a FIN, unanswered those of flows that were never answered. The sums are
	// of all such ports that are not released yet.
	other, unanswered       [sampleSlots]uint16
	otherSum, unansweredSum int
}

func sampleSlot(t collector.Time) int64 { return Second(t) / slotSeconds }

// start makes w the sample of o, from what o knows of the time before: each flow that opened and is gone counts as
// answered, and ended at once.
func (w *sample) start(o *Outlook) {
	o.arrived()
	now := max(o.last, float64(o.came.now))
	*w = sample{of: o, ticked: now, now: int64(now) / slotSeconds}
	w.since = max(o.came.since/slotSeconds, w.now-sampleSlots+1)
	var opened [sampleSlots]float32
	before := float32(o.opened)
	for i := w.since; i <= w.now; i++ {
		n := o.came.count(i*slotSeconds, (i+1)*slotSeconds)
		opened[i&(sampleSlots-1)] = n
		before -= n
	}
	if w.since == o.came.since/slotSeconds && w.now-w.since < sampleSlots-earlySlots {
		// Flows that opened before o began and were seen later.
		for range earlySlots {
			w.since--
			opened[w.since&(sampleSlots-1)] = max(0, before) / earlySlots
		}
	}
	a := &o.times.ages
	for j := range a.cells {
		for s, n := range a.cells[j] {
			if i := a.cellStart(j, s) / slotSeconds; n > 0 && i >= w.since && i <= w.now {
				opened[i&(sampleSlots-1)] -= float32(n)
			}
		}
	}
	for i := range w.rest {
		w.rest[i] = o.evidence.live
	}
	carry := float32(0)
	for i := w.since; i <= w.now; i++ {
		n := opened[i&(sampleSlots-1)] + carry
		whole := uint16(max(0, min(n, 1<<16-1)))
		w.ended[i&(sampleSlots-1)], w.answered[i&(sampleSlots-1)] = whole, whole
		carry = n - float32(whole)
	}
}

// forget empties the sample at second now.
func (w *sample) forget(now float64) {
	slot := int64(now) / slotSeconds
	*w = sample{of: w.of, ticked: now, failing: w.failing, fitted: w.fitted, now: slot, since: slot}
}

// inside reports whether slot i is in the sample.
func (w *sample) inside(i int64) bool { return i > w.now-sampleSlots && i <= w.now }

// close takes in the end of a flow.
func (w *sample) close(opened, ended collector.Interval, release collector.Time, reason collector.Reason, fin bool) {
	// To is when the first packet went out; if only dumps come, From is the dump before.
	open, known := sampleSlot(opened.To), opened.From != 0
	later := release > ended.To
	if reason == collector.Timeout {
		w.failing = max(w.failing, ended.To.Seconds())
		if known {
			w.add(&w.failed, open)
		}
		if later {
			// One slot later than the release, so that no port is missing while it is held.
			w.hold(&w.unanswered, &w.unansweredSum, sampleSlot(release)+1)
		}
		return
	}
	if known && reason != collector.ReasonUnknown {
		w.add(&w.answered, open)
	}
	switch {
	case fin || reason == collector.ReasonUnknown:
		w.add(&w.ended, sampleSlot(ended.To))
	case later:
		w.hold(&w.other, &w.otherSum, sampleSlot(release))
	}
}

// hold counts a port that is released in slot i.
func (w *sample) hold(counts *[sampleSlots]uint16, sum *int, i int64) {
	if n := &counts[i&(sampleSlots-1)]; i > w.now && i < w.now+sampleSlots && *n < 1<<16-1 {
		*n++
		*sum++
	}
}

// add counts one in slot i, which may be the one that begins after the last tick.
func (w *sample) add(counts *[sampleSlots]uint16, i int64) {
	w.advance(i)
	if n := &counts[i&(sampleSlots-1)]; w.inside(i) && *n < 1<<16-1 {
		*n++
	}
}

// answeredLate adds the port of a flow that turned out to be answered, from its open until its end or now: no tick
// counted it in that time.
func (w *sample) answeredLate(opened, until collector.Time) {
	for i := max(sampleSlot(opened), w.since); i < min(sampleSlot(until), w.now); i++ {
		w.rest[i&(sampleSlots-1)]++
	}
}

// advance brings the sample to slot now: old slots leave it, and ports that are due are released.
func (w *sample) advance(now int64) {
	for w.now < now {
		w.now++
		i := w.now & (sampleSlots - 1)
		w.ended[i], w.answered[i], w.failed[i] = 0, 0, 0
		w.rest[i] = w.rest[(w.now-1)&(sampleSlots-1)]
		w.otherSum -= int(w.other[i])
		w.unansweredSum -= int(w.unanswered[i])
		w.other[i], w.unanswered[i] = 0, 0
	}
	w.since = max(w.since, w.now-sampleSlots+1)
}

// tick takes in that answered live flows hold so many ports at second now.
func (w *sample) tick(now, live float64) {
	i, last := int64(now)/slotSeconds, int64(w.ticked)/slotSeconds
	w.advance(i)
	rest := float32(live) + float32(w.otherSum)
	before := w.rest[last&(sampleSlots-1)]
	for k := max(last+1, w.since); k < i; k++ {
		w.rest[k&(sampleSlots-1)] = before + (rest-before)*float32(k-last)/float32(i-last)
	}
	w.rest[i&(sampleSlots-1)] = rest
	w.ticked = now
}

// fitDue reports whether it is time for another fit.
func (w *sample) fitDue(now float64) bool {
	if now-w.fitted < contradictionSlot {
		return false
	}
	w.fitted = now
	return true
}
