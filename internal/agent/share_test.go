package agent

import (
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// The budget is of the whole process, over a minute.
func TestShare(t *testing.T) {
	t.Parallel()
	const start = collector.Time(1_700_000_000_000_000_000)
	var s share
	for _, tt := range []struct {
		after, used time.Duration
		want        bool
	}{
		{0, 5 * time.Second, false},                                      // before the first look it may be anything
		{30 * time.Second, 20 * time.Second, false},                      // a burst within a minute
		{60 * time.Second, 5*time.Second + 1980*time.Millisecond, true},  // 3.3 %
		{90 * time.Second, 8 * time.Second, true},                        // stays until the minute is over
		{120 * time.Second, 8*time.Second + 100*time.Millisecond, false}, // 1.9 %
	} {
		if got := s.look(start.Add(tt.after), tt.used, 0.02); got != tt.want {
			t.Errorf("after %v: %t, want %t", tt.after, got, tt.want)
		}
	}
}
