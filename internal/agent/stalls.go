package agent

import (
	"context"
	"errors"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/cputime"
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
func (ss *sensors) stallSensor() source {
	s := sockdiag.New(sockdiag.Config{Now: ss.now, Finder: ss.finder()})
	var works stats[bool]
	return source{
		subject: "stalls",
		run: func(ctx context.Context, _ collector.Sink) error {
			for {
				flows, took, err := look(ctx, s)
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				var denied *netns.AccessError
				if err != nil && !errors.As(err, &denied) && flows == nil {
					works.from(func() bool { return false })
					return err
				}
				if err := ss.loop.observeStalls(ctx, ss.now(), flows); err != nil {
					return err
				}
				works.from(func() bool { return true })
				select {
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-time.After(stallsWait(took, ss.started.CPUBudget)):
				}
			}
		},
		stats: func() sourceStats { return sourceStats{stalled: works.read()} },
	}
}

// look asks for stalls and tells the CPU time that it took.
func look(ctx context.Context, s *sockdiag.Source) (flows []collector.Flow, took time.Duration, err error) {
	var m cputime.Meter
	m.Resume()
	flows, err = s.Stalls(ctx)
	m.Pause()
	return flows, m.Take(), err
}

// stallsWait is how long to wait after a look that took so much CPU time.
func stallsWait(took time.Duration, budget float64) time.Duration {
	wait := stallsEvery
	if budget > 0 {
		wait = max(wait, time.Duration(float64(took)/(budget*stallsShare)))
	}
	return min(wait, stallsLongest)
}
