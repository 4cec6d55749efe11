package agent

import (
	"context"
	"errors"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/collector/cputime"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/sockdiag"
)

// To show the sockets whose first packet is unanswered the kernel walks its whole table, in each namespace. The agent
// asks every stallsEvery, and less often if asking would take more than stallsShare of the CPU budget.
const (
	stallsEvery   = 2 * time.Second
	stallsLongest = time.Minute
	stallsShare   = 0.25
)

// stallSensor shows the ledgers the flows whose first packet was sent again. If this machine translates, a flow that
// finds no port leaves no entry in conntrack: the kernel drops its packet before, and only the socket that sends it
// again is there to be seen.
//
// tracked says that conntrack is read: then it tells of each whether it has an entry of it.
func (ss *sensors) stallSensor(tracked bool) source {
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
				if tracked && len(flows) > 0 {
					findEntries(ctx, ss, flows)
				}
				if err := ss.loop.observeStalls(ctx, ss.now(), flows, tracked); err != nil {
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

// findEntries writes into Translated of each flow whether conntrack has an entry of it. A flow that could not be looked
// up passes for one that has an entry: nobody knows that it found no port.
func findEntries(ctx context.Context, ss *sensors, flows []collector.Flow) {
	for i := range flows {
		flows[i].Translated = true
	}
	err := conntrack.Find(ctx, ss.foreign(), flows, func(i int, found bool) { flows[i].Translated = found })
	if err != nil {
		ss.logger.Debug("stalled flows not looked up in conntrack", "err", err)
	}
}

// look asks for stalls and returns the CPU time that it took.
func look(ctx context.Context, s *sockdiag.Source) (flows []collector.Flow, took time.Duration, err error) {
	var m cputime.Meter
	m.Resume()
	flows, err = s.Stalls(ctx)
	m.Pause()
	return flows, m.Take(), err
}

// stallsWait returns how long to wait after a look that took so much CPU time.
func stallsWait(took time.Duration, budget float64) time.Duration {
	wait := stallsEvery
	if budget > 0 {
		wait = max(wait, time.Duration(float64(took)/(budget*stallsShare)))
	}
	return min(wait, stallsLongest)
}
