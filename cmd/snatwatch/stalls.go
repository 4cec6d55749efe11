package main

import (
	"context"
	"errors"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/sockdiag"
)

// A look at the sockets whose first packet goes unanswered costs the kernel a walk of
// its whole table per namespace. It is taken every stallsEvery, and less often where it
// would take more than its share of the CPU budget.
const (
	stallsEvery   = 2 * time.Second
	stallsLongest = time.Minute
	stallsShare   = 0.25
)

// stallSensor tells the ledgers of flows whose first packet was sent again. Where this
// machine translates, a flow that finds no port leaves no entry in conntrack: its
// packet is dropped before, and the socket that sends it again is all there is to see.
func (a *agent) stallSensor() source {
	s := sockdiag.New(sockdiag.Config{Now: a.now, Finder: a.finder()})
	var works stats[bool]
	return source{
		subject: "stalls",
		run: func(ctx context.Context, _ collector.Sink) error {
			for {
				began := time.Now()
				flows, err := s.Stalls(ctx)
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				var denied *netns.AccessError
				if err != nil && !errors.As(err, &denied) && flows == nil {
					works.from(func() bool { return false })
					return err
				}
				took := time.Since(began)
				if err := a.loop.observeStalls(ctx, a.now(), flows); err != nil {
					return err
				}
				works.from(func() bool { return true })
				select {
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-time.After(stallsWait(took, a.config.CPUBudget)):
				}
			}
		},
		stats: func() sourceStats { return sourceStats{stalled: works.read()} },
	}
}

// stallsWait is how long to wait after a look that took so long.
func stallsWait(took time.Duration, budget float64) time.Duration {
	wait := stallsEvery
	if budget > 0 {
		wait = max(wait, time.Duration(float64(took)/(budget*stallsShare)))
	}
	return min(wait, stallsLongest)
}
