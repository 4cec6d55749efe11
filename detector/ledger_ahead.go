package detector

import (
	"unsafe"

	"github.com/snatwatch/snatwatch/collector"
)

// The memory that events will read and write is fetched ahead, for many events at once, while others are worked
// on: nobody waits for it. Where it is takes three steps, of which each needs what the one before fetched.
// What they find may be out of date when the events are applied.

// cacheLine is how many bytes of memory a processor fetches at least.
const cacheLine = 64

// lines are places in memory that are fetched together.
type lines struct {
	n  int
	at [2 * lookAhead]unsafe.Pointer
}

func (p *lines) add(at unsafe.Pointer) {
	p.at[p.n] = at
	p.n++
}

// fetch fetches the lines, and is done with them.
func (p *lines) fetch() {
	prefetch(&p.at[0], p.n)
	p.n = 0
}

// askAll works out what the flows of events are looked up by, and fetches their buckets.
func (l *Ledger) askAll(events []collector.Event, looks []look) {
	for i := range events {
		l.look(&events[i], &looks[i])
	}
	if len(l.table.buckets) == 0 {
		return
	}
	var p lines
	for i := range events {
		p.add(unsafe.Pointer(&l.table.buckets[l.table.home(looks[i].key.hi)]))
	}
	p.fetch()
}

// findAll looks for the entries of flows, and fetches them or those that new flows will take.
func (l *Ledger) findAll(looks []look) {
	if len(l.table.buckets) == 0 {
		return
	}
	var p lines
	for i := range looks {
		// What is not in its own bucket is in the next one.
		if n := l.table.home(looks[i].key.hi); l.table.buckets[n].passed() {
			p.add(unsafe.Pointer(&l.table.buckets[l.table.after(n)]))
		}
	}
	p.fetch()
	added := 0
	for i := range looks {
		k := &looks[i]
		if !k.counted {
			continue
		}
		k.entry = l.table.candidate(k.key)
		entry := k.entry
		if k.absent = entry == 0; k.absent && l.lastNetns != nil {
			entry = l.lastNetns.flows.next(added)
			added++
		}
		if entry != 0 {
			p.add(unsafe.Pointer(l.table.at(entry)))
		}
	}
	l.table.fresh = 0
	p.fetch()
}

// countAll fetches what flows that open or end are counted in.
func (l *Ledger) countAll(events []collector.Event, looks []look) {
	var spaces [lookAhead]*portSpace
	var p lines
	for i := range looks {
		n := place(0)
		switch k := &looks[i]; {
		case !k.counted || events[i].Kind == collector.Seen && k.entry != 0:
		case k.entry == 0:
			n = place(k.space)
		default:
			n = l.table.at(k.entry).place
		}
		if int(n) >= len(l.spaces) {
			n = 0
		}
		spaces[i] = &l.spaces[n]
		if n != 0 {
			p.add(unsafe.Pointer(spaces[i]))
			p.add(unsafe.Add(unsafe.Pointer(spaces[i]), cacheLine))
		}
	}
	p.fetch()
	for i, s := range spaces[:len(looks)] {
		switch o := s.outlook; {
		case o == nil:
		case looks[i].entry == 0:
			o.fetchForOpen(&p, events[i].At)
		default:
			o.fetchForClose(&p, l.table.at(looks[i].entry).opened, events[i].At)
		}
		if p.n+outlookLines > len(p.at) {
			p.fetch()
		}
	}
	p.fetch()
}
