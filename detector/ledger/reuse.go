package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// A connection often gets the conntrack id of one that ended and had the same five-tuple: the id is a keyed hash of the
// entry's address and tuple, and the kernel hands the address out again. The state or the start stamp tells the two
// apart.

// another reports whether the flow of s, which a dump shows under the id of its entry, is one that opened later.
func (in *intake) another(s *sighting) bool {
	e, f := &s.event.Flow, s.flow
	ended := f.phase != phaseLive
	switch {
	case f.opened != 0 && e.Opened.From > f.opened.Add(stampSlack):
		return true
	case e.ID == 0 || e.Inode != 0: // sockets have no id that comes again
		return false
	case e.Protocol != collector.TCP:
		return ended && f.flags&flagEndSeen != 0
	case !ended: // a TCP flow that was answered does not go back to opening
		return e.State == collector.Opening && f.flags&(flagOpening|flagUnconfirmed) == 0
	case f.flags&(flagTimedOut|flagSwept) != 0: // the kernel did not say that it ended
		return false
	case e.State == collector.Done:
		if s.netns.announced { // an event would have announced another flow
			return false
		}
		end := in.spaces.accounts[s.account].endOf(f)
		again := endedAgain(f.reason, e.Reason, e.Ended.From.Sub(end))
		if !again {
			s.netns.check.renewed(s, end)
		}
		return again
	}
	return true
}

// endedAgain reports whether an end by reason now is of another connection than the one that ended by reason before, so
// much earlier.
func endedAgain(before, now collector.Reason, later time.Duration) bool {
	switch {
	case before == collector.FIN && now == collector.RST:
		return later > resetSlack
	case before == collector.RST && now == collector.FIN: // conntrack does not go from CLOSE to TIME_WAIT
		return later > -ageSlack
	}
	return before == now && (before == collector.FIN || before == collector.RST) && later > endSlack
}

// endOf returns when f, which ended and which a counts, ended at the latest.
func (a *account) endOf(f *flow) collector.Time {
	return f.moment.Add(-a.terms.CoolDown[f.reason])
}

// replace ends the flow that the entry of s has, whose end nobody saw, and gives its port to the flow of s. Where
// events come, the event of that end is on its way and will tell the reason.
func (in *intake) replace(s *sighting) {
	f := s.flow
	opened := in.openedAt(s)
	ended := f.phase == phaseLive
	s.netns.check.reopens(s, in.spaces.accountOf(f).endOf(f))
	if ended {
		in.flows.countOwed(f)
		was := f.openedInterval()
		end := collector.Interval{From: max(s.netns.complete, was.From, f.moment), To: max(opened.To, was.From)}
		end.From = min(end.From, end.To)
		in.flows.coolDown(f, end, end.To, collector.ReasonUnknown)
	}
	in.follow(s, opened)
	if ended {
		f.flags |= flagOwed
		if s.netns.lastOpen == 0 {
			in.flows.countOwed(f)
		}
	}
	in.refresh(s)
}

// takeOver gives the port of the entry of s to the flow of s, which is another than the entry's although it has its id.
func (in *intake) takeOver(s *sighting) {
	f := s.flow
	if f.phase == phaseLive {
		in.replace(s)
		return
	}
	end := in.spaces.accounts[s.account].endOf(f)
	s.netns.check.reopens(s, end)
	opened := in.openedAt(s)
	opened.From = min(max(opened.From, end), opened.To)
	in.follow(s, opened)
	in.refresh(s)
}

// follow opens the flow of s on the port of its entry, whose last flow ended, and keeps the id of the ended one.
func (in *intake) follow(s *sighting, opened collector.Interval) {
	f := s.flow
	f.dump = s.netns.dump
	before := f.id
	in.reopen(s, opened)
	f.before = before
}

// followEntry moves the release of the port of the ended flow of s to when its conntrack entry goes, if the port is
// held for as long as that entry is there: a dump shows the entry, and what is left of its timeout.
func (in *intake) followEntry(s *sighting) {
	e, f, a := &s.event.Flow, s.flow, in.spaces.accounts[s.account]
	if e.Ended.To == 0 || !a.entryHolds {
		return
	}
	until := e.Ended.To.Add(a.terms.CoolDown[f.reason])
	switch d := until.Sub(f.moment); {
	case f.phase == phaseGone && until > in.clock.now && f.flags&(flagEndSeen|flagTimedOut) == 0:
		// Its port was taken to be free before this dump came, and was not. No place counts f, so s was matched.
		f.phase, f.place = phaseCooling, in.placeFor(s)
		in.spaces.count(f, 0, 1)
	case f.phase != phaseCooling, -ageSlack <= d && d <= ageSlack:
		return
	default:
		if o := in.spaces.outlookOf(f); o != nil {
			o.Free(f.moment)
		}
	}
	if o := in.spaces.outlookOf(f); o != nil {
		o.HaveCooling(until)
	}
	f.moment = until
	in.flows.setTimer(s.entry, f, until)
}

// hadPacket reports whether f, which a timeout of the budget ended, had a packet since; e is what a dump shows of f
// now. Times of packets are known to a second or two, so the packet must be well after the last one known.
func (a *account) hadPacket(f *flow, e *collector.Flow) bool {
	if f.reason == collector.Timeout && e.State != collector.Opening {
		return true
	}
	return e.Active > a.lastPacket(f).Add(a.timeoutOf(f)/2)
}

// lastPacket returns when the last packet of f came, which a timeout of the budget ended.
func (a *account) lastPacket(f *flow) collector.Time {
	return a.endOf(f).Add(-a.timeoutOf(f))
}

// timeoutOf returns the timeout of the budget that ended f.
func (a *account) timeoutOf(f *flow) time.Duration {
	if f.reason == collector.Timeout {
		return a.terms.HalfOpen
	}
	return a.terms.Idle
}

// asReset returns s as if its event announced an RST at the time at. conntrack does not believe an RST of a flow that a
// flow table (nftables' offload) has handled.
func (s sighting) asReset(at collector.Time) sighting {
	e := *s.event
	e.Flow.State, e.Flow.Reason, e.Flow.Ended = collector.Done, collector.RST, collector.Interval{To: at}
	s.event = &e
	return s
}

// pickUp makes the entry of s live again. conntrack forgot the flow, because of a flush for instance, and met it again
// in its middle: it never ended.
func (in *intake) pickUp(s *sighting) {
	f := s.flow
	f.dump = s.netns.dump
	f.flags &^= flagMissed
	if f.id != s.event.Flow.ID {
		f.before, f.id = f.id, s.event.Flow.ID
	}
	if f.phase != phaseLive {
		in.flows.freePort(f)
		in.start(s, f.openedInterval(), true)
	}
	in.refresh(s)
}

// reopen opens the flow of s on the port of its entry, whose last flow ended.
func (in *intake) reopen(s *sighting, opened collector.Interval) {
	in.flows.freePort(s.flow)
	in.start(s, opened, false)
}

// resume makes the ended flow of s live again and sets flags on its entry: the flow never ended, or the NAT opened it
// anew.
func (in *intake) resume(s *sighting, flags uint16) {
	f := s.flow
	in.flows.freePort(f)
	in.start(s, f.openedInterval(), true)
	f.flags |= flags
	in.refresh(s)
}

// countUnseen counts the flow of s, which opened and ended unseen on a port that another flow has.
func (in *intake) countUnseen(s *sighting) {
	f := s.flow
	if f.phase == phaseLive {
		// Which of the two is older is unknown; they hold one port.
		a, t, _ := in.spaces.of(f)
		a.opened++
		t.opened++
		a.closed[s.event.Flow.Reason]++
		return
	}
	opened := in.openedAt(s)
	ended := s.endedAt(opened)
	in.reopen(s, openedBefore(opened, ended))
	s.noteEnd()
	f.heard(s.event.Flow.Active, s.netns.complete)
	in.flows.endBy(s, ended)
}

// countedBefore returns the flow of s as the agent before handed it over, nil if that one did not count its open.
func (in *intake) countedBefore(s *sighting) *handedFlow {
	h := s.netns.handed
	i, found := slices.BinarySearchFunc(h.flows, s.key.hi, func(f handedFlow, key uint64) int {
		return cmp.Compare(f.key, key)
	})
	if !found {
		return nil
	}
	if f := &h.flows[i]; succeeds(s, f, in.spaces.accounts[s.account]) {
		s.flow.before = f.id // the event of its end may still come
		return nil
	}
	h.flows[i].met = true
	return &h.flows[i]
}

// outlived reports whether live f opened, or had a packet, after the end that e tells of.
func (f *flow) outlived(e *collector.Flow) bool {
	return f.phase == phaseLive && e.Ended.To != 0 && e.Ended.To.Add(endSlack) < max(f.openedInterval().From, f.moment)
}

// succeeds reports whether the flow of s opened after f, which had the same port: it has another id, or what tells
// flows of one id apart (reuse.go). It counts in a.
func succeeds(s *sighting, f *handedFlow, a *account) bool {
	e, moment := &s.event.Flow, s.netns.handed.at.Add(-time.Duration(f.ago)*time.Millisecond)
	switch {
	case f.id != 0 && e.ID != 0 && f.id != e.ID, e.Opened.From > s.netns.handed.at:
		return true
	case f.ago == agoUnknown:
		return f.ended && e.State != collector.Done && s.event.Kind != collector.Closed
	case !f.ended:
		return e.Opened.From > moment.Add(stampSlack)
	case e.State != collector.Done && s.event.Kind != collector.Closed:
		return true
	}
	return e.Ended.From > moment.Add(endSlack-a.terms.CoolDown[f.reason])
}
