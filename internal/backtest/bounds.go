package backtest

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/backtest/record"
)

// limits of what one record may ask for.
const (
	// maxTicks bounds the time that a replay takes, and the rows of a trace.
	maxTicks = 50_000_000
	// maxJudged bounds the ticks of all judged port spaces together: about 250 bytes each.
	maxJudged = 16_000_000
)

// replayed refuses a record that has one replay go on for too long: one whose flows start too far apart, or with a
// trace, which goes on until the last has ended, one with a flow that ends too late.
func replayed(r *record.Record, s *record.Source, last collector.Time, tick time.Duration, traced bool) error {
	to := last
	if traced {
		to = s.To
	}
	n := int64(to.Sub(s.From) / tick)
	if n <= maxTicks {
		return nil
	}
	if to != last {
		for _, f := range r.Flows {
			if f.End == to {
				return fmt.Errorf("%s: a flow that starts at %s ends at %s: a trace until then has %d ticks, more than %d; take "+
					"a longer --tick, or mend the record",
					r.Name, onClock(r, f.Start), onClock(r, f.End), n, maxTicks)
			}
		}
	}
	return fmt.Errorf("%s: %d ticks, more than %d: %s; take a longer --tick, or mend the record", r.Name, n,
		maxTicks, apart(r))
}

// judgedTicks refuses a record of which too much would have to be kept.
func judgedTicks(r *record.Record, s *record.Source, last collector.Time, tick time.Duration, spaces int) error {
	n := int64(last.Sub(s.From)/tick) * int64(spaces)
	if n <= maxJudged {
		return nil
	}
	return fmt.Errorf("%s: %d ticks of %d port spaces, more than %d that can be judged at once: %s; take a longer "+
		"--tick or one --source, or mend the record",
		r.Name, n/int64(spaces), spaces, maxJudged, apart(r))
}

// apart tells of the longest time without a start: what is odd about a record that lasts too long.
func apart(r *record.Record) string {
	at := 0
	for i := range r.Flows[1:] {
		if r.Flows[i+1].Start-r.Flows[i].Start > r.Flows[at+1].Start-r.Flows[at].Start {
			at = i
		}
	}
	return fmt.Sprintf("its flows start from %s to %s, none of them between %s and %s", onClock(r, r.Flows[0].Start),
		onClock(r, r.Flows[len(r.Flows)-1].Start), onClock(r, r.Flows[at].Start), onClock(r, r.Flows[at+1].Start))
}

// onClock is t as the record has it, in seconds.
func onClock(r *record.Record, t collector.Time) string { return figure((t - r.Zero()).Seconds(), 0) }
