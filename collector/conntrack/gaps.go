package conntrack

import (
	"context"

	"github.com/snatwatch/snatwatch/collector/nlraw"
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
)

// look notes at the end of a dump why it may lack flows, but for one that is late. entries is how many the kernel had
// when the dump began.
func (g *gaps) look(ctx context.Context, conn *nlraw.Conn, entries int) error {
	first := g.statistics == nil
	if first {
		g.statistics = &Statistics{last: map[uint16]statistic{}}
	}
	g.statistics.conn = conn
	now, err := g.statistics.Read(ctx)
	if err != nil {
		return err
	}
	before := g.early
	g.early, g.why = now.EarlyDrop, ""
	switch entries := max(entries, int(now.Entries)); {
	case !first && now.EarlyDrop != before:
		g.why = whyEarly
	case crowdedFrom(g.most) > 0 && entries >= crowdedFrom(g.most):
		g.why = whyCrowded
	}
	return nil
}
