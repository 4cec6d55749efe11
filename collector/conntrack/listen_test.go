package conntrack

import (
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// Events are read before they fill their room, also where ten times as many come as of late.
func TestPause(t *testing.T) {
	t.Parallel()
	const longest = 200 * time.Millisecond
	tests := []struct {
		name   string
		room   float64
		events []uint64 // that came in each second
		want   time.Duration
	}{
		{"nothing came", 32_768, nil, longest},
		{"few come", 32_768, []uint64{2000}, longest},
		{"many come", 32_768, []uint64{32_768}, 100 * time.Millisecond},
		{"many came a second ago", 32_768, []uint64{32_768, 0}, 100 * time.Millisecond * 8 / 7},
		{"many came a minute ago", 32_768, append([]uint64{32_768}, make([]uint64, 60)...), longest},
		{"more come than can be read in time", 32_768, []uint64{10_000_000}, drainLeast},
		{"the queue could not be made large", 200, nil, 20 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			now := collector.Time(0)
			l := &listener{room: tt.room}
			for _, n := range tt.events {
				now = now.Add(time.Second)
				l.opened += n / 2
				l.closed += n - n/2
				l.pace(now)
			}
			if got := l.pause(longest); (got - tt.want).Abs() > time.Microsecond {
				t.Errorf("events may wait %v, want %v", got, tt.want)
			}
			if got := l.pause(time.Millisecond); got > time.Millisecond {
				t.Errorf("events wait %v, asked for at most 1 ms", got)
			}
		})
	}
}
