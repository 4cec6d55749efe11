package forecast

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/snatwatch/snatwatch/collector"
)

// When evidence contradicts a budget.
const (
	contradictionTau   = 600.0  // seconds over which evidence fades
	contradictionHold  = 1800.0 // seconds that a contradiction stands after the last evidence
	contradictionOpens = 20     // opens that must contradict the budget
	contradictionSlot  = 15     // seconds of a slot of time
	contradictionSlots = 6      // more slots than this must have one of those opens, or
	contradictionGap   = 4      // there must be two that lie more than so many slots apart
	// contradictionLow is the share of the effective ceiling below which no open
	// should fail for lack of ports.
	contradictionLow = 0.8
	// contradictionOver is the share of the nominal budget above which no ports can be held.
	contradictionOver = 1.02
	// samplesMax is how many port spaces of an account may have a sample (4 KB each); sampleHold is how many seconds
	// after a failed open a port space keeps it.
	samplesMax = 8
	sampleHold = 1800.0
)

// evidence is what was seen in one port space against its budget. A flow was answered unless it ended unanswered; a
// refused flow was answered.
type evidence struct {
	answered  float32 // since the last tick
	live      float32 // ports that answered live flows held at the last tick
	over      float32 // flows answered while more ports were held than the budget has
	overLevel float32 // mean held ports then
	overSlots float32 // slots of time in which there was such a flow
	overTimes float32 // times at which there were such flows, contradictionGap slots apart
	slot      int64   // the last of these slots
	// unknown is the second until which some of the held ports may be of flows that were never answered, which nobody
	// could tell.
	unknown float64
	sample  *sample
}

// observe takes in the dt seconds up to c.Now. live is the number of ports that live flows hold, of which some may wait
// for an answer; cooling is the number of ports that are held after an end.
func (o tick) observe(c *Conditions, dt, live, cooling float64) {
	e, now := &o.evidence, c.Now.Seconds()
	e.live = float32(max(0, live-float64(c.Opening+int(o.unconfirmed))))
	held := float64(e.live) + cooling
	w := o.sampleOf()
	if w == nil && e.sample != nil {
		e.sample, e.unknown = nil, now+contradictionTau
	}
	if c.InexactSince != 0 {
		// Ended flows may be counted as live, and answers are missing.
		e.unknown = now + contradictionTau
		if w != nil {
			w.forget(now)
		}
	}
	if w != nil {
		w.tick(now, float64(e.live))
		held -= float64(w.unansweredSum)
	}
	keep := float32(math.Exp(-dt / contradictionTau))
	e.over *= keep
	e.overSlots *= keep
	e.overTimes *= keep
	if n := e.answered; n > 0 && held > contradictionOver*o.account.ports && now > e.unknown {
		e.overLevel = (e.overLevel*e.over + float32(held)*n) / (e.over + n)
		e.over += n
		if slot := int64(now) / contradictionSlot; slot != e.slot {
			if slot-e.slot > contradictionGap {
				e.overTimes++
			}
			e.slot = slot
			e.overSlots++
		}
	}
	e.answered = 0
}

// NewTerms says that the terms changed: the evidence was against the terms before, and is dropped.
func (o *Outlook) NewTerms() {
	e := &o.evidence
	e.over, e.overLevel, e.overSlots, e.overTimes = 0, 0, 0, 0
}

// observeEnd takes in the end of a flow.
func (o *Outlook) observeEnd(opened, ended collector.Interval, release collector.Time, reason collector.Reason) {
	e, s := &o.evidence, o.account
	unanswered := reason == collector.Timeout
	if !unanswered && reason != collector.ReasonUnknown {
		e.answered++
	}
	w := o.sampleOf()
	if w == nil && unanswered {
		if w = s.assignSample(o, true); w == nil {
			e.unknown = max(e.unknown, release.Seconds())
		}
	}
	if w != nil {
		w.close(opened, ended, release, reason, s.classOf[reason] == s.classOf[collector.FIN])
	}
}

// Answered says that an unconfirmed flow turned out to be answered, and live until the time until.
func (o *Outlook) Answered(opened collector.Interval, until collector.Time) {
	if w := o.sampleOf(); w != nil {
		w.answeredLate(opened.To, until)
	}
}

// sampleOf returns the sample of o, nil if it has none.
func (o *Outlook) sampleOf() *sample {
	if w := o.evidence.sample; w != nil && w.of == o {
		return w
	}
	return nil
}

// assignSample gives o a sample and returns it: a new one, or, if opens of o fail, the sample of a port space where
// none has failed for long. It returns nil if there is none to give.
func (s *Account) assignSample(o *Outlook, failing bool) *sample {
	var w *sample
	switch {
	case o.last == 0, s.protocol != collector.TCP: // a UDP flow need not be answered
		return nil
	case len(s.samples) < samplesMax:
		w = &sample{}
		s.samples = append(s.samples, w)
	case failing:
		w = slices.MinFunc(s.samples, func(a, b *sample) int { return cmp.Compare(a.failing, b.failing) })
		if o.last-w.failing < sampleHold {
			return nil
		}
	default:
		return nil
	}
	w.start(o)
	o.evidence.sample = w
	return w
}

// Sampled reports whether o has a sample.
func (o *Outlook) Sampled() bool { return o.sampleOf() != nil }

// Stop ends o and gives its sample back.
func (o *Outlook) Stop() {
	if w := o.sampleOf(); w != nil {
		w.of = nil
		o.account.samples = slices.DeleteFunc(o.account.samples, func(x *sample) bool { return x == w })
	}
}

// dropSamples drops all samples, which say nothing about other terms than those under which they were taken.
func (s *Account) dropSamples() {
	for _, w := range s.samples {
		w.of = nil
	}
	s.samples = nil
}

// contradiction says why what is seen cannot be under the budget.
type contradiction struct {
	until float64 // second; 0 when there is none
	text  string
}

// Contradicted reports whether what is seen cannot be under the budget of the two accounts, and why.
func Contradicted(accounts [2]*Account) (bool, string) {
	for _, s := range accounts {
		if s != nil && s.contradiction.until != 0 {
			return true, s.contradiction.text
		}
	}
	return false, ""
}

// expire drops the contradiction when its last evidence is long ago.
func (s *Account) expire(now float64) {
	if now > s.contradiction.until {
		s.contradiction = contradiction{}
	}
}

// contradict compares the evidence of o with the budget at now.
func (s *Account) contradict(o *Outlook, now float64) {
	e, v := &o.evidence, &s.contradiction
	if e.over >= contradictionOpens && (e.overSlots > contradictionSlots || e.overTimes > 1.5) {
		v.text = fmt.Sprintf("%.0f ports are held of a budget of %.0f and flows still open: "+
			"the budget is larger, or a port cools down for less long than configured",
			e.overLevel, s.ports)
		v.until = now + contradictionHold
		return
	}
	w := o.sampleOf()
	if w == nil && o.rate*sampleSlots*slotSeconds > s.ceiling {
		s.assignSample(o, false)
	}
	if w != nil && w.fitDue(now) {
		if f, ok := w.fit(s); ok {
			v.text = f.text(s)
			v.until = now + contradictionHold
		}
	}
}

// text says what the candidate is.
func (f *candidate) text(s *Account) string {
	text := fmt.Sprintf("flows stay unanswered with %.0f ports held of %.0f while others are answered: "+
		"the budget is smaller, or a port cools down for longer than configured",
		f.level, s.ceiling)
	if f.cool > 0 {
		text += fmt.Sprintf(" (%.0f s would explain it)", f.cool)
	}
	if f.ports > 0 {
		text += fmt.Sprintf(" (%.0f ports would explain it)", f.ports)
	}
	return text
}
