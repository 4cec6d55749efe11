package score

import "time"

// Alarm is an operating point: a method warns while its score for the horizon is
// at or above the threshold.
type Alarm struct {
	Name      string
	Method    int
	Horizon   int
	Threshold float64
}

// MergeGap joins alarms with a shorter gap between them, and is how long before an
// episode an alarm may have ended to count as its warning.
const MergeGap = time.Minute

// AlarmLog follows one alarm through one run, in ticks.
type AlarmLog struct {
	Spans []Span // to is the last tick with the alarm on, inclusive
	open  bool
	on    int // ticks
}

// Step takes a tick outside episodes.
func (a *AlarmLog) Step(k int, on bool, gap int) {
	if !on {
		return
	}
	a.on++
	if n := len(a.Spans) - 1; a.open && k-a.Spans[n].To <= gap {
		a.Spans[n].To = k
		return
	}
	a.Spans = append(a.Spans, Span{k, k})
	a.open = true
}

// Cut ends what is on: an episode has begun.
func (a *AlarmLog) Cut() { a.open = false }

// Warnings says how an alarm did. It adds up over runs.
type Warnings struct {
	Episodes int
	// Leads of the episodes that were warned of, in seconds, capped at the horizon.
	Leads []float64
	// False alarms were not followed by an episode within the horizon.
	False int
	// On is how long the alarm was on, Watched how long it could have been, in seconds.
	On, Watched float64
}

// Judge compares the log with the episodes that begin from tick first on.
func (a *AlarmLog) Judge(t *Truth, first int, horizon time.Duration) Warnings {
	w := Warnings{On: float64(a.on) * t.Tick.Seconds()}
	gap, ahead := t.Ticks(MergeGap), t.Ticks(horizon)
	watched, last := len(t.Held)-first, first
	i := 0
	for _, e := range t.Episodes {
		watched -= max(0, e.To-max(first, e.From))
		if e.From <= first {
			last = max(first, e.To)
			continue
		}
		w.Episodes++
		for i < len(a.Spans) && a.Spans[i].From < e.From {
			i++
		}
		if s := i - 1; s >= 0 && a.Spans[s].From >= last && a.Spans[s].To >= e.From-gap {
			lead := time.Duration(e.From-a.Spans[s].From) * t.Tick
			w.Leads = append(w.Leads, min(lead, horizon).Seconds())
		}
		last = e.To
	}
	w.Watched = float64(max(0, watched)) * t.Tick.Seconds()
	for _, s := range a.Spans {
		// until is counted from the tick the alarm was raised at. What came within the horizon of that is known, even if
		// the alarm was on until the record ended.
		_, known := t.Exhausts(s.From, ahead)
		if yes, _ := t.Exhausts(s.From, s.To-s.From+ahead); known && !yes {
			w.False++
		}
	}
	return w
}

// Merge adds the warnings of another run.
func (w *Warnings) Merge(o *Warnings) {
	w.Episodes += o.Episodes
	w.Leads = append(w.Leads, o.Leads...)
	w.False += o.False
	w.On += o.On
	w.Watched += o.Watched
}

// Detected is the share of episodes that were warned of.
func (w *Warnings) Detected() float64 { return float64(len(w.Leads)) / float64(w.Episodes) }

// Lead is the median over the episodes that were warned of, in seconds.
func (w *Warnings) Lead() float64 { return median(w.Leads) }

// FalsePerDay is false alarms per day outside episodes.
func (w *Warnings) FalsePerDay() float64 { return float64(w.False) / w.Watched * 86400 }

// OnShare is the share of time outside episodes that the alarm was on.
func (w *Warnings) OnShare() float64 { return w.On / w.Watched }
