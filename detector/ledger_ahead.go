package detector

import "github.com/snatwatch/snatwatch/collector"

// What an event will read and write is read ahead for many events at once. A processor waits for
// as many loads together as are among the few hundred instructions it has in flight: so where
// they are is worked out first, and loops that do nothing else read them.

// lookAll looks for the flows of events, one step for all of them before the next: the
// loads of a step do not depend on each other, so the processor waits for all at once.
// What a step reads is in the cache for the next one, or for when the events are applied.
func (l *Ledger) lookAll(events []collector.Event) {
	looks := l.looks[:len(events)]
	read := uint64(0)
	for i := range looks {
		looks[i].ask(l, &events[i])
	}
	for i := range looks {
		read += uint64(l.matches[looks[i].hash()].account)
	}
	for i := range looks {
		looks[i].recognize(l, &events[i].Flow)
	}
	if len(l.table.buckets) > 0 {
		var homes [lookAhead]int
		for i := range looks {
			homes[i] = l.table.home(looks[i].key.hi)
		}
		read += l.table.readBuckets(homes[:len(looks)])
		for i := range looks {
			if k := &looks[i]; k.counted {
				k.entry = l.table.candidate(k.key)
				k.absent = k.entry == 0
			}
		}
		l.table.fresh = 0
		read += l.readEntries(events, looks)
	}
	l.read = read
}

// readEntries reads the entries of looks, or those that they will take, and what else changes with
// flows that open or end.
func (l *Ledger) readEntries(events []collector.Event, looks []look) (read uint64) {
	var entries [lookAhead]*flow
	var spaces [lookAhead]*portSpace
	var outlooks [lookAhead]*outlook
	var hints [lookAhead]int
	added := 0
	for i := range looks {
		k := &looks[i]
		entry := k.entry
		if entry == 0 && k.counted {
			key := l.spaceKeyOf(k.account, k.home, k.destination, events[i].Flow.Destination.Port())
			hints[i] = key.hint()
			if n := l.lastNetns; n != nil {
				entry = n.flows.next(added)
				added++
			}
		}
		entries[i] = l.table.at(entry)
	}
	for _, f := range entries[:len(looks)] {
		read += f.key.hi
	}
	for i := range looks {
		p := place(0)
		switch k := &looks[i]; {
		case !k.counted || events[i].Kind == collector.Seen && k.entry != 0:
		case k.entry == 0:
			p = place(l.spaceHints[hints[i]])
		default:
			p = entries[i].place
		}
		if int(p) >= len(l.spaces) {
			p = 0
		}
		spaces[i] = &l.spaces[p]
	}
	for _, s := range spaces[:len(looks)] {
		read += uint64(s.live)
	}
	for i, s := range spaces[:len(looks)] {
		outlooks[i] = s.outlook
	}
	for i, o := range outlooks[:len(looks)] {
		switch {
		case o == nil:
		case looks[i].entry == 0:
			read += o.readForOpen(events[i].At)
		default:
			read += o.readForClose(entries[i].opened, events[i].At)
		}
	}
	return read
}
