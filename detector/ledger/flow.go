package ledger

import "github.com/snatwatch/snatwatch/collector"

// sighting is an event about a flow with what was looked up for it.
type sighting struct {
	*look
	event *collector.Event
	netns *netns
}

// add takes in a live flow that the ledger did not know.
func (l *Ledger) add(s *sighting) {
	i := l.table.add(s.key, &s.netns.flows)
	f := l.table.at(i)
	f.protocol = s.event.Flow.Protocol
	f.dump = s.netns.dump
	l.start(s, f, s.netns.openedAt(s.event), false)
	l.refresh(s, i, f)
}

// meet takes in a flow that the ledger did not know and that has ended.
func (l *Ledger) meet(s *sighting) {
	i := l.table.add(s.key, &s.netns.flows)
	f := l.table.at(i)
	f.protocol = s.event.Flow.Protocol
	f.dump = s.netns.dump
	opened := s.netns.openedAt(s.event)
	ended := s.netns.endedAt(s.event, opened)
	opened.To = min(opened.To, ended.To)
	opened.From = min(opened.From, opened.To)
	l.start(s, f, opened, false)
	l.finish(s, i, f, ended)
}

// start makes f, which holds no port, a live flow; resumed where it was one before.
func (l *Ledger) start(s *sighting, f *flow, opened collector.Interval, resumed bool) {
	e := s.event
	f.phase, f.flags, f.reason = phaseLive, 0, collector.ReasonUnknown
	f.id, f.moment = e.Flow.ID, e.Flow.Active
	f.setOpened(opened)
	if l.local {
		f.port = e.Flow.Source.Port()
	}
	if e.Flow.Translated {
		f.flags |= flagTranslated
	}
	if e.Flow.Translated && !l.local {
		f.port = e.Flow.VIP.Port()
		f.vip = l.vipNumber(e.Flow.VIP.Addr(), s.home)
	}
	f.place = l.placeFor(s)
	l.count(f, 1, 0)
	if e.Kind == collector.Opened && e.Flow.State == collector.Opening {
		f.flags |= flagUnconfirmed
		l.addUnconfirmed(f, 1)
	}
	a, t := l.accountOf(f), l.tallyOf(f)
	if opened.From != 0 && opened.To >= l.cfg.Start {
		a.opened++
		t.opened++
		a.rate.add(l.now)
		t.rate.add(l.now)
	}
	if !f.place.folded() && t.held() >= a.terms.Ceiling() {
		f.flags |= flagAtCeiling
	}
	l.flowOpened(f, f.openedInterval(), resumed)
}

// seen updates entry i from a dump.
func (l *Ledger) seen(s *sighting, i uint32) {
	f := l.table.at(i)
	e := &s.event.Flow
	if e.ID != f.id && e.ID != 0 && f.id != 0 {
		if e.ID != f.before {
			l.replace(s, i, f)
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
		l.refresh(s, i, f)
		return
	}
	switch {
	case late || e.State == collector.Done:
		// The kernel may come to an end later than the ledger's own clock; it is one end.
	case f.flags&flagOwnClock != 0:
		if l.awoke(s, f) {
			l.resume(s, i, f)
		}
	case f.flags&flagSwept != 0 && f.id != 0:
		l.resume(s, i, f) // an earlier dump missed it
	case f.id == 0:
		l.again(s, f, s.netns.openedAt(s.event))
		l.refresh(s, i, f)
	}
}

// refresh brings live entry i up to date with a flow seen live or done.
func (l *Ledger) refresh(s *sighting, i uint32, f *flow) {
	e := &s.event.Flow
	f.moment = max(f.moment, e.Active)
	if f.place.folded() {
		l.promote(s, f)
	}
	if e.State == collector.Done {
		l.finish(s, i, f, s.netns.endedAt(s.event, f.openedInterval()))
		return
	}
	if s.event.Kind == collector.Seen {
		// An event of a new flow says only that its first packet went out.
		l.setOpening(f, e.State == collector.Opening)
		l.confirm(f, e.State != collector.Opening, l.now)
	}
	if at, reason := l.clock(f); at != 0 {
		if at < s.event.At && s.event.Kind == collector.Seen {
			l.timeOut(s.netns, i, f, at, reason)
			return
		}
		l.alarm(i>>chunkShift, at)
	}
}

// opened treats an event of a new flow where entry i has its port.
func (l *Ledger) opened(s *sighting, i uint32) {
	f := l.table.at(i)
	e := &s.event.Flow
	switch {
	case e.ID != 0 && e.ID == f.before:
		return
	case e.ID != f.id && e.ID != 0 && f.id != 0:
		l.replace(s, i, f)
	case f.phase == phaseLive:
		f.dump = s.netns.dump
		if f.id == 0 {
			f.id = e.ID
		}
		f.moment = max(f.moment, e.Active)
		if at, _ := l.clock(f); at != 0 {
			l.alarm(i>>chunkShift, at)
		}
	case f.id == 0 || e.ID == 0:
		f.dump = s.netns.dump
		l.again(s, f, s.netns.openedAt(s.event))
		l.refresh(s, i, f)
	}
}

// closed treats an event of an end where entry i has the flow's port.
func (l *Ledger) closed(s *sighting, i uint32) {
	f := l.table.at(i)
	e := &s.event.Flow
	switch {
	case e.ID != 0 && e.ID == f.before:
		if f.flags&flagOwed != 0 {
			f.flags &^= flagOwed
			l.accountOf(f).closed[e.Reason]++
		}
		return
	case e.ID != f.id && e.ID != 0 && f.id != 0:
		l.passedBy(s, i, f)
		return
	}
	f.flags |= flagEndSeen
	if s.netns.dumping {
		f.dump = s.netns.dump
	}
	switch f.phase {
	case phaseLive:
		f.moment = max(f.moment, e.Active)
		l.finish(s, i, f, s.netns.endedAt(s.event, f.openedInterval()))
	case phaseGone:
		if l.removable(s.netns, f) {
			l.remove(s.netns, i)
		}
	}
}

// passedBy counts a flow that opened and ended unseen on a port that another flow has.
func (l *Ledger) passedBy(s *sighting, i uint32, f *flow) {
	if f.phase == phaseLive {
		// Which of the two is older is not known; the port is one.
		a, t := l.accountOf(f), l.tallyOf(f)
		a.opened++
		t.opened++
		a.closed[s.event.Flow.Reason]++
		return
	}
	opened := s.netns.openedAt(s.event)
	ended := s.netns.endedAt(s.event, opened)
	opened.To = min(opened.To, ended.To)
	opened.From = min(opened.From, opened.To)
	l.again(s, f, opened)
	f.flags |= flagEndSeen
	if s.netns.dumping {
		f.dump = s.netns.dump
	}
	l.finish(s, i, f, ended)
}

// replace ends the flow of entry i unseen and gives its port to the one of s. Where events
// come, that of the end is on its way and will say why.
func (l *Ledger) replace(s *sighting, i uint32, f *flow) {
	opened := s.netns.openedAt(s.event)
	ended := f.phase == phaseLive
	if ended {
		l.settle(f)
		was := f.openedInterval()
		end := collector.Interval{From: max(s.netns.complete, was.From, f.moment), To: max(opened.To, was.From)}
		end.From = min(end.From, end.To)
		l.leave(f, end, end.To, collector.ReasonUnknown)
	}
	f.dump = s.netns.dump
	before := f.id
	l.again(s, f, opened)
	f.before = before
	if ended {
		f.flags |= flagOwed
		if s.netns.lastOpen == 0 {
			l.settle(f)
		}
	}
	l.refresh(s, i, f)
}

// again opens a flow on the port of f, whose last flow ended.
func (l *Ledger) again(s *sighting, f *flow, opened collector.Interval) {
	l.uncool(f)
	l.start(s, f, opened, false)
}

// resume makes an ended flow live again: it never ended, or the NAT opened it anew.
func (l *Ledger) resume(s *sighting, i uint32, f *flow) {
	l.uncool(f)
	l.start(s, f, f.openedInterval(), true)
	l.refresh(s, i, f)
}
