package conntrack

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
)

// clocks is a clock whose two hands a test sets.
type clocks struct {
	agent collector.Time
	wall  int64
}

func (h *clocks) pass(d time.Duration) { h.agent, h.wall = h.agent.Add(d), h.wall+int64(d) }
func (h *clocks) step(d time.Duration) { h.wall += int64(d) }

func newClocks() (*clocks, *clock) {
	const day = 24 * time.Hour
	h := &clocks{agent: collector.Time(100 * day), wall: int64(100 * day)}
	c := newClock(func() collector.Time { return h.agent })
	c.wall = func() int64 { return h.wall }
	c.boot = func() time.Duration { return day }
	c.read()
	return h, c
}

// A stamp of the wall clock becomes a moment of the agent's, exact where only one is possible.
func TestClock(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) collector.Time { return collector.Time(100 * 24 * time.Hour).Add(d) }
	exactly := func(d time.Duration) collector.Interval { return collector.Interval{From: at(d), To: at(d)} }
	before := func(d time.Duration) collector.Interval { return collector.Interval{To: at(d)} }
	tests := []struct {
		name string
		// run returns the stamp and what is to become of it.
		run func(h *clocks, c *clock) (stamp int64, want collector.Interval)
	}{
		{"no step", func(h *clocks, _ *clock) (int64, collector.Interval) {
			stamp := h.wall
			h.pass(time.Hour)
			return stamp, exactly(0)
		}},
		{"slew within tolerance", func(h *clocks, _ *clock) (int64, collector.Interval) {
			h.pass(time.Minute)
			h.step(3 * time.Millisecond)
			return h.wall, exactly(time.Minute)
		}},
		{"before the agent", func(h *clocks, _ *clock) (int64, collector.Interval) {
			return h.wall - int64(time.Hour), exactly(-time.Hour)
		}},
		{"older than the machine", func(h *clocks, _ *clock) (int64, collector.Interval) {
			h.pass(time.Hour)
			return h.wall - int64(48*time.Hour), before(time.Hour)
		}},
		{"in the future: the clock was stepped back before the agent started", func(h *clocks, _ *clock) (int64, collector.Interval) {
			return h.wall + int64(time.Hour), before(0)
		}},
		{"after a step forward", func(h *clocks, c *clock) (int64, collector.Interval) {
			h.pass(time.Minute)
			c.read()
			h.step(time.Hour)
			h.pass(time.Minute)
			c.read()
			h.pass(time.Minute)
			return h.wall - int64(30*time.Second), exactly(150 * time.Second)
		}},
		{"before a step forward", func(h *clocks, c *clock) (int64, collector.Interval) {
			stamp := h.wall - int64(time.Minute)
			h.pass(time.Minute)
			c.read()
			h.step(time.Hour)
			h.pass(time.Minute)
			c.read()
			return stamp, exactly(-time.Minute)
		}},
		{"before a step back that repeats it", func(h *clocks, c *clock) (int64, collector.Interval) {
			h.pass(time.Hour)
			c.read()
			stamp := h.wall - int64(time.Minute) // comes a second time after the step
			h.step(-30 * time.Minute)
			c.read()
			h.pass(time.Hour)
			c.read()
			return stamp, collector.Interval{From: at(59*time.Minute) - 1, To: at(89 * time.Minute)}
		}},
		{"after a step back, past what it repeated", func(h *clocks, c *clock) (int64, collector.Interval) {
			h.pass(time.Hour)
			c.read()
			h.step(-30 * time.Minute)
			c.read()
			h.pass(time.Hour)
			return h.wall - int64(time.Minute), exactly(119 * time.Minute)
		}},
		{"before more steps than are remembered", func(h *clocks, c *clock) (int64, collector.Interval) {
			stamp := h.wall
			h.pass(time.Minute)
			for range stepsMax + 1 {
				h.step(time.Hour)
				h.pass(time.Second)
				c.read()
			}
			return stamp, before(time.Minute + (stepsMax+1)*time.Second)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, c := newClocks()
			stamp, want := tt.run(h, c)
			if d := cmp.Diff(want, c.moment(uint64(stamp), c.read())); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// Between the readings of two clocks anything may come; what took long is no step.
func TestClockInterrupted(t *testing.T) {
	t.Parallel()
	h, c := newClocks()
	c.wall = func() int64 { h.pass(time.Second); return h.wall }
	c.read()
	if len(c.reigns) != 1 {
		t.Errorf("%d reigns", len(c.reigns))
	}
}

// The default clock starts as Unix time and runs with time.
func TestClockDefault(t *testing.T) {
	t.Parallel()
	c := newClock(nil)
	wall := time.Now()
	a := c.read()
	if d := time.Duration(int64(a) - wall.UnixNano()); d < 0 || d > time.Minute {
		t.Errorf("starts %v from Unix time", d)
	}
	if b := c.read(); b < a || c.boot() <= 0 {
		t.Errorf("%d then %d; up for %v", a, b, c.boot())
	}
}
