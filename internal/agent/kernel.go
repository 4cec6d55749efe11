package agent

import (
	"context"
	"time"

	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/collector/limits"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// kernelEvery is how often the kernel's own counters are read, some 20 µs a time.
const kernelEvery = 5 * time.Second

// watchKernel reads the conntrack counters and limits of the outer namespace. Where there
// is no conntrack there is nothing to show, and without CAP_NET_ADMIN no counter.
func (a *agent) watchKernel(ctx context.Context) error {
	var statistics *conntrack.Statistics
	defer func() { closeStatistics(statistics) }()
	read := func() error {
		if l, err := limits.Of(a.outer); err == nil && l.EntriesMax > 0 {
			if statistics == nil {
				if s, err := conntrack.OpenStatistics(a.foreign()); err == nil { // else tried again at the next look
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
			k.Netns, k.Entries = a.outer.Inode(), uint32(l.Entries)
			a.kernel.Store(&[]metrics.Kernel{k})
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
