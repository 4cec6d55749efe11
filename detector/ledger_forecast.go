package detector

import (
	"math"

	"github.com/snatwatch/snatwatch/collector"
)

// What happens to flows and port spaces is told to the forecast here and nowhere else.

func (l *Ledger) flowOpened(f *flow) {}

func (l *Ledger) flowClosed(f *flow, opened, ended collector.Interval, release collector.Time, reason collector.Reason) {
}

func (l *Ledger) flowReleased(f *flow, early bool) {}
func (l *Ledger) flowMoved(f *flow)                {}
func (l *Ledger) spaceTracked(s *portSpace)        {}
func (l *Ledger) spaceForgotten(s *portSpace)      {}

// exhausts is the median time to exhaustion of s in seconds, +Inf where none is known.
func exhausts(s *portSpace) float64 { return math.Inf(1) }
