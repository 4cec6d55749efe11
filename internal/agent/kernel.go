package agent

import (
	"context"
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
	// last is what was read last, nil where there is no conntrack.
	last atomic.Pointer[metrics.Kernel]
	// filling is run's own.
	filling filling
	losing  losing
	table   string // the notice about the table
	// allowances are what was read last of EC2's own connection tracking.
	allowances atomic.Pointer[[]metrics.Allowance]
}

// allowanceEvery is how often the agent reads EC2's own connection tracking: it looks at every interface.
const allowanceEvery = 15 * time.Second

// readAllowances reads EC2's own connection tracking. What cannot be read is shown as absent.
func (c *counters) readAllowances() {
	list, err := limits.Allowances(c.outer)
	var shown []metrics.Allowance
	for _, a := range list {
		shown = append(shown, metrics.Allowance{
			Interface: a.Interface, Available: a.Available, Exceeded: a.Exceeded, Known: a.Known,
		})
	}
	if err != nil {
		shown = nil
	}
	c.allowances.Store(&shown)
}

// run reads until ctx is cancelled. Without CAP_NET_ADMIN it reads the limits and no counter.
func (c *counters) run(ctx context.Context) error {
	var statistics *conntrack.Statistics
	defer func() { closeStatistics(statistics) }()
	looked := collector.Time(0)
	read := func() error {
		if now := c.now(); looked == 0 || now.Sub(looked) >= allowanceEvery {
			looked = now
			c.readAllowances()
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
			c.filling.look(c.now(), l.Entries)
			k.SecondsToFull, k.Forecast = c.filling.full(l.EntriesMax)
			if k.Counted {
				k.InsertFailedRate = c.losing.look(c.now(), k.InsertFailed)
			}
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
