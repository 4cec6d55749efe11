package conntrack

import (
	"context"

	"github.com/snatwatch/snatwatch/collector"
)

// gaps notices that the kernel gives up entries before their time, to make room: a flow may then open and end between
// two dumps, and an entry that a dump does not show need not have ended.
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
// half closed, without counting them: gc_worker, net/netfilter/nf_conntrack_core.c (Linux 6.18).
const crowded = 95

const (
	whyEarly = "the conntrack table is full: the kernel gives up entries before their time to make room, so flows that " +
		"live may be missing, and others open and end unseen; raise net.netfilter.nf_conntrack_max in the initial " +
		"network namespace"
	whyCrowded = "the conntrack table is 95 % full: the kernel forgets flows as soon as they end, so some open and end " +
		"unseen; raise net.netfilter.nf_conntrack_max in the initial network namespace"
)

// lookForGaps looks at the end of a dump whether it may lack flows, and emits a Gap if so.
func (t *table) lookForGaps(ctx context.Context) error {
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
	switch entries := max(t.found.entries, int(now.Entries)); {
	case !first && now.EarlyDrop != before:
		g.why = whyEarly
	case g.most > 0 && entries >= g.most/100*crowded:
		g.why = whyCrowded
	default:
		return nil
	}
	return t.out.Mark(ctx, collector.Gap, t.clock.read(), t.netns)
}
