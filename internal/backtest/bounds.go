package backtest

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/collector"
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
func (r *Record) replayed(s *Source, last collector.Time, tick time.Duration, traced bool) error {
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
				return fmt.Errorf("%s: a flow that starts at %s ends at %s: a trace until then has %d ticks, more than %d; take a longer --tick, or mend the record",
					r.Name, r.clock(f.Start), r.clock(f.End), n, maxTicks)
			}
		}
	}
	return fmt.Errorf("%s: %d ticks, more than %d: %s; take a longer --tick, or mend the record", r.Name, n, maxTicks, r.apart())
}

// judged refuses a record of which too much would have to be kept.
func (r *Record) judged(s *Source, last collector.Time, tick time.Duration, spaces int) error {
	n := int64(last.Sub(s.From)/tick) * int64(spaces)
	if n <= maxJudged {
		return nil
	}
	return fmt.Errorf("%s: %d ticks of %d port spaces, more than %d that can be judged at once: %s; take a longer --tick or one --source, or mend the record",
		r.Name, n/int64(spaces), spaces, maxJudged, r.apart())
}

// apart tells of the longest time without a start: what is odd about a record that lasts too long.
func (r *Record) apart() string {
	at := 0
	for i := range r.Flows[1:] {
		if r.Flows[i+1].Start-r.Flows[i].Start > r.Flows[at+1].Start-r.Flows[at].Start {
			at = i
		}
	}
	return fmt.Sprintf("its flows start from %s to %s, none of them between %s and %s", r.clock(r.Flows[0].Start),
		r.clock(r.Flows[len(r.Flows)-1].Start), r.clock(r.Flows[at].Start), r.clock(r.Flows[at+1].Start))
}

// clock is t as the record has it, in seconds.
func (r *Record) clock(t collector.Time) string { return figure((t - r.zero()).Seconds(), 0) }
