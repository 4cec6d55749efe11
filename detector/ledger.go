package detector

import (
	"net/netip"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// LedgerConfig sets up a Ledger. The zero value works and counts nothing.
type LedgerConfig struct {
	// Budgets that flows are counted under. They must not overlap: a flow counts under
	// the first that takes it. All are Local or none is.
	Budgets []*Budget
	// TrackedMax is how many port spaces of one budget have an entry of their own;
	// default 10 000. The rest is folded.
	TrackedMax int
	// ForecastMax is how many port spaces are forecast; default 1 000.
	ForecastMax int
	// ExportedMax is how many port spaces of one budget and protocol a snapshot
	// shows, those of Shared not counted; default 50.
	ExportedMax int
	// ExportHold is how long a port space keeps its place among the exported,
	// so that series do not flap; default 5 minutes.
	ExportHold time.Duration
	// SpaceHold is how long an empty port space is remembered; default 15 minutes.
	SpaceHold time.Duration
	// Shared destinations, written as the label shows them, are always exported.
	Shared []string
	// Start is when the agent started; default the time of the first event or Advance.
	Start collector.Time
	// Key makes the flow table's hash secret. It should be random where strangers open
	// flows; no result depends on it.
	Key [2]uint64
}

func (c LedgerConfig) withDefaults() LedgerConfig {
	set := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	set(&c.TrackedMax, 10_000)
	set(&c.ForecastMax, 1_000)
	set(&c.ExportedMax, 50)
	if c.ExportHold == 0 {
		c.ExportHold = 5 * time.Minute
	}
	if c.SpaceHold == 0 {
		c.SpaceHold = 15 * time.Minute
	}
	return c
}

// Ledger counts who holds which port, from the events of one or more
// sources. One goroutine owns it; the snapshots that it makes are for all.
type Ledger struct {
	cfg LedgerConfig
	now collector.Time
}

// NewLedger makes an empty ledger.
func NewLedger(cfg LedgerConfig) *Ledger {
	return &Ledger{cfg: cfg.withDefaults(), now: cfg.Start}
}

// Apply takes one event. It keeps nothing of e.
func (l *Ledger) Apply(e *collector.Event) { l.Advance(e.At) }

// Advance brings the ledger to now: ports cool down, idle flows lose theirs. A now
// before the last one is ignored.
func (l *Ledger) Advance(now collector.Time) { l.now = max(l.now, now) }

// Reconfigure puts other budgets in place. Flows stay and are counted under the budget that
// takes them now; totals go on by budget name.
func (l *Ledger) Reconfigure(budgets []*Budget) { l.cfg.Budgets = budgets }

// ObserveStalls tells of all sockets whose first SYN was sent again and is unanswered at
// the time at; it replaces what the last call told.
func (l *Ledger) ObserveStalls(at collector.Time, stalled []collector.Flow) { l.Advance(at) }

// Snapshot says all that is known at now.
func (l *Ledger) Snapshot(now collector.Time) *Snapshot {
	l.Advance(now)
	return &Snapshot{At: l.now, Warming: true}
}

// Space returns one port space, which need not be among the exported. vip is empty
// where VIPs form one port space. ok is false if it is not tracked.
func (l *Ledger) Space(budget string, p collector.Protocol, vip netip.Addr, destination string) (s SpaceSnapshot, ok bool) {
	return SpaceSnapshot{}, false
}
