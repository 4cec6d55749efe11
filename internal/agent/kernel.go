package agent

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

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
	// last is what was read last, nil where there is no conntrack.
	last atomic.Pointer[metrics.Kernel]
	// filling is run's own.
	filling    filling
	table      string // the notice about the table
	allowances allowances
}

// run reads until ctx is cancelled. Without CAP_NET_ADMIN it reads the limits and no counter.
func (c *counters) run(ctx context.Context) error {
	var statistics *conntrack.Statistics
	defer func() { closeStatistics(statistics) }()
	read := func() error {
		if now := c.now(); c.allowances.due(now) {
			list, err := limits.Allowances(c.outer)
			c.notices.replace(slog.LevelWarn, "allowance", c.allowances.look(now, list, err))
		}
		if l, err := limits.Of(c.outer); err == nil && l.EntriesMax > 0 {
			if statistics == nil {
				if s, err := conntrack.OpenStatistics(c.foreign()); err == nil { // else tried again at the next look
					statistics = s
				}
			}
			k := metrics.Kernel{EntriesMax: l.EntriesMax}
			if statistics != nil {
				if k.Counters, err = statistics.Read(ctx); err != nil {
					closeStatistics(statistics)
					statistics = nil
				}
				k.Counted = err == nil
			}
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
			k.SecondsToFull, k.Forecast = c.filling.reaches(float64(l.EntriesMax))
			c.last.Store(&k)
			c.table = tableText(&k, c.table)
			c.notices.set("conntrack table", c.table)
		}
		return nil
	}
	_ = read()
	return every(ctx, kernelEvery, read)
}

func closeStatistics(s *conntrack.Statistics) {
	if s != nil {
		_ = s.Close()
	}
}
