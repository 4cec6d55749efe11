package ledger

import (
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// lingerFor is how long the entry of an ended flow stays if no dump says whether the kernel still shows it: longer
// than a socket's TIME_WAIT (60 s, TCP_TIMEWAIT_LEN).
const lingerFor = 2 * time.Minute

// deadline returns when live flow f loses its port by the budget's idle or half-open timeout if no packet comes, and
// the reason; 0 if never, or if the time of its last packet is unknown.
func (fl *flows) deadline(f *flow) (collector.Time, collector.Reason) {
	if f.place == 0 {
		return 0, 0
	}
	t := fl.spaces.accountOf(f).terms
	if f.flags&flagOpening != 0 && t.HalfOpen > 0 {
		return max(f.moment, f.opened).Add(t.HalfOpen), collector.Timeout
	}
	if t.Idle > 0 && f.moment != 0 {
		return f.moment.Add(t.Idle), collector.Idle
	}
	return 0, 0
}

// timeOut ends live entry i at the deadline at.
func (fl *flows) timeOut(n *netns, i uint32, f *flow, at collector.Time, reason collector.Reason) {
	f.flags |= flagTimedOut
	fl.failed(f, reason, false)
	fl.end(n, i, f, collector.Interval{From: at, To: at}, reason)
}

// failed counts an open that came to nothing. A UDP flow without an answer is no failure.
func (fl *flows) failed(f *flow, reason collector.Reason, refused bool) {
	if f.protocol() != collector.TCP {
		return
	}
	a := fl.spaces.accountOf(f)
	switch {
	case reason == collector.RST && (refused || f.flags&flagOpening != 0):
		a.refused++
	case reason != collector.Timeout:
	case f.flags&flagAtCeiling == 0, hasPort(a.budget, true):
		a.unanswered++
	case !fl.stalls.watched(fl.clock.now):
		fl.spaces.noPorts(f.place, 1)
	}
}

// end ends live entry i; its port cools down.
func (fl *flows) end(n *netns, i uint32, f *flow, ended collector.Interval, reason collector.Reason) {
	release := fl.release(f, ended.To, reason)
	fl.countOwed(f)
	if ended.To >= n.since(fl.clock) && f.flags&flagPickedUp == 0 {
		fl.spaces.accountOf(f).closed[reason]++
	}
	fl.coolDown(f, ended, release, reason)
	if f.phase == phaseCooling {
		fl.setTimer(i, f, release)
		return
	}
	fl.linger(n, i, f)
}

// release returns when the port of f is free if f ended at the time ended. The NAT sees a FIN and an RST, and the
// budget's cool-down says what it does with an evicted entry. It learns of any other end by its own idle or half-open
// timeout, however early the kernel forgot the flow.
func (fl *flows) release(f *flow, ended collector.Time, reason collector.Reason) collector.Time {
	a := fl.spaces.accountOf(f)
	if f.flags&(flagEndSeen|flagSwept) != 0 && a.entryHolds { // the entry is gone
		return ended
	}
	t := a.terms
	own := time.Duration(0)
	switch {
	case reason == collector.Timeout && t.HalfOpen > 0:
		own = t.HalfOpen
	case reason == collector.Timeout, reason == collector.Idle,
		f.protocol() == collector.UDP && reason != collector.Evicted:
		own = t.Idle
	}
	if own > 0 && f.flags&flagTimedOut == 0 {
		packet := max(f.moment, f.opened)
		if f.moment == 0 {
			packet = ended
		}
		ended = max(ended, packet.Add(own))
	}
	return ended.Add(t.CoolDown[reason])
}

// coolDown ends live f; its port is cooling until release.
func (fl *flows) coolDown(f *flow, ended collector.Interval, release collector.Time, reason collector.Reason) {
	fl.setOpening(f, false)
	fl.confirm(f, reason != collector.Timeout, ended.To)
	opened := f.openedInterval()
	a, t, outlook := fl.spaces.of(f)
	if life, ok := lifetime(opened, ended); ok {
		hold := life + max(release.Sub(ended.To), 0)
		a.lifetimes.add(life)
		a.holdTimes.add(hold)
		a.holds.add(hold)
		t.holds.add(hold)
		a.owners.lived(fl.spaces.holders.whole(f.owner), life)
	}
	fl.feed.closed(a, outlook, opened, ended, release, reason)
	f.reason, f.moment = reason, release
	if release > fl.clock.now {
		f.phase = phaseCooling
		fl.spaces.count(f, -1, 1)
		f.flags &^= flagUncounted
		return
	}
	f.phase = phaseGone
	fl.spaces.count(f, -1, 0)
	f.flags &^= flagUncounted
	f.place = 0
}

// freePort releases the cooling port of f before its time: another flow has it, or its entry is gone.
func (fl *flows) freePort(f *flow) {
	f.due = 0
	if f.phase == phaseCooling {
		fl.feed.reused(f)
		fl.spaces.count(f, 0, -1)
		f.phase, f.place = phaseGone, 0
	}
}

// linger removes the entry of a flow without a port, or keeps it for as long as the kernel may still show it.
func (fl *flows) linger(n *netns, i uint32, f *flow) {
	if n.removable(f) {
		fl.remove(n, i)
		return
	}
	fl.setTimer(i, f, fl.clock.now.Add(lingerFor))
}

func (fl *flows) remove(n *netns, i uint32) { fl.table.remove(i, &n.flows) }

// drop removes entry i without an end: no source reports its flow any more.
func (fl *flows) drop(n *netns, i uint32, f *flow) {
	fl.countOwed(f)
	switch f.phase {
	case phaseLive:
		fl.setOpening(f, false)
		fl.confirm(f, false, 0)
		fl.feed.dropped(f)
		fl.spaces.count(f, -1, 0)
	case phaseCooling:
		fl.feed.reused(f)
		fl.spaces.count(f, 0, -1)
	}
	f.phase, f.place = phaseGone, 0
	fl.remove(n, i)
}

// endDump completes a dump of namespace n: flows that it did not show have ended. announced is as in the event.
func (fl *flows) endDump(n *netns, at collector.Time, announced bool) {
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
	if n.check.end(at, announced) {
		n.exact = false
	}
}

// unseen ends or removes an entry that a complete dump did not show.
func (fl *flows) unseen(n *netns, i uint32, f *flow, at collector.Time) {
	switch {
	case f.phase == phaseLive:
		n.check.unseen(n, f)
		opened := f.openedInterval()
		ended := collector.Interval{From: min(max(n.complete, opened.From, f.moment), at), To: at}
		reason := collector.ReasonUnknown
		switch {
		case n.sockets:
		case f.protocol() == collector.UDP:
			// conntrack forgets a UDP flow for no other reason.
			reason = collector.Idle
		case f.flags&flagOpening != 0 && n.complete.Sub(f.opened) > answerMax:
			reason = collector.Timeout
			fl.failed(f, reason, false)
		}
		f.flags |= flagSwept
		fl.end(n, i, f, ended, reason)
	case f.phase == phaseGone && f.flags&(flagMissed|flagEndSeen) != 0:
		fl.remove(n, i)
	default:
		if f.phase == phaseCooling && fl.spaces.accountOf(f).entryHolds {
			fl.freePort(f)
			fl.setTimer(i, f, fl.clock.now.Add(lingerFor))
		}
		// The event of its end may still be on its way: it stays for one more dump.
		f.flags |= flagMissed
	}
}
