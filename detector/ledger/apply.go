package ledger

import (
	"github.com/snatwatch/snatwatch/collector"
)

// Apply takes one event. It keeps nothing of e.
func (l *Ledger) Apply(e *collector.Event) {
	var k look
	l.matcher.look(e, &k)
	l.apply(e, &k)
}

// ApplyAll takes events in order: the ledger is then as if Apply had taken each. It costs
// less, because a look-up in a table of a million flows is mostly waiting for memory, and
// here the flows of several events are waited for at once.
func (l *Ledger) ApplyAll(events []collector.Event) {
	for len(events) > 0 {
		now := events[:min(len(events), lookAhead)]
		events = events[len(now):]
		looks := l.looks[:len(now)]
		for i := range now {
			l.matcher.look(&now[i], &looks[i])
		}
		l.flows.table.warm(looks)
		for i := range now {
			l.apply(&now[i], &looks[i])
		}
	}
}

// apply takes e, which k was found for.
func (l *Ledger) apply(e *collector.Event, k *look) {
	l.Advance(e.At)
	n := l.namespaces.of(e.Netns)
	n.heard = l.clock.now
	if e.Kind == collector.Opened {
		n.lastOpen = l.clock.now
	}
	switch e.Kind {
	case collector.Begin:
		n.beginDump(e.At)
	case collector.End:
		l.flows.endDump(n, e.At)
	case collector.Abort:
		n.dumping = false
	case collector.Overrun:
		n.overrun(e.At)
	case collector.Seen, collector.Opened, collector.Closed:
		l.intake.take(n, e, k)
	}
}

// ObserveStalls tells of all sockets whose first SYN was sent again and is unanswered at
// the time at; it replaces what the last call told. A stall towards a port space at
// its effective ceiling is an open that failed for lack of ports, counted once.
//
// A socket does not know whether it will be translated, nor to which VIP: it counts under the first
// budget that reaches its destination, and where each VIP is a port space of its own,
// under the budget alone.
func (l *Ledger) ObserveStalls(at collector.Time, stalled []collector.Flow) {
	l.Advance(at)
	l.stalls.observe(l.clock.now, stalled)
}
