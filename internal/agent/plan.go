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

// plan is which sources run, and why.
type plan struct {
	choice
	// local: sockets are read for local budgets too, beside conntrack.
	local bool
	// translated: no budget counts a flow that this machine does not translate.
	translated bool
	// tracked and untracked as in evidence, where limits are too.
	tracked, untracked bool
	// opened is how many flows the conntrack source saw open until now.
	opened uint64
	limits collector.Limits
}

// sampleMax connections are looked up in conntrack each time. With finding them that takes 1 to 3 ms of CPU.
const sampleMax = 64

// plan looks at the machine and decides. broken is as in evidence. At first connections that conntrack has no
// entry of tell little: it may track those of others, or in another zone, which only reading it shows.
func (ss *sensors) plan(ctx context.Context, broken string, first bool) (plan, error) {
	want := ss.started.Source
	e := evidence{broken: broken}
	var err error
	e.limits, err = limits.Of(ss.outer)
	var denied *netns.AccessError
	switch {
	case errors.As(err, &denied): // then neither source can
		return plan{}, fmt.Errorf("%w: network namespace %s: %s", errNoSource, ss.started.Netns, withRemedy(denied))
	case err != nil:
		ss.logger.Debug("limits not all read", "err", err)
	}
	if e.caps, err = netns.Effective(); err != nil {
		return plan{}, fmt.Errorf("read own capabilities: %w", err)
	}
	if r, err := ss.setup.readers.Read(ctx, "", ss.outer); err == nil {
		e.rules = len(r.Rules)
	}
	if !first && e.rules == 0 && e.limits.EntriesMax > 0 && want != config.SourceSockets && broken == "" && e.caps.Has(netns.NetAdmin) {
		if e.connections, e.unknown, err = ss.sample(ctx, e.limits); err != nil {
			ss.logger.Debug("connections not looked up in conntrack", "err", err)
		}
	}
	c, err := choose(want, e)
	if err != nil {
		return plan{}, err
	}
	nat, local := split(ss.setup.current())
	return plan{
		choice: c, local: len(local) > 0,
		translated: len(nat) > 0 && !slices.ContainsFunc(nat, func(b *budget.Budget) bool { return !b.Translated }),
		tracked:    e.tracked(), untracked: e.untracked(), opened: ss.tracked.Load(), limits: e.limits,
	}, nil
}

// sample looks some connections of the outer namespace up in conntrack. Those that were silent for so long that it may
// have forgotten them are none.
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

// untrackedLooks is how many looks in a row find connections without an entry before conntrack is
// taken to be inactive. One may fall between a flow's end in conntrack and that of its socket.
const untrackedLooks = 2

// following is the plan that is carried out.
type following struct {
	plan
	untrackedFor int // looks in a row
}

// look takes the plan that another look at the machine leads to, and returns the one to go over to where that is
// another. conntrack is left where connections show that it is not active any more, not for having become
// quiet: then its table says so too. While it sees flows open it is active, if only for those that this machine
// forwards, or in another zone. It is taken once it has entries of those that were there before.
func (f *following) look(q plan) (next plan, changed bool) {
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
	return q, q.source != f.source || q.local != f.local || q.translated != f.translated
}

// untrackedText says that conntrack, which was asked for, is not active, empty where it is.
func (f *following) untrackedText(q plan) string {
	if q.source != config.SourceConntrack || f.untrackedFor < untrackedLooks {
		return ""
	}
	return "conntrack was asked for and does not track the connections of this namespace, so new flows are not seen: no rule of its firewall " +
		"asks for that, and most of its sockets' connections have no entry; source auto would read sockets"
}
