package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/collector/limits"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/sockdiag"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/config"
)

// selection is which sources run, and why.
type selection struct {
	choice
	// local: the agent reads sockets for local budgets too, beside conntrack.
	local bool
	// elsewhere: a local budget is of another namespace than the outer one, or of any.
	elsewhere bool
	// translated: budgets count only flows that this machine translates.
	translated bool
	// tracked, untracked and limits are the evidence's.
	tracked, untracked bool
	// opened counts the flows that the conntrack source has seen open.
	opened uint64
	limits collector.Limits
}

// sampleMax is how many connections the agent looks up in conntrack each time. Finding and asking takes 1 to 3 ms of
// CPU.
const sampleMax = 64

// selectSources looks at the machine and decides which sources run. broken is the evidence's. The first time it does
// not sample connections: conntrack may track the flows of others, or in another zone, and only reading it shows that.
func (ss *sensors) selectSources(ctx context.Context, broken string, first bool) (selection, error) {
	want := ss.started.Source
	e := evidence{broken: broken}
	var err error
	e.limits, err = limits.Of(ss.outer)
	var denied *netns.AccessError
	switch {
	case errors.As(err, &denied): // neither source can read it
		return selection{}, fmt.Errorf("%w: network namespace %s: %s", errNoSource, ss.started.Netns, withRemedy(denied))
	case err != nil:
		ss.logger.Debug("limits not all read", "err", err)
	}
	// The range of local ports is always there, unless /proc is mounted with subset=pid or /proc/sys is masked.
	e.hidden = e.limits.LocalPorts == collector.PortRange{}
	if e.caps, err = netns.Effective(); err != nil {
		return selection{}, fmt.Errorf("read own capabilities: %w", err)
	}
	if e.foreign = !ss.outer.Governed(); e.foreign {
		e.caps = e.caps.Without(netns.Capabilities(0).With(netns.NetAdmin))
	}
	if r, err := ss.setup.readers.Read(ctx, "", ss.outer); err == nil {
		for _, rule := range r.Rules {
			if rule.AbsentSince == 0 { // one that is gone asks conntrack for nothing
				e.rules++
			}
		}
	}
	if !first && e.rules == 0 && e.limits.EntriesMax != 0 && want != config.SourceSockets && broken == "" &&
		e.caps.Has(netns.NetAdmin) {
		if e.connections, e.unknown, err = ss.sample(ctx, e.limits); err != nil {
			ss.logger.Debug("connections not looked up in conntrack", "err", err)
		}
	}
	c, err := choose(want, e)
	if err != nil {
		return selection{}, err
	}
	budgets := ss.setup.current()
	nat := slices.DeleteFunc(slices.Clone(budgets), func(b *budget.Budget) bool { return b.Local })
	return selection{
		choice: c, local: len(nat) < len(budgets),
		elsewhere: slices.ContainsFunc(budgets, func(b *budget.Budget) bool {
			return b.Local &&
				b.Netns != ss.outer.Inode()
		}),
		translated: len(nat) > 0 && !slices.ContainsFunc(nat, (*budget.Budget).TakesUntranslated),
		tracked:    e.tracked(), untracked: e.untracked(), opened: ss.tracked.Load(), limits: e.limits,
	}, nil
}

// sample looks up some connections of the outer namespace in conntrack, and returns how many it took and how many
// have no entry. It leaves out connections that were silent for so long that conntrack may have forgotten them.
func (ss *sensors) sample(ctx context.Context, l collector.Limits) (connections, unknown int, err error) {
	flows, err := sockdiag.Established(ctx, ss.outer, l.Timeouts["tcp_timeout_established"]/2, sampleMax)
	if err != nil || l.Entries == 0 {
		return len(flows), len(flows), err
	}
	if unknown, err = conntrack.Unknown(ctx, ss.foreign(), flows); err != nil {
		return 0, 0, err
	}
	return len(flows), unknown, nil
}

// untrackedLooks is how many looks in a row must find connections without an entry before the agent takes conntrack for
// inactive. A single look may fall between a flow's end in conntrack and the end of its socket.
const untrackedLooks = 2

// following is the selection that is in place.
type following struct {
	selection
	untrackedFor int // looks in a row that found most connections without an entry
}

// look takes q, the selection that follows from the machine as it is now, and returns the selection to change to;
// changed is false if the selection in place stays. The agent leaves conntrack once connections show that it is not
// active any more, and not because it is quiet. While conntrack sees flows open it is active, if only for flows that
// this machine forwards, or in another zone. The agent goes to conntrack once it has entries for the connections that
// are there.
func (f *following) look(q selection) (next selection, changed bool) {
	f.untrackedFor++
	if !q.untracked || q.opened != f.opened {
		f.untrackedFor = 0
	}
	f.opened = q.opened
	left := f.source == config.SourceConntrack && q.source == config.SourceSockets
	taken := f.source == config.SourceSockets && q.source == config.SourceConntrack
	if left && f.untrackedFor < untrackedLooks || taken && !q.tracked {
		q.choice = f.choice
	}
	return q, q.source != f.source || q.local != f.local || q.elsewhere != f.elsewhere || q.translated != f.translated
}

// untrackedText says that conntrack, which the config asks for, is not active; empty if it is active.
func (f *following) untrackedText(q selection) string {
	if q.source != config.SourceConntrack || f.untrackedFor < untrackedLooks {
		return ""
	}
	return "conntrack was asked for and does not track the connections of this namespace, so new flows are not seen: no " +
		"rule of its firewall " +
		"asks for that, and most of its sockets' connections have no entry; source auto would read sockets"
}
