package detector

import (
	"fmt"
	"math"
)

// What makes evidence against a budget.
const (
	contradictionTau   = 600.0  // seconds over which evidence fades
	contradictionHold  = 1800.0 // seconds that a verdict stands after the last evidence
	contradictionOpens = 20     // opens that must speak against the budget
	contradictionSlot  = 15     // seconds of a slot of time, of which
	contradictionSlots = 6      // must each hold one of them
	// contradictionLow is the share of the effective ceiling below which no open
	// should fail for lack of ports.
	contradictionLow = 0.8
	// contradictionOver is the share of the nominal budget that cannot be held.
	contradictionOver = 1.02
)

// evidence is what one port space tells against its budget. Answered flows are those that
// ended otherwise than unanswered; a refused one was answered.
type evidence struct {
	answered, failed float32 // since the last tick
	early            float32 // those of the failed that opened by full, and may have found no port
	full             float64 // the last second at which the space was not far from full
	answering        float32 // per second, over half a minute
	failing          float32
	// over counts flows answered while more ports were held than the budget has, low those
	// unanswered while it was far from full and others were answered.
	over, low           float32
	overLevel, lowLevel float32 // mean held ports then
	overSlots, lowSlots float32 // slots of time in which there was one
	slot                int64   // the last of them
}

// weigh adds what happened in the dt seconds up to now. held is without flows that still wait
// for an answer.
func (e *evidence) weigh(now, dt, held, ports, ceiling float64) {
	keep := float32(math.Exp(-dt / contradictionTau))
	e.over *= keep
	e.low *= keep
	e.overSlots *= keep
	e.lowSlots *= keep
	f := float32(1 - math.Exp(-dt/10))
	e.answering += f * (e.answered/float32(dt) - e.answering)
	e.failing += f * (e.failed/float32(dt) - e.failing)
	slot := int64(now) / contradictionSlot
	switch mixed := e.answering > 0.05*(e.answering+e.failing); {
	case held > contradictionOver*ports && e.failing < 0.05*e.answering:
		e.note(&e.over, &e.overLevel, &e.overSlots, e.answered, held, slot)
	case held < contradictionLow*ceiling && mixed:
		// Where nothing at all is answered the server is dead, not the budget wrong.
		e.note(&e.low, &e.lowLevel, &e.lowSlots, e.failed-e.early, held, slot)
	}
	if held >= contradictionLow*ceiling {
		e.full = now
	}
	e.answered, e.failed, e.early = 0, 0, 0
}

// fail takes a flow that opened in second opened and was never answered.
func (e *evidence) fail(opened float64) {
	e.failed++
	if opened <= e.full {
		e.early++
	}
}

// note adds n opens at level held to a sum of evidence.
func (e *evidence) note(sum, level, slots *float32, n float32, held float64, slot int64) {
	if n == 0 {
		return
	}
	*level = (*level**sum + float32(held)*n) / (*sum + n)
	*sum += n
	if slot != e.slot {
		e.slot = slot
		*slots++
	}
}

// contradiction is the verdict on a budget.
type contradiction struct {
	until float64 // second; 0 when there is none
	text  string
}

// contradict draws the verdict from the evidence of a port space with rate opens a
// second and live flows.
func (s *stock) contradict(e *evidence, now, live float64) {
	v := &s.verdict
	switch {
	case e.over >= contradictionOpens && e.overSlots > contradictionSlots:
		v.text = fmt.Sprintf("%.0f ports are held of a budget of %.0f and flows still open: the budget is larger, or a port cools down for less long than configured",
			e.overLevel, s.ports)
	case e.low >= contradictionOpens && e.lowSlots > contradictionSlots:
		v.text = fmt.Sprintf("flows stay unanswered with %.0f ports held of %.0f while others are answered: the budget is smaller, or a port cools down for longer than configured",
			e.lowLevel, s.ceiling)
		if cool := (s.ceiling - live) / float64(e.answering); cool > float64(s.longest) && cool < 3600 {
			v.text += fmt.Sprintf(" (%.0f s would explain it)", cool)
		}
	default:
		if now > v.until {
			*v = contradiction{}
		}
		return
	}
	v.until = now + contradictionHold
}
