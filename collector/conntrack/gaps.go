package conntrack

import (
	"context"
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// gaps notices that a flow may have opened and ended between two dumps, or that an entry that a dump does not show need
// not have ended: the kernel gives up entries before their time, to make room, or the dump came late.
type gaps struct {
	// most is nf_conntrack_max, 0 where unknown.
	most int
	// statistics has no socket of its own; nil before the first look. early is its early_drop then.
	statistics *Statistics
	early      uint64
	// why is why the last dump may lack flows, empty if it lacks none.
	why string
}

// crowded is the share of its limit, in percent, from which on the kernel gives up entries of flows that have ended or
// half closed, without counting them: gc_worker, net/netfilter/nf_conntrack_core.c (Linux 6.18). It divides first, and
// gives up none where the limit is below 100.
const crowded = 95

func crowdedFrom(most int) int { return most / 100 * crowded }

const (
	whyEarly = "the conntrack table is full: the kernel gives up entries before their time to make room, so flows that " +
		"live may be missing, and others open and end unseen; raise net.netfilter.nf_conntrack_max in the initial " +
		"network namespace"
	whyCrowded = "the conntrack table is 95 % full: the kernel forgets flows as soon as they end, so some open and end " +
		"unseen; raise net.netfilter.nf_conntrack_max in the initial network namespace"
	whyLate = "the time between two reads of conntrack, %v, is longer than %s, %v, for which it remembers a flow that " +
		"ended: some may have opened and ended unseen; give the agent more CPU time, or let it read events"
)

// late says why a dump that ends now is late, where the one before began at previous. It returns an empty text if the
// dump is in time, and if the timeout is not known. Of all flows, conntrack forgets those that were reset the soonest.
func (t *table) late(previous, now collector.Time) string {
	gap := now.Sub(previous)
	if previous == 0 || t.timeouts.forgets == 0 || gap <= t.timeouts.forgets {
		return ""
	}
	return fmt.Sprintf(whyLate, gap.Round(100*time.Millisecond), t.timeouts.forgetsBy,
		t.timeouts.forgets.Truncate(time.Second))
}

// lookForGaps looks at the end of a dump whether it may lack flows, and emits a Gap if so. previous is when the dump
// before began, announced is what Event.Announced says.
func (t *table) lookForGaps(ctx context.Context, previous collector.Time, announced bool) error {
	g := t.gaps
	if g == nil {
		return nil
	}
	first := g.statistics == nil
	if first {
		g.statistics = &Statistics{last: map[uint16]statistic{}}
	}
	g.statistics.conn = t.conn
	now, err := g.statistics.Read(ctx)
	if err != nil {
		return err
	}
	before := g.early
	g.early, g.why = now.EarlyDrop, ""
	if !announced {
		g.why = t.late(previous, t.clock.read())
	}
	switch entries := max(t.found.entries, int(now.Entries)); {
	case !first && now.EarlyDrop != before:
		g.why = whyEarly
	case crowdedFrom(g.most) > 0 && entries >= crowdedFrom(g.most):
		g.why = whyCrowded
	}
	if g.why == "" {
		return nil
	}
	return t.out.Mark(ctx, collector.Gap, t.clock.read(), t.netns)
}
