package collector_test

import (
	"testing"

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
