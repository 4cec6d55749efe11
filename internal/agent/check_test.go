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
		got := strings.Join(c.look(&detector.Snapshot{At: at, Netns: []detector.NetnsSnapshot{{Netns: 7, Mismatches: mismatches}, {Netns: 9}}}), "")
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

// Flows that vanished from conntrack are named, beside a difference that the ledger found.
func TestVanishedFlowsAreNamed(t *testing.T) {
	t.Parallel()
	var c checks
	at := collector.Time(time.Hour)
	look := func(mismatches, vanished, reopened uint64) []string {
		at = at.Add(time.Second)
		return c.look(&detector.Snapshot{At: at, Netns: []detector.NetnsSnapshot{{Netns: 7, Mismatches: mismatches, Vanished: vanished, Reopened: reopened}}})
	}
	for _, tt := range []struct {
		mismatches, vanished, reopened uint64
		want                           []string
	}{
		{0, 0, 0, nil},
		{0, 4, 0, []string{"flows left conntrack before a read showed how they ended: network namespace 7: 4 flows vanished a moment after packets of theirs. Somebody flushed the table"}},
		{2, 4, 0, []string{"4 flows vanished", "found a difference: network namespace 7: 2 flows"}},
		{2, 9, 0, []string{"5 flows vanished", "2 flows of the kernel's table"}},
		{2, 9, 8, []string{"5 flows vanished", "2 flows of the kernel's table", "ports come round about as fast as conntrack is read: network namespace 7: 8 flows"}},
		{2, 10, 8, []string{"1 flow vanished", "2 flows of the kernel's table", "8 flows opened"}},
	} {
		got := look(tt.mismatches, tt.vanished, tt.reopened) // a notice for each
		if len(got) != len(tt.want) {
			t.Errorf("%d mismatches, %d vanished, %d reopened: notices %q, want %d", tt.mismatches, tt.vanished, tt.reopened, got,
				len(tt.want))
		}
		for _, want := range tt.want {
			if !strings.Contains(strings.Join(got, "\n"), want) {
				t.Errorf("%d mismatches, %d vanished: %q, want %q", tt.mismatches, tt.vanished, got, want)
			}
		}
	}
}
