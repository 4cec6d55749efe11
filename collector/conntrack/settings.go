package conntrack

import (
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/limits"
)

// settings are what the sysctls and rules of a namespace say of its entries and events.
type settings struct {
	limits   *limits.Reader // nil before the first read
	timeouts timeouts
	policies policies
	masks    masks
	// eventsErr is why there can be no events, nil if there can; eventsRead when that was last asked between two reads of
	// all limits.
	eventsErr  error
	eventsRead collector.Time
}

// readLimits reads the timeouts of the namespace and whether it has events. entriesMax is nf_conntrack_max, 0 where
// unknown. The error says what is not known.
func (s *settings) readLimits() (entriesMax int, err error) {
	l, err := s.limits.Read()
	s.timeouts = newTimeouts(l)
	s.eventsErr = nil
	if l.Events <= 0 {
		s.eventsErr = ErrEventsOff
	}
	return l.EntriesMax, err
}

// checkInterval is how often a Source checks that the kernel still sends events.
const checkInterval = 100 * time.Millisecond

// eventsOff reports whether somebody has switched events off since all limits were read. It asks the kernel once in
// checkInterval.
func (s *settings) eventsOff(now collector.Time) bool {
	if due := s.eventsErr == nil && now.Sub(s.eventsRead) >= checkInterval; !due {
		return false
	}
	s.eventsRead = now
	return s.limits.Events() == 0
}

func (s *settings) close() {
	if s.limits != nil {
		s.limits.Close()
		s.limits = nil
	}
}
