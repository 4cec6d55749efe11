package agent

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
)

// The kernel's figures are those of the last look: where conntrack is gone, or cannot be read, there are none.
func TestKernelFiguresGo(t *testing.T) {
	t.Parallel()
	outer, err := netns.Self()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = outer.Close() }()
	now := collector.Time(time.Hour)
	b := &base{outer: outer, now: func() collector.Time { return now }, notices: newNotices(slog.New(slog.DiscardHandler))}
	c := newCounters(b)
	defer c.closeStatistics()
	for _, tt := range []struct {
		name    string
		limits  collector.Limits
		err     error
		shown   bool
		notices int
	}{
		{"conntrack is there", collector.Limits{Entries: 95, EntriesMax: 100}, nil, true, 1},
		{"its module is unloaded", collector.Limits{}, nil, false, 0},
		{"it is loaded again", collector.Limits{Entries: 95, EntriesMax: 100}, nil, true, 1},
		{"its namespace cannot be entered any more", collector.Limits{}, errors.New("gone"), false, 0},
		{"a table without a limit", collector.Limits{Entries: 95, EntriesMax: collector.Unlimited}, nil, true, 0},
		{"a small table", collector.Limits{Entries: 57, EntriesMax: 60}, nil, true, 1},
	} {
		now = now.Add(kernelEvery)
		c.limits = func() (collector.Limits, error) { return tt.limits, tt.err }
		if err := c.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		k := c.last.Load()
		if (k != nil) != tt.shown || k != nil && (k.Entries != uint32(tt.limits.Entries) || k.EntriesMax != tt.limits.EntriesMax) {
			t.Errorf("%s: %+v", tt.name, k)
		}
		if got := slices.Clone(b.notices.list()); len(got) != tt.notices {
			t.Errorf("%s: notices %q, want %d", tt.name, got, tt.notices)
		}
	}
}
