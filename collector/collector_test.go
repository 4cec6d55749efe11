package collector_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// A label value that nobody named would reach a metric as a bare number.
func TestEveryReasonHasAName(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for r := range collector.NumReasons {
		s := r.String()
		if seen[s] || s == "" {
			t.Errorf("reason %d: name %q is empty or taken", uint8(r), s)
		}
		seen[s] = true
	}
	if got, want := collector.NumReasons.String(), "reason 6"; got != want {
		t.Errorf("beyond the last reason: %q, want %q", got, want)
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		now := collector.Clock()
		if got, want := now(), collector.Time(start.UnixNano()); got != want {
			t.Errorf("at the start: %d, want Unix time %d", got, want)
		}
		time.Sleep(90 * time.Second)
		if got, want := now().Sub(collector.Time(start.UnixNano())), 90*time.Second; got != want {
			t.Errorf("later: %v, want %v", got, want)
		}
	})
}
