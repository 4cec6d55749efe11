package conntrack

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
)

const (
	// tolerance is the smallest change between wall clock and agent clock that counts as a step. A time that is read
	// from a stamp is as exact as this.
	tolerance = 10 * time.Millisecond
	// stepsMax is how many steps the clock remembers. It does not believe a stamp from before them.
	stepsMax = 8
	// sampleMax is how long the reading of two clocks may take to count as one moment.
	sampleMax = time.Millisecond
)

// clock puts the kernel's wall-clock stamps on the agent's clock, across
// steps of the wall clock.
type clock struct {
	// agent is the agent's clock, wall the wall clock in ns, boot the time since boot.
	agent func() collector.Time
	wall  func() int64
	boot  func() time.Duration

	// reigns are the times between two steps, oldest first; the last goes on.
	reigns []reign
}

// reign is a time in which the wall clock was offset ahead of the agent's.
type reign struct {
	from, to collector.Time
	offset   int64
}

// newClock returns a clock over agent, or over a new collector.Clock if agent is nil.
func newClock(agent func() collector.Time) *clock {
	if agent == nil {
		agent = collector.Clock()
	}
	return &clock{
		agent: agent,
		wall:  func() int64 { return time.Now().UnixNano() },
		boot: func() time.Duration {
			var ts unix.Timespec
			if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
				return 0
			}
			return time.Duration(ts.Nano())
		},
	}
}

// read returns the time, and notes whether somebody set the wall clock since the last call.
func (c *clock) read() collector.Time {
	now, offset, ok := c.sample()
	if !ok {
		return now
	}
	if len(c.reigns) == 0 {
		from := collector.Time(1)
		if up := c.boot(); up > 0 {
			from = now.Add(-up)
		}
		c.reigns = append(c.reigns, reign{from: from, to: now, offset: offset})
		return now
	}
	last := &c.reigns[len(c.reigns)-1]
	if d := offset - last.offset; -int64(tolerance) < d && d < int64(tolerance) {
		last.to = now
		return now
	}
	if len(c.reigns) == stepsMax {
		c.reigns = append(c.reigns[:0], c.reigns[1:]...)
	}
	// The step was somewhere since the last call, so the new reign may have begun then.
	from := c.reigns[len(c.reigns)-1].to
	c.reigns[len(c.reigns)-1].to = now
	c.reigns = append(c.reigns, reign{from: from, to: now, offset: offset})
	return now
}

// sample reads both clocks at one moment; ok is false if each try was interrupted.
func (c *clock) sample() (now collector.Time, offset int64, ok bool) {
	for range 3 {
		before := c.agent()
		wall := c.wall()
		now = c.agent()
		if now.Sub(before) < sampleMax {
			return now, wall - int64(before), true
		}
	}
	return now, 0, false
}

// moment converts a stamp of the wall clock to the agent's clock. The result is exact if the stamp fits one reign. If
// it fits several, the result bounds all of them. If it fits none (the clock was set before the agent started), the
// result is only bounded by now.
func (c *clock) moment(stamp uint64, now collector.Time) collector.Interval {
	var at collector.Interval
	n := 0
	for i := range c.reigns {
		r := &c.reigns[i]
		t := collector.Time(int64(stamp) - r.offset)
		to := r.to
		if i == len(c.reigns)-1 {
			to = now
		}
		if t < r.from.Add(-tolerance) || t > to.Add(tolerance) {
			continue
		}
		t = min(t, now)
		if n == 0 {
			at = collector.Interval{From: t, To: t}
		} else {
			at.From, at.To = min(at.From, t), max(at.To, t)
		}
		n++
	}
	switch {
	case n == 0:
		return collector.Interval{To: now}
	case n > 1:
		at.From = max(1, at.From-1) // (From, To] leaves From out
	}
	return at
}
