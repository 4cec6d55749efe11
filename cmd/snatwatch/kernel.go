package main

import (
	"context"
	"time"

	"github.com/snatwatch/snatwatch/collector/limits"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// kernelEvery is how often the kernel's own counters are read.
const kernelEvery = 5 * time.Second

// watchKernel reads the conntrack counters and limits of the outer namespace. Where there
// is no conntrack there is nothing to show.
func (a *agent) watchKernel(ctx context.Context) error {
	ticker := time.NewTicker(kernelEvery)
	defer ticker.Stop()
	for {
		if l, err := limits.Of(a.outer); err == nil && l.EntriesMax > 0 {
			k := metrics.Kernel{EntriesMax: l.EntriesMax}
			k.Netns, k.Entries = a.outer.Inode(), uint32(l.Entries)
			a.kernel.Store(&[]metrics.Kernel{k})
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}
