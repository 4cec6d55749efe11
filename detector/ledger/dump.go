package ledger

import "github.com/snatwatch/snatwatch/collector"

// seen updates the entry of s, which a dump shows.
func (in *intake) seen(s *sighting) {
	e, f, a := &s.event.Flow, s.flow, in.spaces.accounts[s.account]
	// After this dump began an event ended the flow, or gave its port to another: the dump is late.
	touched := s.netns.dumping && f.dump == s.netns.dump
	if e.ID != f.id && e.ID != 0 && f.id != 0 {
		switch {
		case touched && e.ID == f.before:
		case e.PickedUp:
			in.pickUp(s)
		default:
			in.replace(s)
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
		in.pickUp(s)
	case in.another(s):
		in.takeOver(s)
	case f.phase == phaseLive:
		in.refresh(s)
	case e.State == collector.Done:
		// The kernel may end the flow later than the budget's timeout did; it is one end.
		in.followEntry(s)
	case f.flags&flagTimedOut != 0 && f.reason == collector.RST:
		if e.Cut == 0 {
			in.resume(s, flagOffloaded)
		}
	case f.flags&flagTimedOut != 0 && f.reason == collector.Idle && misdated(a.lastPacket(f), e.Active, s.netns.complete):
		in.resume(s, flagAgeUnknown)
	case f.flags&flagTimedOut != 0:
		if a.hadPacket(f, e) {
			in.resume(s, 0)
		}
	case f.flags&flagSwept != 0 && f.id != 0:
		in.resume(s, 0) // an earlier dump missed it
	case f.id == 0:
		in.reopen(s, in.openedAt(s))
		in.refresh(s)
	}
}

// countLive counts live f, which a dump shows now, if f was not counted because only an event had shown it.
func (fl *flows) countLive(f *flow) {
	if f.flags&flagUncounted != 0 {
		f.flags &^= flagUncounted
		fl.spaces.count(f, 1, 0)
	}
}

// move counts live f, which was folded, at another place.
func (fl *flows) move(f *flow, to place) {
	opening := f.flags&flagOpening != 0
	if opening {
		fl.spaces.addOpening(f, -1)
	}
	fl.spaces.count(f, -1, 0)
	f.place = to
	fl.spaces.count(f, 1, 0)
	if opening {
		fl.spaces.addOpening(f, 1)
	}
	if o := fl.spaces.outlookOf(f); o != nil {
		if f.flags&flagUnconfirmed != 0 {
			o.AddUnconfirmed(1)
		}
		o.HaveLive(f.openedInterval())
	}
}

// endDump completes a dump of namespace n: flows that the dump did not show have ended. announced is as in the event of
// the end, translates as in the matcher.
func (fl *flows) endDump(n *netns, at collector.Time, announced, translates bool) {
	if !n.dumping {
		return
	}
	n.dumping = false
	announced = announced && n.lossAt == 0
	n.announced = announced
	fl.table.each(&n.flows, func(i uint32, f *flow) {
		fl.countOwed(f)
		shown := f.flags&flagShown != 0
		f.flags &^= flagShown
		if !announced {
			f.flags &^= flagFound
		}
		switch {
		case f.dump != n.dump:
			fl.unseen(n, i, f, at)
		case shown && (f.phase == phaseLive || f.flags&(flagEndSeen|flagTimedOut) != 0):
			n.check.agreed++
		case shown:
			fl.drop(n, i, f) // the next dump brings it in anew
		}
	})
	fl.settleHandover(n)
	if n.complete != 0 {
		n.interval = min(n.begin.Sub(n.complete), maxInterval)
	}
	n.complete, n.listed, n.ended = n.begin, n.begin, at
	n.other = n.otherNow
	if n.repairs {
		if !n.exact && n.lost > 0 {
			n.resyncs++
		}
		n.exact, n.lossAt = true, 0
	}
	n.passes.forget(n.dump)
	n.untaken.endDump(n.dump, translates)
	if n.check.end(at, announced) {
		n.exact = false
	}
}

// unseen ends or removes an entry that a complete dump did not show.
func (fl *flows) unseen(n *netns, i uint32, f *flow, at collector.Time) {
	switch {
	case f.phase == phaseLive:
		n.check.unseen(n, f, at)
		opened := f.openedInterval()
		ended := collector.Interval{From: min(max(n.complete, opened.From, f.moment), at), To: at}
		reason := collector.ReasonUnknown
		switch {
		case n.sockets:
		case f.flags&flagUDP != 0:
			// conntrack forgets a UDP flow for no other reason.
			reason = collector.Idle
		case f.flags&flagOpening != 0 && n.complete.Sub(f.opened) > answerMax:
			reason = collector.Timeout
			fl.failed(f, reason, false)
		case f.flags&flagOpening == 0 && f.expired(at):
			reason = collector.Idle
		}
		f.flags |= flagSwept
		fl.end(n, i, f, ended, reason)
	case f.phase == phaseGone && f.flags&(flagMissed|flagEndSeen) != 0:
		fl.table.remove(i, &n.flows)
	default:
		if f.phase == phaseCooling && fl.spaces.accountOf(f).entryHolds {
			fl.freePort(f)
			fl.setTimer(i, f, fl.clock.now.Add(lingerFor))
		}
		// The event of its end may still be on its way: the entry stays for one more dump.
		f.flags |= flagMissed
	}
}

// settleHandover counts the ends of flows that the agent before counted live and that the first complete dump lacks.
func (fl *flows) settleHandover(n *netns) {
	if n.handed == nil {
		return
	}
	for _, f := range n.handed.flows {
		if !f.met && !f.ended && f.account != noNumber {
			fl.spaces.accounts[f.account].closed[collector.ReasonUnknown]++
		}
	}
	n.handed, n.since = nil, fl.clock.start
}
