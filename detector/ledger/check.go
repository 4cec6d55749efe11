package ledger

import (
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// check is the ledger's check of itself in one namespace: at each complete dump it compares what the dump showed live,
// and in which state, with what the ledger has then, so that no fault that makes the ledger lose flows stays unseen.
// Where the kernel announces each flow that opens, a flow that only a dump shows is one that the ledger missed: others
// like it may have opened and ended unseen.
type check struct {
	// shown counts the flows that the dump in progress showed live, agreed those of them that live here or have ended
	// for a reason that the dump did not know, and wrong those that it showed in another state than they have here.
	shown, agreed, wrong int
	// skip: budgets changed during the dump.
	skip bool
	// fresh counts the flows that the dump in progress, or the last one, showed first and that no event told of yet;
	// missed counts those of them whose event should have come, since the moment missedSince.
	fresh, missed int
	missedSince   collector.Time
	// mismatches counts all flows that made the ledger inexact.
	mismatches uint64
	// vanishedNow counts those that vanished with the last dump, vanished all of them.
	vanishedNow int
	vanished    uint64
	// opens counts the TCP flows that the dump in progress showed first, quick those of them on the port of one that was
	// young too; reopened counts all such where there were many.
	opens, quick int
	reopened     uint64
}

// Many quick reopenings are more than one in quickShare opens, and quickLeast at least.
const quickShare, quickLeast = 100, 5

// first takes in that a dump shows the flow of s first, and marks it as found if the ledger has known all flows that
// its budgets, those of m, take since the dump before.
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

// reopens takes in that the flow of s has the port of f, whose flow ended, at the time end if it is not live here. If
// that one had opened since the dump before the last, ports come round about as fast as dumps, and a flow that opened
// and ended between two of them on one port is not seen. If it ended just before, ports come round so fast that the
// kernel's seconds do not always tell two flows apart.
func (c *check) reopens(s *sighting, end collector.Time) {
	n, f := s.netns, s.flow
	if s.event.Kind == collector.Seen && n.dumping && !n.sockets && f.flags&flagUDP == 0 && n.interval != 0 &&
		(f.openedInterval().To >= n.complete.Add(-n.interval) ||
			f.phase != phaseLive && end.Add(endSlack+ageSlack) >= s.event.At) {
		c.quick++
	}
}

// renewed takes in that the flow of s, which ended at the time end at the latest, had another packet since the last
// dump that is too soon for another flow: a FIN that was sent again, or another flow after all. Where an entry has more
// left than the kernel's limit now, as one under a timeout policy or older than the limit has, nothing says when its
// last packet came.
func (c *check) renewed(s *sighting, end collector.Time) {
	n, ended := s.netns, s.event.Flow.Ended
	if n.dumping && n.complete != 0 && ended.From != 0 && ended.To >= n.complete &&
		ended.To.Sub(end) > endSlack+stampSlack {
		c.quick++
	}
}

// vanishes is for how long before a dump a flow had no packet that may have expired since.
const vanishes = 30 * time.Second

// unseen takes in that a complete dump of n lacks live f, whose end nobody saw. conntrack shows how a flow ended for
// longer than dumps are apart, and lets one expire that was silent. So one that had a packet a moment before vanished:
// the table was flushed, or its entry was deleted. Others may have opened and ended since the last dump, and vanished
// too.
func (c *check) unseen(n *netns, f *flow) {
	if f.flags&flagUDP == 0 && !n.sockets && f.flags&(flagOpening|flagUnconfirmed|flagOffloaded) == 0 &&
		f.moment != 0 && n.complete.Sub(f.moment) < vanishes {
		c.vanishedNow++
	}
}

// announcedWithin is how long after the end of a dump the event of a flow that it showed may come: the source holds
// events back that came meanwhile, and the kernel sends an event just after it makes the entry.
const announcedWithin = 2 * time.Second

func (c *check) begin() {
	c.shown, c.agreed, c.wrong, c.skip, c.fresh, c.vanishedNow = 0, 0, 0, false, 0, 0
	c.opens, c.quick = 0, 0
}

// note takes in that the dump in progress shows the flow of f as e, which the ledger has taken in. A dump may show an
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
	late := e.ID != 0 && e.ID == f.before // an event has told more meanwhile
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

// end compares at the end of a dump, and reports whether they differ, or flows may have opened and ended unseen.
// announced is as in the event.
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

// settle makes the ledger inexact where flows were not announced.
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
