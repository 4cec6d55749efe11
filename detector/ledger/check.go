package ledger

import (
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// check compares the ledger with the kernel in one namespace, so that a fault which makes the ledger lose flows does
// not stay unseen. At the end of each complete dump it compares the flows that the dump showed live, and their states,
// with the ledger's flows. Where the kernel announces each flow that opens, the ledger missed a flow that only a dump
// shows: others like it may have opened and ended unseen.
type check struct {
	// shown counts the flows that the dump in progress showed live. agreed counts the ones among them that are live in the
	// ledger too, or ended there for a reason that the dump could not know. wrong counts the flows that the dump showed in
	// another state than the ledger has.
	shown, agreed, wrong int
	skip                 bool // budgets changed during the dump, so a difference says nothing
	// fresh counts the flows that the dump in progress, or the last one, showed before any event did. missed
	// counts the ones among them whose event should have come by now; the first of them was shown at missedSince.
	fresh, missed int
	missedSince   collector.Time
	// mismatches counts all flows in which dump and ledger differed, and all that were missed.
	mismatches uint64
	// vanishedNow counts the flows that the last dump lacked although they had a packet just before; vanished counts all
	// such flows.
	vanishedNow int
	vanished    uint64
	// opens counts the TCP flows that the dump in progress showed first. quick counts the ones among them whose port a
	// flow that was young too had before. reopened sums quick over the dumps in which there were many.
	opens, quick int
	reopened     uint64
}

// Quick reopenings are many if they are quickLeast or more, and more than one in quickShare opens.
const quickShare, quickLeast = 100, 5

// first takes in that a dump shows the flow of s before any event did. The flow is marked as found, unless the
// ledger did not know all flows that the budgets of m take when the dump before began.
func (c *check) first(s *sighting, m *matcher) {
	n := s.netns
	if !n.dumping {
		return
	}
	if !n.sockets && s.event.Flow.Protocol == collector.TCP {
		c.opens++
	}
	if n.listed != 0 && m.tookSince(n.listed, s) {
		s.flow.flags |= flagFound
		c.fresh++
	}
}

// reopens takes in that the flow of s has the port of the flow in its entry, which ended: at the time end, if the
// ledger saw the end. If the ended flow had opened since the dump before the last, ports are reused about as fast as
// dumps come, and a flow that opens and ends on one port between two dumps is not seen. If it ended just before, ports
// are reused so fast that the kernel's times, which are whole seconds, do not always tell two flows apart.
func (c *check) reopens(s *sighting, end collector.Time) {
	n, f := s.netns, s.flow
	if s.event.Kind == collector.Seen && n.dumping && !n.sockets && f.flags&flagUDP == 0 && n.interval != 0 &&
		(f.openedInterval().To >= n.complete.Add(-n.interval) ||
			f.phase != phaseLive && end.Add(endSlack+ageSlack) >= s.event.At) {
		c.quick++
	}
}

// renewed takes in that the flow of s had a packet since the last dump, although the ledger saw it end at the time end
// at the latest. The packet came too soon for another flow to be sure: a FIN was sent again, or it is another flow.
// Where an entry has more left than the kernel's limit now, nothing says when its last packet came: a timeout policy
// keeps it, or it is older than the limit.
func (c *check) renewed(s *sighting, end collector.Time) {
	n, ended := s.netns, s.event.Flow.Ended
	if n.dumping && n.complete != 0 && ended.From != 0 && ended.To >= n.complete &&
		ended.To.Sub(end) > endSlack+stampSlack {
		c.quick++
	}
}

// vanishes is how long before a dump the last packet of a flow may lie for the flow not to have expired since.
const vanishes = 30 * time.Second

// unseen takes in that a complete dump of n lacks live f, whose end nobody saw. conntrack keeps an ended flow for
// longer than dumps are apart, and a silent one until its timeout. So a flow that is gone although it had a packet a
// moment before, and was to stay until after the time at of the dump, did not end: the table was flushed, or the entry
// was deleted. Other flows may have opened, ended and been deleted since the last dump.
func (c *check) unseen(n *netns, f *flow, at collector.Time) {
	if !f.expired(at) && f.flags&flagUDP == 0 && !n.sockets && f.flags&(flagOpening|flagUnconfirmed|flagOffloaded) == 0 &&
		f.moment != 0 && n.complete.Sub(f.moment) < vanishes {
		c.vanishedNow++
	}
}

// announcedWithin is how long after the end of a dump the event of a flow that the dump showed may come: the source
// holds back the events that came during the dump, and the kernel sends an event just after it makes the entry.
const announcedWithin = 2 * time.Second

func (c *check) begin() {
	c.shown, c.agreed, c.wrong, c.skip, c.fresh, c.vanishedNow = 0, 0, 0, false, 0, 0
	c.opens, c.quick = 0, 0
}

// note takes in that the dump in progress showed the flow of f as e; the ledger has updated f by it. A dump may show an
// entry twice.
func (c *check) note(f *flow, e *collector.Flow) {
	switch live := e.State != collector.Done; {
	case live && f.flags&flagShown == 0:
		f.flags |= flagShown
		c.shown++
	case !live && f.flags&flagShown != 0:
		f.flags &^= flagShown
		c.shown--
	}
	late := e.ID != 0 && e.ID == f.before // an event has said more meanwhile
	opening := f.flags&flagOpening != 0
	if f.phase == phaseLive && !late && (e.State == collector.Done || opening != (e.State == collector.Opening)) {
		c.wrong++
	}
}

// announced takes in that an event tells of f, which a dump may have shown before.
func (c *check) announced(f *flow) {
	if f.flags&flagFound == 0 {
		return
	}
	f.flags &^= flagFound
	if c.fresh > 0 {
		c.fresh--
	} else {
		c.missed = max(0, c.missed-1)
	}
}

// end compares dump and ledger at the end of a dump. It reports whether they differ, or flows may have opened and ended
// unseen. announced is as in the event of the end.
func (c *check) end(at collector.Time, announced bool) bool {
	if announced && c.fresh > 0 {
		if c.missed == 0 {
			c.missedSince = at
		}
		c.missed += c.fresh
	}
	c.fresh = 0
	differ, vanished := max(0, c.shown-c.agreed)+c.wrong, c.vanishedNow
	if c.skip {
		differ = 0
	}
	quick := 0
	if c.quick >= quickLeast && c.quick*quickShare > c.opens {
		quick = c.quick
	}
	if announced { // the events are on their way
		vanished, quick = 0, 0
	}
	c.mismatches += uint64(differ)
	c.vanished += uint64(vanished)
	c.reopened += uint64(quick)
	return differ+vanished+quick > 0
}

// settle makes the ledger inexact in each namespace where the event of a flow that a dump showed did not come in time.
func (ns *namespaces) settle(now collector.Time) {
	for _, n := range ns.list {
		if n == nil || n.check.missed == 0 || now.Sub(n.check.missedSince) < announcedWithin {
			continue
		}
		n.check.mismatches += uint64(n.check.missed)
		n.check.missed = 0
		n.gap(now)
	}
}
