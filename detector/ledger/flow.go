package ledger

import "github.com/snatwatch/snatwatch/collector"

// intake decides what an event means for the flow that it is about.
type intake struct {
	clock   *clock
	matcher *matcher
	vips    *vips
	flows   *flows
	spaces  *spaces
}

// sighting is an event about a flow with what was looked up for it.
type sighting struct {
	*look
	event *collector.Event
	netns *netns
}

// take takes event e of namespace n, which k was found for.
func (in *intake) take(n *netns, e *collector.Event, k *look) {
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
	if i == 0 || in.flows.table.at(i).key != k.key {
		i = in.flows.table.find(k.key)
	}
	switch {
	case i == 0 && e.Kind == collector.Closed && (k.destination == address{} || f.Destination.Addr().IsUnspecified()):
		// A socket's end that lost its addresses says nothing.
	case i == 0 && e.Kind == collector.Closed, i == 0 && f.State == collector.Done:
		in.meet(&s)
	case i == 0:
		in.add(&s)
	case e.Kind == collector.Seen:
		in.seen(&s, i)
	case e.Kind == collector.Opened:
		in.opened(&s, i)
	default:
		in.closed(&s, i)
	}
}

// add takes in a live flow that the ledger did not know.
func (in *intake) add(s *sighting) {
	i := in.flows.table.add(s.key, &s.netns.flows)
	f := in.flows.table.at(i)
	f.protocol = s.event.Flow.Protocol
	f.dump = s.netns.dump
	in.start(s, f, s.netns.openedAt(s.event), false)
	in.refresh(s, i, f)
}

// meet takes in a flow that the ledger did not know and that has ended.
func (in *intake) meet(s *sighting) {
	i := in.flows.table.add(s.key, &s.netns.flows)
	f := in.flows.table.at(i)
	f.protocol = s.event.Flow.Protocol
	f.dump = s.netns.dump
	opened := s.netns.openedAt(s.event)
	ended := s.netns.endedAt(s.event, opened)
	opened.To = min(opened.To, ended.To)
	opened.From = min(opened.From, opened.To)
	in.start(s, f, opened, false)
	in.finish(s, i, f, ended)
}

// start makes f, which holds no port, a live flow; resumed where it was one before.
func (in *intake) start(s *sighting, f *flow, opened collector.Interval, resumed bool) {
	e := s.event
	f.phase, f.flags, f.reason = phaseLive, 0, collector.ReasonUnknown
	f.id, f.moment = e.Flow.ID, e.Flow.Active
	f.setOpened(opened)
	if in.matcher.local {
		f.port = e.Flow.Source.Port()
	}
	if e.Flow.Translated {
		f.flags |= flagTranslated
	}
	if e.Flow.Translated && !in.matcher.local {
		f.port = e.Flow.VIP.Port()
		f.vip = in.vips.number(e.Flow.VIP.Addr(), s.home)
	}
	f.place = in.placeFor(s)
	in.spaces.count(f, 1, 0)
	if e.Kind == collector.Opened && e.Flow.State == collector.Opening {
		f.flags |= flagUnconfirmed
		in.spaces.addUnconfirmed(f, 1)
	}
	a, t := in.spaces.accountOf(f), in.spaces.tallyOf(f)
	if opened.From != 0 && opened.To >= in.clock.start {
		a.opened++
		t.opened++
		a.rate.add(in.clock.now)
		t.rate.add(in.clock.now)
	}
	if !f.place.folded() && t.held() >= a.terms.Ceiling() {
		f.flags |= flagAtCeiling
	}
	in.spaces.flowOpened(f, f.openedInterval(), resumed)
}

// seen updates entry i from a dump.
func (in *intake) seen(s *sighting, i uint32) {
	f := in.flows.table.at(i)
	e := &s.event.Flow
	if e.ID != f.id && e.ID != 0 && f.id != 0 {
		if e.ID != f.before {
			in.replace(s, i, f)
		}
		return
	}
	// The end came as an event after this dump began: the dump is late.
	late := f.flags&flagEndSeen != 0 && s.netns.dumping && f.dump == s.netns.dump
	f.dump = s.netns.dump
	f.flags &^= flagMissed
	if f.id == 0 {
		f.id = e.ID
	}
	if f.phase == phaseLive {
		in.refresh(s, i, f)
		return
	}
	switch {
	case late || e.State == collector.Done:
		// The kernel may come to an end later than the ledger's own clock; it is one end.
	case f.flags&flagOwnClock != 0:
		if in.awoke(s, f) {
			in.resume(s, i, f)
		}
	case f.flags&flagSwept != 0 && f.id != 0:
		in.resume(s, i, f) // an earlier dump missed it
	case f.id == 0:
		in.again(s, f, s.netns.openedAt(s.event))
		in.refresh(s, i, f)
	}
}

// refresh brings live entry i up to date with a flow seen live or done.
func (in *intake) refresh(s *sighting, i uint32, f *flow) {
	e := &s.event.Flow
	f.moment = max(f.moment, e.Active)
	if f.place.folded() {
		in.promote(s, f)
	}
	if e.State == collector.Done {
		in.finish(s, i, f, s.netns.endedAt(s.event, f.openedInterval()))
		return
	}
	if s.event.Kind == collector.Seen {
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

// opened treats an event of a new flow where entry i has its port.
func (in *intake) opened(s *sighting, i uint32) {
	f := in.flows.table.at(i)
	e := &s.event.Flow
	switch {
	case e.ID != 0 && e.ID == f.before:
		return
	case e.ID != f.id && e.ID != 0 && f.id != 0:
		in.replace(s, i, f)
	case f.phase == phaseLive:
		f.dump = s.netns.dump
		if f.id == 0 {
			f.id = e.ID
		}
		f.moment = max(f.moment, e.Active)
		if at, _ := in.flows.deadline(f); at != 0 {
			in.flows.alarm(i>>chunkShift, at)
		}
	case f.id == 0 || e.ID == 0:
		f.dump = s.netns.dump
		in.again(s, f, s.netns.openedAt(s.event))
		in.refresh(s, i, f)
	}
}

// closed treats an event of an end where entry i has the flow's port.
func (in *intake) closed(s *sighting, i uint32) {
	f := in.flows.table.at(i)
	e := &s.event.Flow
	switch {
	case e.ID != 0 && e.ID == f.before:
		if f.flags&flagOwed != 0 {
			f.flags &^= flagOwed
			in.spaces.accountOf(f).closed[e.Reason]++
		}
		return
	case e.ID != f.id && e.ID != 0 && f.id != 0:
		in.passedBy(s, i, f)
		return
	}
	f.flags |= flagEndSeen
	if s.netns.dumping {
		f.dump = s.netns.dump
	}
	switch f.phase {
	case phaseLive:
		f.moment = max(f.moment, e.Active)
		in.finish(s, i, f, s.netns.endedAt(s.event, f.openedInterval()))
	case phaseGone:
		if in.flows.removable(s.netns, f) {
			in.flows.remove(s.netns, i)
		}
	}
}

// passedBy counts a flow that opened and ended unseen on a port that another flow has.
func (in *intake) passedBy(s *sighting, i uint32, f *flow) {
	if f.phase == phaseLive {
		// Which of the two is older is not known; the port is one.
		a, t := in.spaces.accountOf(f), in.spaces.tallyOf(f)
		a.opened++
		t.opened++
		a.closed[s.event.Flow.Reason]++
		return
	}
	opened := s.netns.openedAt(s.event)
	ended := s.netns.endedAt(s.event, opened)
	opened.To = min(opened.To, ended.To)
	opened.From = min(opened.From, opened.To)
	in.again(s, f, opened)
	f.flags |= flagEndSeen
	if s.netns.dumping {
		f.dump = s.netns.dump
	}
	in.finish(s, i, f, ended)
}

// replace ends the flow of entry i unseen and gives its port to the one of s. Where events
// come, that of the end is on its way and will say why.
func (in *intake) replace(s *sighting, i uint32, f *flow) {
	opened := s.netns.openedAt(s.event)
	ended := f.phase == phaseLive
	if ended {
		in.flows.settle(f)
		was := f.openedInterval()
		end := collector.Interval{From: max(s.netns.complete, was.From, f.moment), To: max(opened.To, was.From)}
		end.From = min(end.From, end.To)
		in.flows.leave(f, end, end.To, collector.ReasonUnknown)
	}
	f.dump = s.netns.dump
	before := f.id
	in.again(s, f, opened)
	f.before = before
	if ended {
		f.flags |= flagOwed
		if s.netns.lastOpen == 0 {
			in.flows.settle(f)
		}
	}
	in.refresh(s, i, f)
}

// again opens a flow on the port of f, whose last flow ended.
func (in *intake) again(s *sighting, f *flow, opened collector.Interval) {
	in.flows.uncool(f)
	in.start(s, f, opened, false)
}

// resume makes an ended flow live again: it never ended, or the NAT opened it anew.
func (in *intake) resume(s *sighting, i uint32, f *flow) {
	in.flows.uncool(f)
	in.start(s, f, f.openedInterval(), true)
	in.refresh(s, i, f)
}

// awoke reports whether ended f, which the ledger's own clock ended, had a packet since.
// Times of packets are known to a second or two, so one that is not well after the
// last known before is no news.
func (in *intake) awoke(s *sighting, f *flow) bool {
	t := in.spaces.accounts[s.account].terms
	if f.reason == collector.Timeout && s.event.Flow.State != collector.Opening {
		return true
	}
	timeout := t.Idle
	if f.reason == collector.Timeout {
		timeout = t.HalfOpen
	}
	return s.event.Flow.Active > f.moment.Add(-t.CoolDown[f.reason]-timeout/2)
}

// finish ends live entry i as the event of s tells.
func (in *intake) finish(s *sighting, i uint32, f *flow, ended collector.Interval) {
	e := s.event
	if e.Kind == collector.Closed {
		f.flags |= flagEndSeen
		if s.netns.dumping {
			f.dump = s.netns.dump
		}
	}
	if ended.To >= in.clock.start {
		in.flows.failed(f, e.Flow.Reason, e.Flow.Refused)
	}
	in.flows.end(s.netns, i, f, ended, e.Flow.Reason)
}

// placeFor finds or makes the place that the flow of s is counted in.
func (in *intake) placeFor(s *sighting) place {
	to := s.event.Flow.Destination
	k := in.spaces.keyOf(s.account, s.home, s.destination, to.Port())
	if n := s.space; int(n) < len(in.spaces.list) && in.spaces.list[n].used && in.spaces.list[n].key.is(&k) {
		return place(n)
	}
	p := in.spaces.placeOf(k, in.matcher.own(&s.event.Flow).Addr(), to)
	if !p.folded() {
		in.matcher.remember(&s.question, uint32(p))
	}
	return p
}

// promote moves folded live f, of which the destination is in sight again, to its port
// space if that is tracked or can be.
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
