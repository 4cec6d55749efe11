package ledger

import (
	"cmp"

	"github.com/snatwatch/snatwatch/collector"
)

// intake decides what an event means for the flow that it is about.
type intake struct {
	clock   *clock
	matcher *matcher
	vips    *vips
	flows   *flows
	spaces  *spaces
	untaken uint64 // as Ledger.Untaken
}

// take applies event e of a flow in namespace n. k is its lookup, nil if not made yet, and entry is the number of the
// entry that its flow likely has, 0 if unknown.
func (in *intake) take(n *netns, e *collector.Event, k *lookup, entry uint32) {
	f := &e.Flow
	if f.Protocol != collector.TCP && f.Protocol != collector.UDP {
		n.countOther(e.Kind)
		return
	}
	n.sockets = n.sockets || f.Inode != 0
	var own lookup
	if k == nil {
		k = &own
		in.matcher.lookup(e, k)
	}
	if entry == 0 || in.flows.table.at(entry).key != k.key {
		entry = in.flows.table.find(k.key)
	}
	s := sighting{lookup: k, event: e, netns: n, entry: entry}
	if entry != 0 {
		s.flow = in.flows.table.at(entry)
	}
	if entry == 0 || !in.counts(&s) {
		if !in.matcher.match(&s) {
			in.leave(&s)
			return
		}
		if n.passes.concern(f) && !(zoned{in}).admit(&s) {
			return
		}
	}
	switch unknown := s.flow == nil; {
	case unknown && e.Kind == collector.Closed && (k.destination == address{} || f.Destination.Addr().IsUnspecified()):
		// A socket's end that lost its addresses says nothing.
	case unknown && (e.Kind == collector.Closed || f.State == collector.Done):
		in.addEnded(&s)
	case unknown:
		in.add(&s)
	case e.Kind == collector.Seen:
		in.seen(&s)
	case e.Kind == collector.Opened:
		in.opened(&s)
	default:
		in.closed(&s)
	}
	if e.Kind == collector.Seen && n.dumping {
		n.check.note(s.flow, f)
	}
}

// leave takes in a sighting of a flow that no budget takes.
func (in *intake) leave(s *sighting) {
	u := &s.netns.untaken
	if in.matcher.translates && s.event.Flow.Translated && s.event.Kind != collector.Closed && !u.knows(s) {
		u.add(s.key.hi, untakenFlow{id: s.event.Flow.ID, dump: s.netns.dump, opened: in.openedAt(s)})
		in.untaken++
	}
}

// counts reports whether the entry of s says where its flow counts, so that the flow need not be matched: a port space
// counts the entry, and the budgets are the same since the last complete dump.
func (in *intake) counts(s *sighting) bool {
	e, f := &s.event.Flow, s.flow
	if !f.place.tracked() || (f.flags&flagTranslated != 0) != e.Translated ||
		s.netns.complete < in.matcher.since || s.netns.passes.concern(e) {
		return false
	}
	s.account, s.space = in.spaces.accountBy[f.place], uint32(f.place)
	return true
}

// add makes an entry for a live flow that the ledger did not know.
func (in *intake) add(s *sighting) {
	in.enter(s)
	in.start(s, in.openedAt(s), false)
	in.refresh(s)
}

// addEnded makes an entry for an ended flow that the ledger did not know.
func (in *intake) addEnded(s *sighting) {
	was := in.enter(s)
	opened := in.openedAt(s)
	ended := s.endedAt(opened)
	in.start(s, openedBefore(opened, ended), false)
	if s.counted && was.ended {
		s.flow.flags |= flagEndCounted // by that agent
	}
	if s.event.Kind == collector.Closed {
		s.noteEnd()
	}
	s.flow.heard(s.event.Flow.Active, s.netns.complete)
	in.flows.endBy(s, ended)
}

// enter makes an empty entry for the flow of s. It returns what the agent before knew of the flow, nil if nothing.
func (in *intake) enter(s *sighting) (was *handedFlow) {
	s.entry = in.flows.table.add(s.key, &s.netns.flows)
	s.flow = in.flows.table.at(s.entry)
	s.flow.dump = s.netns.dump
	if s.netns.handed != nil {
		was = in.countedBefore(s)
	}
	s.counted = was != nil
	return was
}

// openedAt bounds when the flow of s opened, which the ledger did not know. It opened after the last complete dump
// began, which would have shown it, unless other budgets were in place then that did not take it.
func (in *intake) openedAt(s *sighting) collector.Interval {
	e, listed := s.event, s.netns.listed
	i := e.Flow.Opened
	if e.Flow.PickedUp { // it opened before conntrack met it
		return collector.Interval{To: cmp.Or(i.To, e.At)}
	}
	if h := s.netns.handed; h != nil && !s.counted {
		listed = h.complete
	} else if listed < in.matcher.since && !in.matcher.tookSince(listed, s) {
		if opened, known := s.netns.untaken.take(s, in.clock.now); known {
			return opened
		}
		if !e.Flow.Translated || !s.netns.untaken.whole {
			listed = 0
		}
	}
	if i.To == 0 {
		i.To = e.At
		if e.Kind == collector.Opened {
			i.From = e.At
		}
	}
	if i.From == 0 && i.To < listed { // it was computed from a timeout that is not the flow's
		i.To = e.At
	}
	if i.From < listed && listed < i.To {
		i.From = listed
	}
	i.From = min(i.From, i.To)
	return i
}

// openedBefore returns the part of opened that is not after ended: a flow does not open after its end.
func openedBefore(opened, ended collector.Interval) collector.Interval {
	opened.To = min(opened.To, ended.To)
	opened.From = min(opened.From, opened.To)
	return opened
}

// start makes the flow of s live, on an entry that holds no port. resumed says that the entry had the same flow before,
// which was thought to have ended.
func (in *intake) start(s *sighting, opened collector.Interval, resumed bool) {
	e, f := s.event, s.flow
	if !s.matched {
		in.matcher.match(s)
	}
	f.start(e)
	rounded := f.setOpened(opened)
	if e.Kind == collector.Seen && !resumed {
		s.netns.check.first(s, in.matcher)
	}
	if !resumed || e.Flow.Owner != collector.OwnerUnknown && !f.owner.Settled() {
		f.owner = e.Flow.Owner
	}
	a := in.spaces.accounts[s.account]
	switch {
	case in.matcher.local:
		f.port = e.Flow.Source.Port()
	case e.Flow.Translated, a.budget.Translated:
		f.port = e.Flow.VIP.Port()
		f.vip = in.vips.number(e.Flow.VIP.Addr(), s.home)
	}
	if a.freesAtEnd && e.Kind == collector.Opened && e.Flow.Protocol == collector.TCP && s.netns.dump != 0 {
		f.flags |= flagUncounted
	}
	f.place = in.placeFor(s)
	in.spaces.holdPort(f, e, rounded, opened.From != 0 && opened.To >= s.netns.since && !s.counted, resumed)
}

// placeFor returns the place that counts the flow of s, and makes it if needed.
func (in *intake) placeFor(s *sighting) place {
	to := s.event.Flow.Destination
	class := in.spaces.accounts[s.account].budget.ClassOf(s.port)
	k := in.spaces.keyOf(s.account, s.home, s.destination, to.Port(), s.event.Flow.Zone, class)
	if n := s.space; int(n) < len(in.spaces.list) && in.spaces.list[n].used && in.spaces.list[n].key.is(&k) {
		return place(n)
	}
	p := in.spaces.placeOf(k, in.matcher.own(&s.event.Flow).Addr(), to)
	if !p.folded() {
		in.matcher.remember(&s.matchKey, uint32(p))
	}
	return p
}

// refresh brings the entry of s, whose flow is live, up to date with what the event shows of it.
func (in *intake) refresh(s *sighting) {
	e, f := &s.event.Flow, s.flow
	f.heard(s.event.Flow.Active, s.netns.complete)
	f.due = uint32(e.Expires / second)
	if e.Owner != f.owner {
		in.spaces.learnOwner(f, e.Owner)
	}
	if f.place.folded() { // its destination is known again, and may be tracked now
		if p := in.placeFor(s); p != f.place {
			in.flows.move(f, p)
		}
	}
	if e.Offloaded {
		f.flags |= flagOffloaded
	}
	if e.Cut != 0 && f.flags&flagOffloaded != 0 {
		f.flags |= flagTimedOut
		cut := s.asReset(e.Cut)
		s, e = &cut, &cut.event.Flow
	}
	if e.State == collector.Done {
		in.flows.endBy(s, s.endedAt(f.openedInterval()))
		return
	}
	if s.event.Kind == collector.Seen {
		in.flows.countLive(f)
		// An event of a new flow says only that its first packet went out.
		in.flows.setOpening(f, e.State == collector.Opening)
		in.flows.confirm(f, e.State != collector.Opening, in.clock.now)
	}
	at, reason := in.spaces.accountOf(f).deadline(f)
	if at != 0 && at < s.event.At && s.event.Kind == collector.Seen {
		in.flows.timeOut(s.netns, s.entry, f, at, reason)
		return
	}
	in.flows.alarm(s.entry>>chunkShift, at)
}

// opened handles the event of a new flow whose port the entry of s has.
func (in *intake) opened(s *sighting) {
	e, f := &s.event.Flow, s.flow
	if e.ID == f.id {
		s.netns.check.announced(f)
	}
	switch {
	case e.ID != 0 && e.ID == f.before && e.ID != f.id && f.flags&flagEndSeen == 0:
		return
	case e.PickedUp && (f.phase != phaseLive || e.ID != f.id):
		in.pickUp(s)
	case e.ID != f.id && e.ID != 0 && f.id != 0:
		in.replace(s)
	case f.phase == phaseLive:
		f.dump = s.netns.dump
		if f.id == 0 {
			f.id = e.ID
		}
		f.heard(s.event.Flow.Active, s.netns.complete)
		if e.Owner != f.owner {
			in.spaces.learnOwner(f, e.Owner)
		}
		at, _ := in.spaces.accountOf(f).deadline(f)
		in.flows.alarm(s.entry>>chunkShift, at)
	case f.id == 0 || e.ID == 0:
		f.dump = s.netns.dump
		in.reopen(s, in.openedAt(s))
		in.refresh(s)
	// Else the event is late, and about the flow that ended; but not if the event of that end has come, or the open is
	// after the end.
	case f.flags&flagEndSeen != 0, e.Opened.From > in.spaces.accounts[s.account].endOf(f):
		in.takeOver(s)
	}
}

// closed handles the event of an end of a flow whose port the entry of s has.
func (in *intake) closed(s *sighting) {
	e, f := &s.event.Flow, s.flow
	switch {
	case e.ID != 0 && e.ID == f.before && (e.ID != f.id || f.flags&flagOwed != 0):
		if f.flags&flagOwed != 0 {
			f.flags &^= flagOwed
			in.spaces.accountOf(f).closed[e.Reason]++
		}
		return
	case e.ID != f.id && e.ID != 0 && f.id != 0:
		in.countUnseen(s)
		return
	case e.ID != 0 && e.ID == f.before && f.flags&flagFound != 0:
		return // the flow before ended, for the event that this one opened has not come
	case e.ID != 0 && e.ID == f.before && f.outlived(e):
		f.before = 0 // the flow before had the same id: the next end is of this one
		return
	}
	s.noteEnd()
	if f.phase == phaseLive {
		f.heard(s.event.Flow.Active, s.netns.complete)
		s.known = true
		if e.Reason == collector.Idle && f.flags&flagOffloaded != 0 { // the timeout of an idle flow lasts for days
			cut := s.asReset(e.Ended.To)
			s = &cut
		}
		in.flows.endBy(s, s.endedAt(f.openedInterval()))
		return
	}
	switch {
	case f.phase == phaseCooling && in.spaces.accountOf(f).entryHolds:
		in.flows.freePort(f)
		in.flows.linger(s.netns, s.entry, f)
	case f.phase == phaseGone && s.netns.removable(f):
		in.flows.table.remove(s.entry, &s.netns.flows)
	}
}

// noteEnd notes that the event of s said how the flow of s ended. A dump in progress may still show the flow.
func (s *sighting) noteEnd() {
	s.flow.flags |= flagEndSeen
	if s.netns.dumping {
		s.flow.dump = s.netns.dump
	}
}
