package ledger

import (
	"github.com/snatwatch/snatwatch/collector"
)

// Apply takes one event. It keeps nothing of e.
func (l *Ledger) Apply(e *collector.Event) {
	var k lookup
	l.matcher.lookup(e, &k)
	l.apply(e, &k)
}

// ApplyAll takes events in order, with the same result as Apply for each. It costs less: a look-up in a table of a
// million flows mostly waits for memory, and ApplyAll waits for the flows of several events at once.
func (l *Ledger) ApplyAll(events []collector.Event) {
	for len(events) > 0 {
		now := events[:min(len(events), readAhead)]
		events = events[len(now):]
		lookups := l.lookups[:len(now)]
		for i := range now {
			l.matcher.lookup(&now[i], &lookups[i])
		}
		l.flows.table.warm(lookups)
		for i := range now {
			l.apply(&now[i], &lookups[i])
		}
	}
}

// apply takes e; k is its lookup.
func (l *Ledger) apply(e *collector.Event, k *lookup) {
	l.Advance(e.At)
	n := l.namespaces.of(e.Netns)
	n.lastEvent = l.clock.now
	if e.Kind == collector.Opened {
		n.lastOpen = l.clock.now
	}
	switch e.Kind {
	case collector.Begin:
		n.beginDump(e.At)
	case collector.End:
		l.flows.endDump(n, e.At, e.Announced)
	case collector.Abort:
		n.dumping = false
	case collector.Overrun:
		n.overrun(e.At)
	case collector.Gap:
		n.gap(e.At)
	case collector.NoPort:
		l.shortage.note(n, e)
	case collector.Seen, collector.Opened, collector.Closed:
		l.intake.take(n, e, k)
	}
}

// ObserveDrops takes in that the kernel has dropped so many first packets of flows that it could not give an entry in
// conntrack. It tells of flows of other machines, whose sockets nobody here sees.
func (l *Ledger) ObserveDrops(at collector.Time, packets uint64) {
	l.Advance(at)
	l.shortage.dropped(packets)
}

// ObserveStalls takes all sockets whose first SYN was sent again and is unanswered at the time at; it replaces the
// last observation. A stall towards a port space at its effective ceiling is an open that failed for lack of
// ports, counted once.
//
// Translated says of each that this machine's conntrack has an entry of it: then its NAT gave it a port, and it did not
// fail for lack of one there.
//
// A socket does not know whether it will be translated, nor to which VIP: it counts under the first
// budget that reaches its destination, and where each VIP is a port space of its own,
// under the budget alone.
func (l *Ledger) ObserveStalls(at collector.Time, stalled []collector.Flow) {
	l.Advance(at)
	l.stalls.observe(l.clock.now, stalled)
}
