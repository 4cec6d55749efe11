package backtest

import (
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
)

// Ledger is the agent's ledger as a Detector.
type Ledger struct {
	ledger *detector.Ledger
	budget *detector.Budget
	// labels are the destinations to be looked up, by number; protocol by number too.
	labels    []string
	protocols []collector.Protocol
	found     detector.SpaceSnapshot
}

// NewLedger makes a ledger of one budget that watches the destinations 0 to
// len(protocols)-1, and nothing but them, from start on.
func NewLedger(cfg detector.LedgerConfig, budget *detector.Budget, protocols []collector.Protocol, start collector.Time) *Ledger {
	cfg.Budgets = []*detector.Budget{budget}
	cfg.Start = start
	l := &Ledger{ledger: detector.NewLedger(cfg), budget: budget, protocols: protocols}
	for i, p := range protocols {
		a := address(int32(i))
		label := a.String()
		switch budget.Terms(p).Unique {
		case detector.PerAddress:
			label = a.Addr().String() + ":*"
		case detector.PerNothing:
			label = "*"
		}
		l.labels = append(l.labels, label)
	}
	// Nothing was open before: an empty dump says so.
	l.ledger.Apply(&collector.Event{Kind: collector.Begin, At: start, Netns: netns})
	l.ledger.Apply(&collector.Event{Kind: collector.End, At: start, Netns: netns})
	return l
}

// Apply, Advance, Resize and Spaces are those of Detector.
func (l *Ledger) Apply(e *collector.Event) { l.ledger.Apply(e) }

// Advance brings the ledger to now.
func (l *Ledger) Advance(now collector.Time) { l.ledger.Advance(now) }

// Resize gives the budget the share of another pool size.
func (l *Ledger) Resize(c Change, _ collector.Time) {
	b := *l.budget
	b.Nodes = c.Nodes
	b.TCP.Ports, b.TCP.Effective = c.Ports, c.Ports
	b.NodesToNextTier, b.NextTierPorts = c.ToEdge, c.Beyond
	l.budget = &b
	l.ledger.Reconfigure([]*detector.Budget{&b})
}

// Spaces yields the destinations that the ledger tracks.
func (l *Ledger) Spaces(yield func(destination int32, s *detector.SpaceSnapshot)) {
	for i, label := range l.labels {
		var ok bool
		if l.found, ok = l.ledger.Space(l.budget.Name, l.protocols[i], netip.Addr{}, label); ok {
			yield(int32(i), &l.found)
		}
	}
}
