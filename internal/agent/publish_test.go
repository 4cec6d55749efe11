package agent

import (
	"log/slog"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/internal/config"
)

// The snapshot's time is the wall clock's of now, also after a step that the agent's own clock did not follow.
func TestPublishedTimeFollowsTheWallClock(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]time.Duration{"none": 0, "an hour ahead": time.Hour, "an hour back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outer, err := netns.Self()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = outer.Close() }()
			now := func() collector.Time { return collector.Time(time.Now().Add(-step).UnixNano()) }
			b := &base{now: now, outer: outer, started: &config.Config{CPUBudget: 1}, notices: newNotices(slog.New(slog.DiscardHandler))}
			a := &publisher{base: b, setup: &setup{base: b}, sensors: &sensors{base: b}, counters: &counters{base: b}}
			before := time.Now()
			a.publish(&detector.Snapshot{At: now()})
			if got := a.state.Load().View.At; got.Before(before.Add(-time.Millisecond)) || got.After(time.Now().Add(time.Millisecond)) {
				t.Errorf("snapshot at %v, want between %v and now", got, before)
			}
		})
	}
}
