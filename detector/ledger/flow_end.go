package ledger

import (
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// linger is how long the entry of a flow that ended stays when no dump says whether the
// kernel still shows it: longer than a socket's TIME_WAIT (60 s, TCP_TIMEWAIT_LEN).
const linger = 2 * time.Minute

// clock says when a live flow loses its port by the budget's own clock if no further
// packet comes, and why; 0 if never or where the last packet is not known.
func (l *Ledger) clock(f *flow) (collector.Time, collector.Reason) {
	if f.place == 0 {
		return 0, 0
	}
	t := l.accountOf(f).terms
	if f.flags&flagOpening != 0 && t.HalfOpen > 0 {
		return max(f.moment, f.opened).Add(t.HalfOpen), collector.Timeout
	}
	if t.Idle > 0 && f.moment != 0 {
		return f.moment.Add(t.Idle), collector.Idle
	}
	return 0, 0
}

// awoke reports whether ended f, which the ledger's own clock ended, had a packet since.
// Times of packets are known to a second or two, so one that is not well after the
// last known before is no news.
func (l *Ledger) awoke(s *sighting, f *flow) bool {
	t := l.accounts[s.account].terms
	if f.reason == collector.Timeout && s.event.Flow.State != collector.Opening {
		return true
	}
	timeout := t.Idle
	if f.reason == collector.Timeout {
		timeout = t.HalfOpen
	}
	return s.event.Flow.Active > f.moment.Add(-t.CoolDown[f.reason]-timeout/2)
}

// timeOut ends live entry i by the ledger's own clock.
func (l *Ledger) timeOut(n *netns, i uint32, f *flow, at collector.Time, reason collector.Reason) {
	f.flags |= flagOwnClock
	l.failed(f, reason, false)
	l.end(n, i, f, collector.Interval{From: at, To: at}, reason)
}

// failed counts an open that came to nothing. A UDP flow without an answer is no failure.
func (l *Ledger) failed(f *flow, reason collector.Reason, refused bool) {
	if f.protocol != collector.TCP {
		return
	}
	a := l.accountOf(f)
	switch {
	case reason == collector.RST && (refused || f.flags&flagOpening != 0):
		a.refused++
	case reason != collector.Timeout:
	case f.flags&flagAtCeiling == 0:
		a.unanswered++
	case !l.socketsWatched():
		l.noPorts(f.place)
	}
}

// finish ends live entry i as the event of s tells.
func (l *Ledger) finish(s *sighting, i uint32, f *flow, ended collector.Interval) {
	e := s.event
	if e.Kind == collector.Closed {
		f.flags |= flagEndSeen
		if s.netns.dumping {
			f.dump = s.netns.dump
		}
	}
	if ended.To >= l.cfg.Start {
		l.failed(f, e.Flow.Reason, e.Flow.Refused)
	}
	l.end(s.netns, i, f, ended, e.Flow.Reason)
}

// end ends live entry i; its port cools down.
func (l *Ledger) end(n *netns, i uint32, f *flow, ended collector.Interval, reason collector.Reason) {
	release := l.release(f, ended.To, reason)
	l.settle(f)
	if ended.To >= l.cfg.Start {
		l.accountOf(f).closed[reason]++
	}
	l.leave(f, ended, release, reason)
	if f.phase == phaseCooling {
		l.setTimer(i, f, release)
		return
	}
	l.gone(n, i, f)
}

// release is when the port of f is free if it ended at the time ended. The NAT sees a FIN
// and an RST, and where an entry was evicted the budget says what it does; of any other end it learns by its own idle or half-open clock, however
// early the kernel forgot the flow.
func (l *Ledger) release(f *flow, ended collector.Time, reason collector.Reason) collector.Time {
	t := l.accountOf(f).terms
	own := time.Duration(0)
	switch {
	case reason == collector.Timeout && t.HalfOpen > 0:
		own = t.HalfOpen
	case reason == collector.Timeout, reason == collector.Idle, f.protocol == collector.UDP && reason != collector.Evicted:
		own = t.Idle
	}
	if own > 0 && f.flags&flagOwnClock == 0 {
		packet := max(f.moment, f.opened)
		if f.moment == 0 {
			packet = ended
		}
		ended = max(ended, packet.Add(own))
	}
	return ended.Add(t.CoolDown[reason])
}

// leave takes live f off its port, which is free at release.
func (l *Ledger) leave(f *flow, ended collector.Interval, release collector.Time, reason collector.Reason) {
	l.setOpening(f, false)
	l.confirm(f, reason != collector.Timeout, ended.To)
	opened := f.openedInterval()
	a, t := l.accountOf(f), l.tallyOf(f)
	if life, ok := lifetime(opened, ended); ok {
		hold := life + max(release.Sub(ended.To), 0)
		a.lifetimes.add(life)
		a.holdTimes.add(hold)
		a.holds.add(hold)
		t.holds.add(hold)
	}
	l.flowClosed(f, opened, ended, release, reason)
	f.reason, f.moment = reason, release
	if release > l.now {
		f.phase = phaseCooling
		l.count(f, -1, 1)
		return
	}
	f.phase = phaseGone
	l.count(f, -1, 0)
	f.place = 0
}

// settle counts an end that no event explained.
func (l *Ledger) settle(f *flow) {
	if f.flags&flagOwed != 0 {
		f.flags &^= flagOwed
		l.accountOf(f).closed[collector.ReasonUnknown]++
	}
}

// uncool frees the port of ended f before its time, for another flow on it.
func (l *Ledger) uncool(f *flow) {
	f.due = 0
	if f.phase == phaseCooling {
		l.flowReused(f)
		l.count(f, 0, -1)
		f.phase, f.place = phaseGone, 0
	}
}

// gone decides how long the entry of a flow without a port stays.
func (l *Ledger) gone(n *netns, i uint32, f *flow) {
	if l.removable(n, f) {
		l.remove(n, i)
		return
	}
	l.setTimer(i, f, l.now.Add(linger))
}

// removable reports whether nothing can be told of f any more.
func (l *Ledger) removable(n *netns, f *flow) bool {
	switch {
	case n.dump == 0:
		return true // only events, and its end was one
	case n.dumping && f.dump == n.dump:
		return false // the dump in progress may show it
	case f.flags&flagMissed != 0:
		return true
	case f.flags&flagEndSeen != 0 && !n.sockets:
		return true // conntrack tells of the end when the entry is gone; a socket leaves a TIME_WAIT
	}
	return false
}

func (l *Ledger) remove(n *netns, i uint32) { l.table.remove(i, &n.flows) }

// setTold says that more is known of a live flow than that its first packet went out; answered
// until then or not.
func (l *Ledger) confirm(f *flow, answered bool, until collector.Time) {
	if f.flags&flagUnconfirmed != 0 {
		f.flags &^= flagUnconfirmed
		l.addUnconfirmed(f, -1)
		if answered {
			l.flowAnswered(f, until)
		}
	}
}

// setOpening says whether a live flow is still without an answer.
func (l *Ledger) setOpening(f *flow, opening bool) {
	switch {
	case opening && f.flags&flagOpening == 0:
		f.flags |= flagOpening
		l.opening(f, 1)
	case !opening && f.flags&flagOpening != 0:
		f.flags &^= flagOpening
		l.opening(f, -1)
	}
}
