package agent

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/collector/limits"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// kernelEvery is how often the agent reads the kernel's own counters. A read takes some 20 µs.
const kernelEvery = 5 * time.Second

// counters reads the kernel's own conntrack counters and limits of the outer namespace.
type counters struct {
	*base
	loop *loop // to hand dropped packets to
	// limits reads the limits of the outer namespace.
	limits func() (collector.Limits, error)
	// last is what was read last, nil where there is no conntrack.
	last atomic.Pointer[metrics.Kernel]
	// What follows, up to allowances, is run's own.
	statistics *conntrack.Statistics // nil: not open
	filling    filling
	losing     losing
	table      string // the notice about the table
	allowances allowances
}

func newCounters(b *base) *counters {
	return &counters{base: b, limits: func() (collector.Limits, error) { return limits.Of(b.outer) }}
}

// run reads until ctx is cancelled.
func (c *counters) run(ctx context.Context) error {
	defer c.closeStatistics()
	read := func() error {
		if now := c.now(); c.allowances.due(now) {
			list, err := limits.Allowances(c.outer)
			c.notices.replace(slog.LevelWarn, "allowance", c.allowances.look(now, list, err))
		}
		return c.look(ctx)
	}
	_ = read()
	return every(ctx, kernelEvery, read)
}

// look reads the counters, and hands on what was dropped since the last look. Without CAP_NET_ADMIN it reads the limits
// and no counter. What cannot be read is shown as absent.
func (c *counters) look(ctx context.Context) error {
	l, ok := c.tracked()
	if !ok {
		c.closeStatistics()
		c.filling, c.losing = filling{}, losing{}
		c.show(nil)
		return nil
	}
	k := metrics.Kernel{EntriesMax: l.EntriesMax}
	k.Counters, k.Counted = c.count(ctx)
	if before := c.last.Load(); before != nil && before.Counted && k.Counted {
		// A packet of a flow without a port counts as both. Other drops count as one of them.
		n := min(k.InsertFailed-before.InsertFailed, k.Drop-before.Drop)
		if n > 0 && k.InsertFailed > before.InsertFailed && k.Drop > before.Drop {
			if err := c.loop.observeDrops(ctx, n); err != nil {
				return err
			}
		}
	}
	k.Netns, k.Entries = c.outer.Inode(), uint32(l.Entries)
	c.filling.look(c.now(), float64(l.Entries))
	if l.EntriesMax > 0 { // else nobody knows
		k.SecondsToFull, k.Forecast = c.filling.reaches(float64(l.EntriesMax))
	}
	if k.Counted {
		k.InsertFailedRate = c.losing.look(c.now(), k.InsertFailed)
	}
	c.show(&k)
	return nil
}

// tracked returns the limits of the outer namespace. ok is false if conntrack is not loaded, or if they cannot be read.
func (c *counters) tracked() (l collector.Limits, ok bool) {
	l, err := c.limits()
	return l, err == nil && l.EntriesMax != 0
}

// count reads the counters; ok is false if they cannot be read now.
func (c *counters) count(ctx context.Context) (sums collector.Counters, ok bool) {
	var err error
	if c.statistics == nil {
		if c.statistics, err = conntrack.OpenStatistics(c.foreign()); err != nil {
			c.statistics = nil
			return sums, false
		}
	}
	if sums, err = c.statistics.Read(ctx); err != nil {
		c.closeStatistics()
	}
	return sums, err == nil
}

// show shows k from now on, nil where there is no conntrack any more.
func (c *counters) show(k *metrics.Kernel) {
	c.last.Store(k)
	c.table = tableText(k, c.table)
	c.notices.set("conntrack table", c.table)
}

func (c *counters) closeStatistics() {
	if c.statistics != nil {
		_ = c.statistics.Close()
		c.statistics = nil
	}
}
