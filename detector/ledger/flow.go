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
	feed    *feed
}

// take applies event e of a flow in namespace n; k is its lookup, and entry likely that of the flow.
func (in *intake) take(n *netns, e *collector.Event, k *lookup, entry uint32) {
	f := &e.Flow
	if f.Protocol != collector.TCP && f.Protocol != collector.UDP {
		n.countOther(e.Kind)
		return
	}
	n.sockets = n.sockets || f.Inode != 0
	s := sighting{lookup: k, event: e, netns: n, entry: entry}
	if entry == 0 || in.flows.table.at(entry).key != k.key {
		s.entry = in.flows.table.find(k.key)
	}
	if !in.counts(&s) && (!in.matcher.match(&s) || !(zoned{in}).admit(&s)) {
		return
	}
	i := s.entry
	switch {
	case i == 0 && e.Kind == collector.Closed && (k.destination == address{} || f.Destination.Addr().IsUnspecified()):
		// A socket's end that lost its addresses says nothing.
	case i == 0 && e.Kind == collector.Closed, i == 0 && f.State == collector.Done:
		in.addEnded(&s)
	case i == 0 && e.Kind == collector.Seen:
		n.noteShown(in.flows.table.at(in.add(&s)), f)
	case i == 0:
		in.add(&s)
	case e.Kind == collector.Seen:
		in.seen(&s, i)
		n.noteShown(in.flows.table.at(i), f)
	case e.Kind == collector.Opened:
		in.opened(&s, i)
	default:
		in.closed(&s, i)
	}
}

// counts reports whether the flow of s is known to count, and finds where without matching it: a port space counts it
// that its entry's key leads to, under these budgets since the last complete dump at least.
func (in *intake) counts(s *sighting) bool {
	n, e := s.netns, &s.event.Flow
	if s.entry == 0 || n.complete < in.matcher.since || e.Zone|e.ZoneOut != 0 || n.passes.on {
		return false
	}
	f := in.flows.table.at(s.entry)
	if f.place == 0 || f.place.folded() || (f.flags&flagTranslated != 0) != e.Translated {
		return false
	}
	s.account, s.space = in.spaces.accountBy[f.place], uint32(f.place)
	return true
}

// openedAt bounds when the flow of s opened, which the ledger did not know. The last complete dump would have shown
// it, and the ledger would know it, unless other budgets were in place then that did not take it.
func (in *intake) openedAt(s *sighting) collector.Interval {
	listed := s.netns.listed
	if s.event.Flow.PickedUp { // it opened before conntrack met it
		return collector.Interval{To: cmp.Or(s.event.Flow.Opened.To, s.event.At)}
	}
	if h := s.netns.handed; h != nil && !s.counted {
		listed = h.complete
	} else if listed != 0 && !in.matcher.tookSince(listed, s) {
		listed = 0
	}
	return openedAt(s.event, listed)
}

// add makes an entry for a live flow that the ledger did not know.
func (in *intake) add(s *sighting) (i uint32) {
	i = in.flows.table.add(s.key, &s.netns.flows)
	f := in.flows.table.at(i)
	f.setProtocol(s.event.Flow.Protocol)
	f.dump = s.netns.dump
	s.counted = in.countedBefore(s) != nil
	in.start(s, f, in.openedAt(s), false)
	in.refresh(s, i, f)
	return i
}

// addEnded makes an entry for an ended flow that the ledger did not know.
func (in *intake) addEnded(s *sighting) {
	i := in.flows.table.add(s.key, &s.netns.flows)
	f := in.flows.table.at(i)
	f.setProtocol(s.event.Flow.Protocol)
	f.dump = s.netns.dump
	was := in.countedBefore(s)
	s.counted = was != nil
	opened := in.openedAt(s)
	ended := s.netns.endedAt(s.event, opened)
	if s.counted && was.ended { // so is its end
		ended.To = min(ended.To, s.netns.handed.complete-1)
		ended.From = min(ended.From, ended.To)
	}
	opened.To = min(opened.To, ended.To)
	opened.From = min(opened.From, opened.To)
	in.start(s, f, opened, false)
	in.endBy(s, i, f, ended)
}

// start makes f, which holds no port, a live flow; resumed says that it was live before.
func (in *intake) start(s *sighting, f *flow, opened collector.Interval, resumed bool) {
	e := s.event
	if !s.matched {
		in.matcher.match(s)
	}
	f.phase, f.flags, f.reason = phaseLive, f.flags&(flagShown|flagUDP), collector.ReasonUnknown
	if !resumed {
		s.found(in.matcher, f)
		s.netns.check.opened(s)
	}
	f.id, f.moment = e.Flow.ID, 0
	f.setOpened(opened)
	f.heard(s)
	if in.matcher.local {
		f.port = e.Flow.Source.Port()
	}
	if !resumed || e.Flow.Owner != collector.OwnerUnknown && !f.owner.Settled() {
		f.owner = e.Flow.Owner
	}
	if e.Flow.Translated {
		f.flags |= flagTranslated
	}
	if (e.Flow.Translated || in.spaces.accounts[s.account].budget.Translated) && !in.matcher.local {
		f.port = e.Flow.VIP.Port()
		f.vip = in.vips.number(e.Flow.VIP.Addr(), s.home)
	}
	f.place = in.placeFor(s)
	a, t, outlook := in.spaces.of(f)
	if a.freesAtEnd && e.Kind == collector.Opened && f.protocol() == collector.TCP && s.netns.dump != 0 {
		f.flags |= flagUncounted
	}
	in.spaces.count(f, 1, 0)
	if e.Kind == collector.Opened && e.Flow.State == collector.Opening {
		f.flags |= flagUnconfirmed
		in.feed.addUnconfirmed(f, 1)
	}
	if resumed && e.Flow.PickedUp {
		f.flags |= flagPickedUp
	} else if opened.From != 0 && opened.To >= s.netns.since(in.clock) && !s.counted {
		a.opened++
		t.opened++
		a.rate.add(in.clock.now)
		t.rate.add(in.clock.now)
		a.owners.opened(in.spaces.holders.whole(f.owner))
	}
	if !f.place.folded() && t.held() >= a.ceiling {
		f.flags |= flagAtCeiling
	}
	in.feed.opened(a, outlook, f.openedInterval(), resumed)
}

// seen updates entry i from a dump.
func (in *intake) seen(s *sighting, i uint32) {
	f := in.flows.table.at(i)
	e, a := &s.event.Flow, in.spaces.accounts[s.account]
	// After this dump began an event ended the flow, or gave its port to another: the dump is late.
	touched := s.netns.dumping && f.dump == s.netns.dump
	if e.ID != f.id && e.ID != 0 && f.id != 0 {
		switch {
		case touched && e.ID == f.before:
		case e.PickedUp:
			in.pickUp(s, i, f)
		default:
			in.replace(s, i, f)
		}
		return
	}
	late := touched && (f.flags&flagEndSeen != 0 ||
		f.phase == phaseLive && e.State == collector.Done && e.ID != 0 && e.ID == f.before)
	f.dump = s.netns.dump
	f.flags &^= flagMissed
	if f.id == 0 {
		f.id = e.ID
	}
	switch {
	case late:
	case e.PickedUp && f.phase != phaseLive && e.State != collector.Done && f.flags&flagTimedOut == 0:
		in.pickUp(s, i, f)
	case in.another(s, f):
		in.takeOver(s, i, f)
	case f.phase == phaseLive:
		in.refresh(s, i, f)
	case e.State == collector.Done:
		// The kernel may end the flow later than the budget's timeout did; it is one end.
		in.followEntry(i, f, e)
	case f.flags&flagTimedOut != 0 && f.reason == collector.RST:
		if e.Cut == 0 {
			in.resume(s, i, f, flagOffloaded)
		}
	case f.flags&flagTimedOut != 0 && f.reason == collector.Idle && misdated(a.lastPacket(f), e.Active, s.netns):
		in.resume(s, i, f, flagAgeUnknown)
	case f.flags&flagTimedOut != 0:
		if a.hadPacket(f, e) {
			in.resume(s, i, f, 0)
		}
	case f.flags&flagSwept != 0 && f.id != 0:
		in.resume(s, i, f, 0) // an earlier dump missed it
	case f.id == 0:
		in.reopen(s, f, in.openedAt(s))
		in.refresh(s, i, f)
	}
}

// refresh brings live entry i up to date with a flow seen live or done.
func (in *intake) refresh(s *sighting, i uint32, f *flow) {
	e := &s.event.Flow
	f.heard(s)
	in.learnOwner(f, e.Owner)
	if f.place.folded() {
		in.promote(s, f)
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
		in.endBy(s, i, f, s.netns.endedAt(s.event, f.openedInterval()))
		return
	}
	if s.event.Kind == collector.Seen {
		in.flows.countLive(f)
		// An event of a new flow says only that its first packet went out.
		in.flows.setOpening(f, e.State == collector.Opening)
		in.flows.confirm(f, e.State != collector.Opening, in.clock.now)
	}
	if at, reason := in.flows.deadline(f); at != 0 {
		if at < s.event.At && s.event.Kind == collector.Seen {
			in.flows.timeOut(s.netns, i, f, at, reason)
			return
		}
		in.flows.alarm(i>>chunkShift, at)
	}
}

// opened handles the event of a new flow whose port entry i has.
func (in *intake) opened(s *sighting, i uint32) {
	f := in.flows.table.at(i)
	e := &s.event.Flow
	if e.ID == f.id {
		s.netns.check.announced(f)
	}
	switch {
	case e.ID != 0 && e.ID == f.before && e.ID != f.id && f.flags&flagEndSeen == 0:
		return
	case e.PickedUp && (f.phase != phaseLive || e.ID != f.id):
		in.pickUp(s, i, f)
	case e.ID != f.id && e.ID != 0 && f.id != 0:
		in.replace(s, i, f)
	case f.phase == phaseLive:
		f.dump = s.netns.dump
		if f.id == 0 {
			f.id = e.ID
		}
		f.heard(s)
		in.learnOwner(f, e.Owner)
		if at, _ := in.flows.deadline(f); at != 0 {
			in.flows.alarm(i>>chunkShift, at)
		}
	case f.id == 0 || e.ID == 0:
		f.dump = s.netns.dump
		in.reopen(s, f, in.openedAt(s))
		in.refresh(s, i, f)
	// The event is of the flow that ended, and late, unless its end has come as an event too, or was before.
	case f.flags&flagEndSeen != 0, e.Opened.From > in.spaces.accounts[s.account].endOf(f):
		in.takeOver(s, i, f)
	}
}

// closed handles the event of an end of a flow whose port entry i has.
func (in *intake) closed(s *sighting, i uint32) {
	f := in.flows.table.at(i)
	e := &s.event.Flow
	switch {
	case e.ID != 0 && e.ID == f.before && (e.ID != f.id || f.flags&flagOwed != 0):
		if f.flags&flagOwed != 0 {
			f.flags &^= flagOwed
			in.spaces.accountOf(f).closed[e.Reason]++
		}
		return
	case e.ID != f.id && e.ID != 0 && f.id != 0:
		in.countUnseen(s, i, f)
		return
	case e.ID != 0 && e.ID == f.before && f.flags&flagFound != 0:
		return // of the flow before, for the event that this one opened has not come
	}
	f.flags |= flagEndSeen
	if s.netns.dumping {
		f.dump = s.netns.dump
	}
	switch {
	case f.phase == phaseLive:
		f.heard(s)
		s.known = true
		if e.Reason == collector.Idle && f.flags&flagOffloaded != 0 { // the timeout of an idle flow lasts for days
			cut := s.asReset(e.Ended.To)
			s = &cut
		}
		in.endBy(s, i, f, s.netns.endedAt(s.event, f.openedInterval()))
	case f.phase == phaseCooling && in.spaces.accountOf(f).entryHolds:
		in.flows.freePort(f)
		in.flows.linger(s.netns, i, f)
	case f.phase == phaseGone && s.netns.removable(f):
		in.flows.remove(s.netns, i)
	}
}

// countUnseen counts a flow that opened and ended unseen, on a port that another flow has.
func (in *intake) countUnseen(s *sighting, i uint32, f *flow) {
	if f.phase == phaseLive {
		// Which of the two is older is unknown; they hold one port.
		a, t, _ := in.spaces.of(f)
		a.opened++
		t.opened++
		a.closed[s.event.Flow.Reason]++
		return
	}
	opened := in.openedAt(s)
	ended := s.netns.endedAt(s.event, opened)
	opened.To = min(opened.To, ended.To)
	opened.From = min(opened.From, opened.To)
	in.reopen(s, f, opened)
	f.flags |= flagEndSeen
	if s.netns.dumping {
		f.dump = s.netns.dump
	}
	in.endBy(s, i, f, ended)
}

// endBy ends live entry i for the reason that the event of s gives.
func (in *intake) endBy(s *sighting, i uint32, f *flow, ended collector.Interval) {
	e := s.event
	if e.Kind == collector.Closed {
		f.flags |= flagEndSeen
		if s.netns.dumping {
			f.dump = s.netns.dump
		}
	}
	if ended.To >= s.netns.since(in.clock) {
		// An RST that is the only answer which conntrack saw, to a flow that it met in its middle, refuses nothing.
		refused := e.Flow.Refused && (!s.known || f.flags&(flagOpening|flagUnconfirmed) != 0)
		in.flows.failed(f, e.Flow.Reason, refused)
	}
	in.flows.end(s.netns, i, f, ended, e.Flow.Reason)
}

// placeFor returns the place that counts the flow of s, and makes it if needed.
func (in *intake) placeFor(s *sighting) place {
	to := s.event.Flow.Destination
	k := in.spaces.keyOf(s.account, s.home, s.destination, to.Port(), s.event.Flow.Zone)
	if n := s.space; int(n) < len(in.spaces.list) && in.spaces.list[n].used && in.spaces.list[n].key.is(&k) {
		return place(n)
	}
	p := in.spaces.placeOf(k, in.matcher.own(&s.event.Flow).Addr(), to)
	if !p.folded() {
		in.matcher.remember(&s.matchKey, uint32(p))
	}
	return p
}

// promote moves folded live f, whose destination is known again, to its port space if that is tracked or can be.
func (in *intake) promote(s *sighting, f *flow) {
	p := in.placeFor(s)
	if p.folded() {
		if p != f.place {
			in.flows.move(f, p)
		}
		return
	}
	in.flows.move(f, p)
}
