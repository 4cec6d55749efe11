package record

import (
	"context"
	"hash/maphash"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// table remembers the flows of one namespace until their rows are written. One goroutine uses it.
type table struct {
	files *files
	key   *anonymiser // nil: addresses stay

	index   map[flowKey]uint32 // into entries
	holders map[uint64]uint32  // the entry that a port was given to last, by hash
	seed    maphash.Seed
	entries []entry
	free    []uint32

	// dump numbers dumps, from 1; dumping is true from Begin to End or Abort.
	dump    uint32
	dumping bool
	// shown is the number of the entry that the dump in progress showed last.
	shown uint32
	// begin is when the dump in progress began, complete when the last complete one did; 0 before.
	begin, complete collector.Time
	line            []byte

	rows, live, overruns int
}

const (
	// stampSlack is how far two readings of one start stamp may lie apart.
	stampSlack = 50 * time.Millisecond
	// endSlack is how much later than first read a flow may end: a FIN that is sent again renews the entry's timeout.
	endSlack = time.Second
	// lateEvent is how much later than a dump that lacks a flow an event may say that its entry is gone: the kernel leaves
	// out what has expired, and cleans up once a minute (GC_SCAN_INTERVAL_MAX, net/netfilter/nf_conntrack_core.c).
	lateEvent = 2 * time.Minute
	// firstRetry is when Linux has sent an unanswered SYN again: TCP_TIMEOUT_INIT is 1 s.
	firstRetry = time.Second
	// answerMax is the longest that an answer to a first packet takes. Conntrack forgets a flow that was answered by
	// RST between two dumps; a flow that was opening for longer got no answer.
	answerMax = 5 * time.Second
)

func newTable(f *files, key *anonymiser) *table {
	// Entry 0 is nobody's: a dump begins behind it.
	return &table{
		files: f, key: key, index: map[flowKey]uint32{}, entries: make([]entry, 1),
		holders: map[uint64]uint32{}, seed: maphash.MakeSeed(),
	}
}

// take is a collector.Sink.
func (t *table) take(_ context.Context, events []collector.Event) error {
	for i := range events {
		e := &events[i]
		switch e.Kind {
		case collector.Begin:
			t.dump++
			t.dumping, t.begin, t.shown = true, e.At, 0
		case collector.Seen:
			t.seen(e)
		case collector.Opened:
			t.openedBy(e)
		case collector.Closed:
			t.closedBy(e)
		case collector.End:
			t.endDump(e.At, e.Announced)
			if err := t.files.flush(e.At, false); err != nil {
				return err
			}
		case collector.Abort:
			t.dumping = false
		case collector.Overrun:
			t.overruns++
			t.files.note("overrun: the kernel dropped events before ", e.At)
		case collector.Gap:
			t.files.note("gap: the kernel gave up entries early, or sent no events, before ", e.At)
		}
		if t.files.full() {
			if err := t.files.flush(e.At, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// find returns the entry of f, nil if there is none. One of another flow under the same key ends.
func (t *table) find(k flowKey, f *collector.Flow, at collector.Time) *entry {
	i, ok := t.index[k]
	if !ok {
		return nil
	}
	e := &t.entries[i]
	if e.source == sideOf(f.Source) && e.destination == sideOf(f.Destination) && e.vip == sideOf(f.VIP) &&
		e.protocol == f.Protocol {
		return e
	}
	t.drop(i, at)
	return nil
}

// add makes an entry of f.
func (t *table) add(k flowKey, f *collector.Flow) *entry {
	var i uint32
	if n := len(t.free); n > 0 {
		i, t.free = t.free[n-1], t.free[:n-1]
	} else {
		i = uint32(len(t.entries))
		t.entries = append(t.entries, entry{})
	}
	t.index[k] = i
	e := &t.entries[i]
	e.start(k, f)
	t.give(i)
	return e
}

// start makes e the flow f, which nothing is known of before.
func (e *entry) start(k flowKey, f *collector.Flow) {
	*e = entry{
		key: k, source: sideOf(f.Source), destination: sideOf(f.Destination), vip: sideOf(f.VIP), protocol: f.Protocol,
		translated: f.Translated, zone: f.Zone, opened: f.Opened, state: f.State, phase: live, next: e.next,
	}
}

// endUnseen writes the row of e, if it is live, with an end up to at. It ended before another flow got its port, or the
// port would be held twice.
func (t *table) endUnseen(e *entry, at collector.Time) {
	if e.phase != live {
		return
	}
	last := max(e.last, e.opened.From)
	e.ended = before(last, at, collector.Interval{})
	if h := t.holder(e, t.portOf(e)); h != nil {
		e.ended = before(last, at, h.opened)
	}
	e.reason = t.unseenReason(e)
	t.write(e)
}

// drop removes an entry; the row of a live one is written first.
func (t *table) drop(i uint32, at collector.Time) {
	e := &t.entries[i]
	t.endUnseen(e, at)
	port := t.portOf(e)
	if t.holders[port] == i {
		delete(t.holders, port)
	}
	delete(t.index, e.key)
	*e = entry{next: e.next}
	t.free = append(t.free, i)
}

// unseenReason is why a live flow ended that a dump lacks.
func (t *table) unseenReason(e *entry) collector.Reason {
	switch {
	case e.protocol == collector.UDP: // conntrack forgets a UDP flow for no other reason
		return collector.Idle
	case e.state == collector.Opening && e.last.Sub(e.opened.To) > answerMax:
		return collector.Timeout
	}
	return collector.ReasonUnknown
}

// seen takes a flow that a dump shows.
func (t *table) seen(ev *collector.Event) {
	f := &ev.Flow
	k := keyOf(f)
	shown := &t.entries[t.shown]
	if e := &t.entries[shown.next]; e.key == k && e.vip == sideOf(f.VIP) && e.stays(f) {
		t.shown = shown.next
		t.saw(e, ev)
		return
	}
	e := t.find(k, f, ev.At)
	switch {
	case e == nil:
		e = t.add(k, f)
		t.bound(e, t.complete)
	case e.phase == gone && e.dump == t.dump:
		return // the dump is older than the event
	case e.isBefore(f):
		since := max(t.complete, e.last, e.ended.From)
		if e.phase == live {
			e.ended = before(e.last, ev.At, f.Opened)
			t.write(e)
		}
		e.start(k, f)
		t.give(t.index[k])
		t.bound(e, since)
	}
	i := t.index[k]
	t.entries[t.shown].next, t.shown = i, i
	t.saw(e, ev)
}

// stays reports whether f shows e as it was: live, or ended.
func (e *entry) stays(f *collector.Flow) bool {
	if e.phase != live && e.phase != ended || e.phase == live && f.State == collector.Done {
		return false
	}
	return !e.isBefore(f)
}

// saw notes that a dump showed e as ev says.
func (t *table) saw(e *entry, ev *collector.Event) {
	f := &ev.Flow
	e.dump = t.dump
	if e.phase != live {
		return
	}
	if f.Opened.From > e.opened.From && f.Opened.To <= e.opened.To {
		e.opened = f.Opened
	}
	if f.State == collector.Done {
		e.end(f)
		t.write(e)
		return
	}
	e.last, e.state = ev.At, f.State
	if f.State == collector.Opening && f.Protocol == collector.TCP && ev.At.Sub(e.opened.To) > firstRetry {
		e.stalled = true
	}
}

// bound notes that e opened after since.
func (t *table) bound(e *entry, since collector.Time) {
	if e.opened.From < since && since < e.opened.To {
		e.opened.From = since
	}
}

// isBefore reports whether the flow f, under the tuple and the id of e, is one that opened later. The kernel gives an
// id to another flow of the same tuple. The state tells them apart, for TCP does not go back, or a stamp.
func (e *entry) isBefore(f *collector.Flow) bool {
	switch {
	case e.opened.To != 0 && f.Opened.From > e.opened.To.Add(stampSlack):
		return true
	case e.phase == live:
		return f.Protocol == collector.TCP && f.State == collector.Opening && e.state > collector.Opening
	case f.State != collector.Done:
		return true
	case e.reason == collector.FIN || e.reason == collector.RST:
		return f.Reason == e.reason && f.Ended.From > e.ended.To.Add(endSlack)
	}
	return false
}

// end notes the end that f tells. A flow opens before it ends.
func (e *entry) end(f *collector.Flow) {
	e.ended, e.reason, e.refused, e.phase = f.Ended, f.Reason, f.Refused, ended
	if f.Ended.To != 0 {
		e.opened.To = min(e.opened.To, f.Ended.To)
		e.opened.From = min(e.opened.From, e.opened.To)
	}
}

// openedBy takes the event of a new flow.
func (t *table) openedBy(ev *collector.Event) {
	f := &ev.Flow
	k := keyOf(f)
	e := t.find(k, f, ev.At)
	switch {
	case e == nil:
		e = t.add(k, f)
	case e.phase != live || e.isBefore(f):
		if e.phase == live {
			e.ended = before(e.last, ev.At, f.Opened)
			t.write(e)
		}
		e.start(k, f)
		t.give(t.index[k])
	}
	e.last, e.dump = max(e.last, f.Opened.From), t.dump
}

// closedBy takes the event of a flow's end.
func (t *table) closedBy(ev *collector.Event) {
	f := &ev.Flow
	k := keyOf(f)
	e := t.find(k, f, ev.At)
	if e == nil {
		e = t.add(k, f)
		t.bound(e, t.complete)
	}
	if e.phase == live {
		if f.Opened.From > e.opened.From && f.Opened.To <= e.opened.To {
			e.opened = f.Opened
		}
		e.end(f)
		t.write(e)
	}
	if t.dumping {
		e.phase, e.dump = gone, t.dump
		return
	}
	t.drop(t.index[k], ev.At)
}

// endDump takes the end of a complete dump: what it lacks is gone. Where the kernel announces flows, an event may say
// so too, and later.
func (t *table) endDump(at collector.Time, announced bool) {
	for i := range t.entries {
		e := &t.entries[i]
		switch {
		case e.phase == absent || e.dump == t.dump:
		case announced && (e.phase == live || e.phase == ended):
			t.endUnseen(e, at)
			e.phase, e.last = left, t.begin
		case announced && e.phase == left && at.Sub(e.last) < lateEvent:
		default:
			t.drop(uint32(i), at)
		}
	}
	t.dumping, t.complete = false, t.begin
}

// finish writes the rows of flows that are still live.
func (t *table) finish(at collector.Time) {
	for i := range t.entries {
		if e := &t.entries[i]; e.phase == live {
			t.live++
			e.ended = collector.Interval{From: at, To: at}
			t.row(e, reasonLive)
		}
	}
	t.dumping = false
}

// write writes the row of e, which ended.
func (t *table) write(e *entry) { t.row(e, e.reason.String()) }

func (t *table) row(e *entry, reason string) {
	t.rows++
	t.line = appendRow(t.line[:0], e, reason, t.key)
	t.files.add(t.line)
}
