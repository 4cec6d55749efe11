package ledger

import (
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// flows are all flows that the ledger knows, with the timers that release their ports. Its methods change what a flow
// is, and the counts of the place where it is counted.
type flows struct {
	clock      *clock
	namespaces *namespaces
	spaces     *spaces
	stalls     *stalls
	table      flowTable
	timers     wheel
	// wakeAt is the next tick of the timers: nothing is due before.
	wakeAt collector.Time
	expire func([]timer)
}

// endedAt bounds when the flow of s ended. It opened within opened, and the last complete dump showed it.
func (s *sighting) endedAt(opened collector.Interval) collector.Interval {
	e, i := s.event, s.event.Flow.Ended
	if i.To == 0 {
		i.To = e.At
		if e.Kind == collector.Closed {
			i.From = e.At
		}
	}
	if !i.Exact() {
		i.From = max(i.From, s.netns.complete, opened.From)
		if i.To < i.From { // it was computed from a timeout that is not the flow's: a dump showed the flow live later
			i.To = e.At
		}
	}
	i.From = min(i.From, i.To)
	return i
}

// endBy ends the live flow of s for the reason that its event gives.
func (fl *flows) endBy(s *sighting, ended collector.Interval) {
	e, f := s.event, s.flow
	if ended.To >= s.netns.since && f.flags&flagEndCounted == 0 {
		// conntrack met some flows in their middle. If an RST is all that it saw of the answers, nothing was refused.
		refused := e.Flow.Refused && (!s.known || f.flags&(flagOpening|flagUnconfirmed) != 0)
		fl.failed(f, e.Flow.Reason, refused)
	}
	fl.end(s.netns, s.entry, f, ended, e.Flow.Reason)
}

// end ends live entry i; its port cools down.
func (fl *flows) end(n *netns, i uint32, f *flow, ended collector.Interval, reason collector.Reason) {
	a := fl.spaces.accountOf(f)
	release := a.release(f, ended.To, reason)
	fl.countOwed(f)
	if ended.To >= n.since && f.flags&flagEndCounted == 0 {
		a.closed[reason]++
	}
	fl.coolDown(f, ended, release, reason)
	if f.phase == phaseCooling {
		fl.setTimer(i, f, release)
		return
	}
	fl.linger(n, i, f)
}

// release decides when the port of f, which a counts, is free, if f ended at the time ended. The NAT sees a FIN or an
// RST itself, and the budget has a cool-down for an evicted entry. Of any other end the NAT learns by its own idle or
// half-open timeout, however early the kernel forgot the flow.
func (a *account) release(f *flow, ended collector.Time, reason collector.Reason) collector.Time {
	if f.flags&(flagEndSeen|flagSwept) != 0 && a.entryHolds { // the entry is gone
		return ended
	}
	t := a.terms
	own := time.Duration(0)
	switch {
	case reason == collector.Timeout && t.HalfOpen > 0:
		own = t.HalfOpen
	case reason == collector.Timeout, reason == collector.Idle,
		f.flags&flagUDP != 0 && reason != collector.Evicted:
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
	life, known := lifetime(opened, ended)
	a, t, outlook := fl.spaces.of(f)
	if known {
		hold := life + max(release.Sub(ended.To), 0)
		a.holds.add(hold)
		t.holds.add(hold)
		a.lifetimes.add(life)
		a.holdTimes.add(hold)
	}
	a.forecast.Closed(opened, ended, reason)
	if outlook != nil {
		free := release
		if release <= fl.clock.now {
			free = ended.To
		}
		outlook.Close(opened, ended, free, reason)
	}
	f.reason, f.moment, f.phase, f.due = reason, release, phaseGone, 0
	cooling := 0
	if release > fl.clock.now {
		f.phase, cooling = phaseCooling, 1
	}
	fl.spaces.count(f, -1, cooling)
	if known {
		a.owners.lived(fl.spaces.holders.whole(f.owner), life)
	}
	f.flags &^= flagUncounted
	if cooling == 0 {
		f.place = 0
	}
}

// freePort releases the port of f now, if it is cooling: another flow has it, or what held it is gone.
func (fl *flows) freePort(f *flow) {
	f.due = 0
	if f.phase == phaseCooling {
		if o := fl.spaces.outlookOf(f); o != nil {
			o.Free(f.moment)
		}
		fl.spaces.count(f, 0, -1)
		f.phase, f.place = phaseGone, 0
	}
}

// lingerFor is how long the entry of an ended flow stays if no dump says whether the kernel still shows it: longer
// than a socket's TIME_WAIT (60 s, TCP_TIMEWAIT_LEN).
const lingerFor = 2 * time.Minute

// linger removes the entry of a flow without a port, or keeps it for as long as the kernel may still show it.
func (fl *flows) linger(n *netns, i uint32, f *flow) {
	if n.removable(f) {
		fl.table.remove(i, &n.flows)
		return
	}
	fl.setTimer(i, f, fl.clock.now.Add(lingerFor))
}

// countOwed counts the end of the flow before f on its port, if no event has announced it.
func (fl *flows) countOwed(f *flow) {
	if f.flags&flagOwed != 0 {
		f.flags &^= flagOwed
		fl.spaces.accountOf(f).closed[collector.ReasonUnknown]++
	}
}

// confirm notes that more is known of live f than its first packet: it was answered, and live until the time until at
// least, or it was not answered.
func (fl *flows) confirm(f *flow, answered bool, until collector.Time) {
	if f.flags&flagUnconfirmed != 0 {
		f.flags &^= flagUnconfirmed
		if o := fl.spaces.outlookOf(f); o != nil {
			o.AddUnconfirmed(-1)
			if answered {
				o.Answered(f.openedInterval(), until)
			}
		}
	}
}

// setOpening notes whether live f still waits for an answer.
func (fl *flows) setOpening(f *flow, opening bool) {
	switch {
	case opening && f.flags&flagOpening == 0:
		f.flags |= flagOpening
		fl.spaces.addOpening(f, 1)
	case !opening && f.flags&flagOpening != 0:
		f.flags &^= flagOpening
		fl.spaces.addOpening(f, -1)
	}
}

// failed counts the open of f as failed, if it was refused or not answered. A UDP flow without an answer is no failure.
func (fl *flows) failed(f *flow, reason collector.Reason, refused bool) {
	switch {
	case f.flags&flagUDP != 0:
	case reason == collector.RST && (refused || f.flags&flagOpening != 0):
		fl.spaces.accountOf(f).refused++
	case reason != collector.Timeout:
	case f.flags&flagAtCeiling == 0, hasPort(fl.spaces.accountOf(f).budget, true):
		fl.spaces.accountOf(f).unanswered++
	case !fl.stalls.watched(fl.clock.now):
		fl.spaces.noPorts(f.place, 1)
	}
}

// drop removes entry i without an end: no source reports its flow any more.
func (fl *flows) drop(n *netns, i uint32, f *flow) {
	fl.countOwed(f)
	if f.phase == phaseLive {
		fl.setOpening(f, false)
		fl.confirm(f, false, 0)
		opened := f.openedInterval()
		a, _, outlook := fl.spaces.of(f)
		a.forecast.Dropped(opened)
		if outlook != nil {
			outlook.Drop(opened)
		}
		fl.spaces.count(f, -1, 0)
	}
	fl.freePort(f)
	fl.table.remove(i, &n.flows)
}
