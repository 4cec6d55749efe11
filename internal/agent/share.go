package agent

import (
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// shareOver is the time over which the share of a core is taken that the whole process uses: forecast, page and garbage
// collection come in bursts.
const shareOver = time.Minute

// share tells whether the process stays within its CPU budget.
type share struct {
	since    collector.Time
	used     time.Duration
	exceeded bool
}

// look takes the processor time that the process has used until now, and reports whether the last whole minute took
// more than budget, in cores. It is false in the first one.
func (s *share) look(now collector.Time, used time.Duration, budget float64) bool {
	switch over := now.Sub(s.since); {
	case s.since == 0:
		s.since, s.used = now, used
	case over >= shareOver:
		s.exceeded = (used - s.used).Seconds() > budget*over.Seconds()
		s.since, s.used = now, used
	}
	return s.exceeded
}
