package agent

import (
	"context"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/ledger"
)

// tick is how often the ledgers advance and a snapshot is published.
const tick = time.Second

// feed says which ledger takes a source's events. A flow may hold a port of a NAT and a local port at once, so each of
// the two kinds of budget has a ledger.
type feed uint8

const (
	feedNAT feed = 1 << iota
	feedLocal
	feedBoth = feedNAT | feedLocal
)

// loop is the one goroutine that owns the ledgers. All others hand it events, and
// read the snapshots that it publishes.
type loop struct {
	now     func() collector.Time
	publish func(*detector.Snapshot)

	nat *ledger.Ledger
	// local is nil without a local budget.
	local  *ledger.Ledger
	ledger func(local bool, budgets []*budget.Budget) *ledger.Ledger
	// owners is nil where nobody asks whose flows are.
	owners *owners

	batches chan batch
	stalls  chan stalls
	drops   chan uint64
	budgets chan []*budget.Budget
	// switches carries the namespace in which flows leave.
	switches chan uint64
	states   chan chan<- []byte
}

// batch is events on their way from a source to the ledgers. The source waits on done until the loop has applied them,
// so nobody changes the slice meanwhile and nothing is copied.
type batch struct {
	feed   feed
	events []collector.Event
	done   chan<- struct{}
}

// stalls are flows whose first packet was sent again. tracked says that conntrack is read beside.
type stalls struct {
	at      collector.Time
	flows   []collector.Flow
	tracked bool
	done    chan<- struct{}
}

// newLoop returns a loop over budgets; ledger makes a ledger, local tells for which kind of budget.
func newLoop(now func() collector.Time, budgets []*budget.Budget, publish func(*detector.Snapshot),
	ledger func(local bool, budgets []*budget.Budget) *ledger.Ledger,
) *loop {
	l := &loop{
		now: now, publish: publish, ledger: ledger,
		batches: make(chan batch), stalls: make(chan stalls), drops: make(chan uint64), budgets: make(chan []*budget.Budget), switches: make(chan uint64),
		states: make(chan chan<- []byte),
	}
	nat, local := split(budgets)
	l.nat = ledger(false, nat)
	if len(local) > 0 {
		l.local = ledger(true, local)
	}
	return l
}

// run serves until ctx is cancelled.
func (l *loop) run(ctx context.Context) error {
	ticker := time.NewTicker(tick / 2) // the first time: nobody takes the agent for ready before it shows a complete dump
	defer ticker.Stop()
	l.publish(l.snapshot())
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case b := <-l.batches:
			l.apply(b)
			b.done <- struct{}{}
		case s := <-l.stalls:
			passing := s.flows
			if s.tracked {
				passing = l.owners.passing(s.flows)
			}
			l.nat.ObserveStalls(s.at, passing)
			if l.local != nil {
				l.local.ObserveStalls(s.at, s.flows)
			}
			s.done <- struct{}{}
		case packets := <-l.drops:
			if l.owners.forwards() {
				l.nat.ObserveDrops(l.now(), packets)
			}
		case answer := <-l.states:
			answer <- l.learned()
		case outer := <-l.switches:
			l.nat.SwitchSource(outer)
		case budgets := <-l.budgets:
			l.reconfigure(budgets)
			l.publish(l.snapshot())
		case <-ticker.C:
			ticker.Reset(tick)
			l.publish(l.snapshot())
		}
	}
}

func (l *loop) apply(b batch) {
	l.owners.attribute(b)
	if b.feed&feedNAT != 0 {
		l.nat.ApplyAll(b.events)
	}
	if b.feed&feedLocal != 0 && l.local != nil {
		l.local.ApplyAll(b.events)
	}
}

// reconfigure puts other budgets in place; both ledgers keep their flows. The first local budget starts the local
// ledger, which fills with the next dump. A ledger without a budget stays, empty.
func (l *loop) reconfigure(budgets []*budget.Budget) {
	nat, local := split(budgets)
	l.nat.Reconfigure(nat)
	switch {
	case l.local != nil:
		l.local.Reconfigure(local)
	case len(local) > 0:
		l.local = l.ledger(true, local)
	}
}

// snapshot returns the snapshots of both ledgers as one.
func (l *loop) snapshot() *detector.Snapshot {
	now := l.now()
	l.recycle()
	snap := l.nat.Snapshot(now)
	if l.local == nil {
		l.owners.name(snap)
		return snap
	}
	merged, local := *snap, l.local.Snapshot(now)
	merged.Warming = snap.Warming || local.Warming
	merged.Budgets = append(append([]detector.BudgetSnapshot{}, snap.Budgets...), local.Budgets...)
	for _, n := range local.Netns {
		merged.Netns = mergeNetns(merged.Netns, n)
	}
	l.owners.name(&merged)
	return &merged
}

// mergeNetns adds what the local ledger knows of a namespace. One source may feed both ledgers, so the larger counter
// counts, not the sum.
func mergeNetns(all []detector.NetnsSnapshot, n detector.NetnsSnapshot) []detector.NetnsSnapshot {
	out := append([]detector.NetnsSnapshot{}, all...)
	for i := range out {
		if o := &out[i]; o.Netns == n.Netns {
			o.Exact = o.Exact && n.Exact
			o.EventsLost = max(o.EventsLost, n.EventsLost)
			o.Resyncs = max(o.Resyncs, n.Resyncs)
			o.Flows = max(o.Flows, n.Flows)
			o.OtherProtocols = max(o.OtherProtocols, n.OtherProtocols)
			return out
		}
	}
	return append(out, n)
}

// sink returns the Sink of a source. The Sink returns when the loop has applied the events.
func (l *loop) sink(to feed) collector.Sink {
	done := make(chan struct{}, 1)
	return func(ctx context.Context, events []collector.Event) error {
		select {
		case l.batches <- batch{to, events, done}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		<-done // the loop finishes a batch that it has taken
		return nil
	}
}

// observeStalls hands the flows to the ledgers whose first packet was sent again.
func (l *loop) observeStalls(ctx context.Context, at collector.Time, flows []collector.Flow, tracked bool) error {
	done := make(chan struct{}, 1)
	select {
	case l.stalls <- stalls{at, flows, tracked, done}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	<-done
	return nil
}

// observeDrops hands on how many first packets the kernel's NAT dropped.
func (l *loop) observeDrops(ctx context.Context, packets uint64) error {
	select {
	case l.drops <- packets:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// setBudgets puts other budgets in place.
func (l *loop) setBudgets(ctx context.Context, budgets []*budget.Budget) error {
	select {
	case l.budgets <- budgets:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// switchSource tells the ledger of NAT budgets that another source follows. The ledger of local budgets gets its flows
// from sockets in any case.
func (l *loop) switchSource(ctx context.Context, outer uint64) error {
	select {
	case l.switches <- outer:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func split(budgets []*budget.Budget) (nat, local []*budget.Budget) {
	for _, b := range budgets {
		if b.Local {
			local = append(local, b)
		} else {
			nat = append(nat, b)
		}
	}
	return nat, local
}
