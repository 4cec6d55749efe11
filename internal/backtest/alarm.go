package backtest

import (
	"time"
)

// Alarm is an operating point: a method warns while its score for the horizon is
// at or above the threshold.
type Alarm struct {
	Name      string
	Method    int
	Horizon   int
	Threshold float64
}

// mergeGap joins alarms with a shorter gap between them, and is how long before an
// episode an alarm may have ended to count as its warning.
const mergeGap = time.Minute

// alarmLog follows one alarm through one run, in ticks.
type alarmLog struct {
	spans []episode // to is the last tick with the alarm on, inclusive
	open  bool
	on    int // ticks
}

// step takes a tick outside episodes.
func (a *alarmLog) step(k int, on bool, gap int) {
	if !on {
		return
	}
	a.on++
	if n := len(a.spans) - 1; a.open && k-a.spans[n].to <= gap {
		a.spans[n].to = k
		return
	}
	a.spans = append(a.spans, episode{k, k})
	a.open = true
}

// cut ends what is on: an episode has begun.
func (a *alarmLog) cut() { a.open = false }

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

// judge compares the log with the episodes that begin from tick first on.
func (a *alarmLog) judge(t *truth, first int, horizon time.Duration) Warnings {
	w := Warnings{On: float64(a.on) * t.tick.Seconds()}
	gap, ahead := t.ticks(mergeGap), t.ticks(horizon)
	watched, last := len(t.held)-first, first
	i := 0
	for _, e := range t.episodes {
		watched -= max(0, e.to-max(first, e.from))
		if e.from <= first {
			last = max(first, e.to)
			continue
		}
		w.Episodes++
		for i < len(a.spans) && a.spans[i].from < e.from {
			i++
		}
		if s := i - 1; s >= 0 && a.spans[s].from >= last && a.spans[s].to >= e.from-gap {
			lead := time.Duration(e.from-a.spans[s].from) * t.tick
			w.Leads = append(w.Leads, min(lead, horizon).Seconds())
		}
		last = e.to
	}
	w.Watched = float64(max(0, watched)) * t.tick.Seconds()
	for _, s := range a.spans {
		// until is counted from the tick the alarm was raised at. What came within the horizon of that is known, even if
		// the alarm was on until the record ended.
		_, known := t.exhausts(s.from, ahead)
		if yes, _ := t.exhausts(s.from, s.to-s.from+ahead); known && !yes {
			w.False++
		}
	}
	return w
}

func (w *Warnings) merge(o *Warnings) {
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
