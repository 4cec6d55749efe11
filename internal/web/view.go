package web

import (
	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// exact reports whether the ledger of every namespace is exact.
func exact(s *detector.Snapshot) bool {
	for _, n := range s.Netns {
		if !n.Exact {
			return false
		}
	}
	return len(s.Netns) > 0
}

// causes returns the causes of failed opens that a working sensor can see; for UDP there are none.
func causes(v *metrics.View, b *budget.Budget, p *detector.AccountSnapshot) []string {
	if p.Protocol != collector.TCP {
		return nil
	}
	return v.Causes.Of(b)
}

// failures returns how many opens failed from one cause.
func failures(p *detector.AccountSnapshot, cause string) uint64 {
	switch cause {
	case metrics.CauseUnanswered:
		return p.Unanswered
	case metrics.CauseRefused:
		return p.Refused
	}
	return p.NoPorts
}
