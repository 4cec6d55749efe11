package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
)

// A difference that the ledger's check of itself found is named for a while, with its namespace and figure.
func TestChecksAreNamed(t *testing.T) {
	t.Parallel()
	var c checks
	at := collector.Time(time.Hour)
	look := func(after time.Duration, mismatches uint64, want string) {
		t.Helper()
		at = at.Add(after)
		got := c.look(&detector.Snapshot{At: at, Netns: []detector.NetnsSnapshot{{Netns: 7, Mismatches: mismatches}, {Netns: 9}}})
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%d mismatches: %q, want %q", mismatches, got, want)
		}
	}
	look(0, 0, "")
	look(time.Second, 3, "network namespace 7: 3 flows")
	look(time.Minute, 3, "3 flows")
	look(time.Minute, 5, "2 flows")
	look(checkHold-time.Second, 5, "2 flows")
	look(time.Second, 5, "")
}
