package ledger

import (
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
)

// lookAhead is how many events ApplyAll looks up together: a processor core waits for that many cache
// misses at once.
const lookAhead = 16

// look is what an event's flow is found by. It depends on the event and the budgets alone,
// but for space and entry, which may be out of date.
type look struct {
	question
	key     flowKey
	home    address // where the flow's port is: its VIP, of Local budgets its source
	port    uint16  // that it holds
	asked   bool    // the event is about a flow that may hold a port
	counted bool    // a budget takes the flow
	account uint32
	space   uint32 // that it was counted in last; 0 if none is remembered
	entry   uint32 // that is likely the flow's; 0 if none is
}

// Apply takes one event. It keeps nothing of e.
func (l *Ledger) Apply(e *collector.Event) {
	var k look
	l.look(e, &k)
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
			l.look(&now[i], &looks[i])
		}
		l.table.warm(looks)
		for i := range now {
			l.apply(&now[i], &looks[i])
		}
	}
}

// ask sets what e is looked up by.
func (k *look) ask(l *Ledger, e *collector.Event) {
	*k = look{}
	switch e.Kind {
	case collector.Seen, collector.Opened, collector.Closed:
	default:
		return
	}
	f := &e.Flow
	if f.Protocol != collector.TCP && f.Protocol != collector.UDP {
		return
	}
	home := l.own(f)
	k.home, k.port, k.asked = pack(home.Addr()), home.Port(), true
	k.destination, k.netns, k.protocol, k.translated = pack(f.Destination.Addr()), f.Netns, f.Protocol, f.Translated
	k.span, k.to = l.spanOf(k.port), f.Destination.Port()
	if l.byOwn {
		k.own = k.home
	}
}

// recognize finds the account that f is counted in and the key of its entry.
func (k *look) recognize(l *Ledger, f *collector.Flow) {
	if !k.asked {
		return
	}
	if l.match(f, k); k.counted {
		k.key = keyOf(l.cfg.Key, f, k.home, k.destination, k.port)
	}
}

// look finds what of e does not depend on the events before it.
func (l *Ledger) look(e *collector.Event, k *look) {
	k.ask(l, e)
	k.recognize(l, &e.Flow)
}

// apply takes e, which k was found for.
func (l *Ledger) apply(e *collector.Event, k *look) {
	l.Advance(e.At)
	n := l.netnsOf(e.Netns)
	n.heard = l.now
	if e.Kind == collector.Opened {
		n.lastOpen = l.now
	}
	switch e.Kind {
	case collector.Begin:
		n.beginDump(e.At)
	case collector.End:
		l.endDump(n, e.At)
	case collector.Abort:
		n.dumping = false
	case collector.Overrun:
		n.overrun(e.At)
	case collector.Seen, collector.Opened, collector.Closed:
		l.applyFlow(n, e, k)
	}
}

// own is where the port of f is that its budget counts.
func (l *Ledger) own(f *collector.Flow) netip.AddrPort {
	if l.local {
		return f.Source
	}
	return f.VIP
}

func (l *Ledger) applyFlow(n *netns, e *collector.Event, k *look) {
	f := &e.Flow
	if f.Protocol != collector.TCP && f.Protocol != collector.UDP {
		n.countOther(e.Kind)
		return
	}
	n.sockets = n.sockets || f.Inode != 0
	if !k.counted {
		return
	}
	s := sighting{k, e, n}
	i := k.entry
	if i == 0 || l.table.at(i).key != k.key {
		i = l.table.find(k.key)
	}
	switch {
	case i == 0 && e.Kind == collector.Closed && (k.destination == address{} || f.Destination.Addr().IsUnspecified()):
		// A socket's end that lost its addresses says nothing.
	case i == 0 && e.Kind == collector.Closed, i == 0 && f.State == collector.Done:
		l.meet(&s)
	case i == 0:
		l.add(&s)
	case e.Kind == collector.Seen:
		l.seen(&s, i)
	case e.Kind == collector.Opened:
		l.opened(&s, i)
	default:
		l.closed(&s, i)
	}
}
