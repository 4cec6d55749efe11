package agent

import (
	"context"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/ledger"
)

// tick is how often the ledgers advance and a snapshot is published.
const tick = time.Second

// feed says which ledgers take a source's events.
type feed uint8

const (
	feedNAT feed = 1 << iota
	feedLocal
	feedBoth = feedNAT | feedLocal
)

// feedOf returns the feed that the ledger of a stage takes.
func feedOf(s budget.Stage) feed {
	if s == budget.StageSocket {
		return feedLocal
	}
	return feedNAT
}

// loop is the one goroutine that owns the ledgers. All others hand it events, and
// read the snapshots that it publishes.
type loop struct {
	now     func() collector.Time
	publish func(*detector.Snapshot)

	// ledgers has one for each stage, as a flow may hold a port at each, for a time of its own. It is nil where there was
	// never a budget, but one there always is.
	ledgers [budget.NumStages]*ledger.Ledger
	ledger  func(budgets []*budget.Budget) *ledger.Ledger
	// full is when a budget was last seen used up, by name.
	full map[string]collector.Time
	// owners is nil where nobody asks whose flows are.
	owners *owners

	batches chan batch
	stalls  chan stalls
	drops   chan uint64
	budgets chan []*budget.Budget
	// switches carries the namespace in which flows leave.
	switches chan uint64
	states   chan chan<- []byte
	// untaken has an item when flows have come that this machine's NAT translates and that no budget takes. untakenMet
	// counts them so far.
	untaken    chan struct{}
	untakenMet uint64
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

// newLoop returns a loop over budgets; ledger makes a ledger.
func newLoop(now func() collector.Time, budgets []*budget.Budget, publish func(*detector.Snapshot),
	ledger func(budgets []*budget.Budget) *ledger.Ledger,
) *loop {
	l := &loop{
		now: now, publish: publish, ledger: ledger, full: map[string]collector.Time{},
		batches: make(chan batch), stalls: make(chan stalls), drops: make(chan uint64),
		budgets: make(chan []*budget.Budget), switches: make(chan uint64),
		states: make(chan chan<- []byte), untaken: make(chan struct{}, 1),
	}
	l.reconfigure(budgets)
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
			for stage, of := range l.ledgers {
				switch {
				case of == nil:
				case feedOf(budget.Stage(stage)) == feedNAT:
					of.ObserveStalls(s.at, passing)
				default:
					of.ObserveStalls(s.at, s.flows)
				}
			}
			s.done <- struct{}{}
		case packets := <-l.drops:
			if of := l.ledgers[budget.StageNode]; of != nil && l.owners.forwards() {
				of.ObserveDrops(l.now(), packets)
			}
		case answer := <-l.states:
			answer <- l.learned()
		case outer := <-l.switches:
			l.switched(outer)
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
	var stages [budget.NumStages]*ledger.Ledger
	to := stages[:0]
	for stage, of := range l.ledgers {
		if of != nil && b.feed&feedOf(budget.Stage(stage)) != 0 {
			to = append(to, of)
		}
	}
	ledger.ApplyAll(b.events, to...)
	if of := l.ledgers[budget.StageNode]; of != nil && of.Untaken() != l.untakenMet {
		l.untakenMet = of.Untaken()
		select {
		case l.untaken <- struct{}{}:
		default: // a wake-up waits already
		}
	}
}

// switched tells the ledgers of NAT budgets that another source follows. The ledger of local budgets gets its flows
// from sockets in any case.
func (l *loop) switched(outer uint64) {
	for stage, of := range l.ledgers {
		if of != nil && feedOf(budget.Stage(stage)) == feedNAT {
			of.SwitchSource(outer)
		}
	}
}

// reconfigure puts other budgets in place; the ledgers keep their flows. The first budget of a stage starts its ledger,
// which fills with the next dump. A ledger without a budget stays, empty.
func (l *loop) reconfigure(budgets []*budget.Budget) {
	var of [budget.NumStages][]*budget.Budget
	for _, b := range budgets {
		of[b.Stage()] = append(of[b.Stage()], b)
	}
	some := false
	for stage, list := range of {
		switch {
		case l.ledgers[stage] != nil:
			l.ledgers[stage].Reconfigure(list)
		case len(list) > 0:
			l.ledgers[stage] = l.ledger(list)
		}
		some = some || l.ledgers[stage] != nil && feedOf(budget.Stage(stage)) == feedNAT
	}
	if !some { // what conntrack shows must be looked at by one
		l.ledgers[budget.StageNode] = l.ledger(nil)
	}
}

// snapshot returns the snapshots of all ledgers as one.
func (l *loop) snapshot() *detector.Snapshot {
	now := l.now()
	l.recycle()
	merged := &detector.Snapshot{}
	for _, stage := range []budget.Stage{budget.StageNode, budget.StageBeyond, budget.StageSocket} {
		of := l.ledgers[stage]
		if of == nil {
			continue
		}
		s := of.Snapshot(now)
		merged.At = s.At
		merged.Warming = merged.Warming || s.Warming
		merged.Budgets = append(merged.Budgets, s.Budgets...)
		if merged.Netns == nil {
			merged.Netns = s.Netns
			continue
		}
		for _, n := range s.Netns {
			merged.Netns = mergeNetns(merged.Netns, n)
		}
	}
	l.excuse(merged)
	l.owners.name(merged)
	return merged
}

// excuse drops contradictions that another stage explains: flows towards a NAT that is used up stay unanswered at all
// stages that they pass, however many ports are left there.
func (l *loop) excuse(s *detector.Snapshot) {
	const standsFor = 30 * time.Minute // as long as a contradiction stands after its last evidence
	for i := range s.Budgets {
		b := &s.Budgets[i]
		for j := range b.Protocols {
			p := &b.Protocols[j]
			low := func(s detector.SpaceSnapshot) bool {
				of := p.Terms.OfClass(s.Class) // low ports are fewer
				return s.Held >= of.Ceiling()
			}
			if p.Busiest >= p.Terms.Ceiling() || slices.ContainsFunc(p.Spaces, low) {
				l.full[b.Budget.Name] = s.At
			}
		}
	}
	for name, at := range l.full {
		if s.At.Sub(at) > standsFor {
			delete(l.full, name)
		}
	}
	for i := range s.Budgets {
		b := &s.Budgets[i]
		if !b.Contradicted {
			continue
		}
		for j := range s.Budgets {
			other := s.Budgets[j].Budget
			if _, full := l.full[other.Name]; full && other.Stage() != b.Budget.Stage() && budget.Meet(other, b.Budget) {
				b.Contradicted, b.Contradiction = false, ""
			}
		}
	}
}

// mergeNetns adds what another ledger knows of a namespace. One source may feed several ledgers, so the larger counter
// counts, not the sum.
func mergeNetns(all []detector.NetnsSnapshot, n detector.NetnsSnapshot) []detector.NetnsSnapshot {
	out := append([]detector.NetnsSnapshot{}, all...)
	for i := range out {
		if o := &out[i]; o.Netns == n.Netns {
			o.Exact = o.Exact && n.Exact
			o.EventsLost = max(o.EventsLost, n.EventsLost)
			o.Resyncs = max(o.Resyncs, n.Resyncs)
			o.Mismatches = max(o.Mismatches, n.Mismatches)
			o.Vanished = max(o.Vanished, n.Vanished)
			o.Reopened = max(o.Reopened, n.Reopened)
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
		if err := send(ctx, l.batches, batch{to, events, done}); err != nil {
			return err
		}
		<-done // the loop finishes a batch that it has taken
		return nil
	}
}

// observeStalls hands the flows to the ledgers whose first packet was sent again.
func (l *loop) observeStalls(ctx context.Context, at collector.Time, flows []collector.Flow, tracked bool) error {
	done := make(chan struct{}, 1)
	if err := send(ctx, l.stalls, stalls{at, flows, tracked, done}); err != nil {
		return err
	}
	<-done
	return nil
}

// observeDrops hands on how many first packets the kernel's NAT dropped.
func (l *loop) observeDrops(ctx context.Context, packets uint64) error {
	return send(ctx, l.drops, packets)
}

// setBudgets puts other budgets in place.
func (l *loop) setBudgets(ctx context.Context, budgets []*budget.Budget) error {
	return send(ctx, l.budgets, budgets)
}

// switchSource tells the ledger of NAT budgets that another source follows. The ledger of local budgets gets its flows
// from sockets in any case.
func (l *loop) switchSource(ctx context.Context, outer uint64) error {
	return send(ctx, l.switches, outer)
}

// send hands v to the loop, or returns why ctx ended before the loop took it.
func send[T any](ctx context.Context, to chan<- T, v T) error {
	select {
	case to <- v:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
