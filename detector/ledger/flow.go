package ledger

import (
	"math"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// phase is what the entry of a flow stands for.
type phase uint8

const (
	phaseFree    phase = iota
	phaseLive          // the flow lives and holds its port
	phaseCooling       // it ended and its port is not free yet
	phaseGone          // it ended, its port is free, the kernel may still show it
)

// Flags of an entry.
const (
	flagEndSeen   = 1 << iota // its end came as an event: a dump that began before may still show it
	flagMissed                // the last complete dump did not show it
	flagAtCeiling             // its port space was at its effective ceiling when it opened
	flagSwept                 // it ended because a dump did not show it
	flagTimedOut              // it ended by the ledger's idle or half-open clock, not in the kernel
	flagTranslated
	flagOpening     // live, and a dump showed it without an answer
	flagOwed        // live, and the end of the flow before it is not counted yet: its event is on the way
	flagUnconfirmed // live, and nothing tells but that its first packet went out
	flagShown       // the dump in progress showed it live
	flagUncounted   // live as an event told, and not counted before a dump shows it: see budget.FreesAtEnd
	flagUDP         // its protocol; else it is TCP
	// its entry's timeout is not what the kernel's settings say, so it does not tell when the last packet came
	flagAgeUnknown
	flagOffloaded // a flow table saw its packets once
	flagPickedUp  // live again after conntrack forgot it, and its end was counted then
	flagFound     // a dump showed it first: no event has told that it opened
)

// flow is one entry of the table: 64 bytes, a line of the processor's cache.
type flow struct {
	key flowKey
	// opened is when it opened at the latest, span how many microseconds before that
	// it may have been.
	opened collector.Time
	// moment is the last packet known of a live flow, 0 where unknown; of an ended one
	// the moment at which its port is free.
	moment collector.Time
	span   uint32
	// due is the tick in which the timer of an ended flow expires. A live flow is under its
	// chunk's alarm.
	due        uint32
	place      place
	id, before uint32 // CTA_ID of this flow and of the one before it on the same port
	dump       uint16 // number of the dump that showed it last
	port, vip  uint16 // where flows may share a port: the port and the number of the VIP
	flags      uint16
	owner      collector.OwnerNumber
	phase      phase
	reason     collector.Reason
}

func (f *flow) protocol() collector.Protocol {
	if f.flags&flagUDP != 0 {
		return collector.UDP
	}
	return collector.TCP
}

// start makes f live: the flow that the event e tells of, which opened within opened.
func (f *flow) start(e *collector.Event, opened collector.Interval) {
	f.phase, f.flags, f.reason = phaseLive, f.flags&flagShown, collector.ReasonUnknown
	if e.Flow.Protocol == collector.UDP {
		f.flags |= flagUDP
	}
	if e.Flow.Translated {
		f.flags |= flagTranslated
	}
	f.id, f.moment = e.Flow.ID, 0
	f.setOpened(opened)
}

// spanUnknown: nothing bounds from below when the flow opened. It stands for all spans
// above 71 minutes too, which widens what is known and never narrows it.
const spanUnknown = 1<<32 - 1

func (f *flow) setOpened(i collector.Interval) {
	f.opened, f.span = i.To, spanUnknown
	if i.From == 0 && i.To != 0 {
		return
	}
	if us := (int64(i.To-i.From) + 999) / 1000; us >= 0 && us < spanUnknown {
		f.span = uint32(us)
	}
}

// openedInterval returns what setOpened was given, rounded: the same interval from open to close.
func (f *flow) openedInterval() collector.Interval {
	if f.span == spanUnknown {
		return collector.Interval{To: f.opened}
	}
	return collector.Interval{From: max(f.opened-collector.Time(f.span)*1000, 0), To: f.opened}
}

// lifetime returns how long a flow lived. If only bounds are known it is their geometric mean, the lower bound not
// under 1 ms: half of the decades between them lie on each side, so a flow of 50 ms that a poll every 5 s saw closed
// does not count as one of 2.5 s. ok is false if nothing bounds when it opened.
func lifetime(opened, ended collector.Interval) (d time.Duration, ok bool) {
	if opened.From == 0 && opened.To != 0 {
		return 0, false
	}
	long := max(ended.To.Sub(opened.From), 0)
	short := max(ended.From.Sub(opened.To), 0)
	if opened.Exact() && ended.Exact() {
		return long, true
	}
	short = max(short, min(time.Millisecond, long))
	return time.Duration(math.Sqrt(float64(short) * float64(long))), true
}

// heard takes what the event of s says about the last packet of live f. Conntrack tells how much of a timeout is
// left, and what it was set to is only assumed: nft may give a flow a timeout of its own, and the kernel's settings
// change while flows live. A packet from before the flow opened, or one that came after a dump but is dated well
// before it, says that the assumption is wrong for this flow.
func (f *flow) heard(s *sighting) {
	active := s.event.Flow.Active
	if active == 0 || f.flags&flagAgeUnknown != 0 {
		return
	}
	if misdated(f.moment, active, s.netns) || active < f.openedInterval().From {
		f.flags |= flagAgeUnknown
		f.moment = 0
		return
	}
	f.moment = max(f.moment, active)
}

// misdated reports whether a flow's last packet, dated before and now active, came after the last complete dump of n
// but is dated well before it.
func misdated(before, active collector.Time, n *netns) bool {
	return before != 0 && active > before.Add(ageSlack) && active.Add(ageSlack) < n.complete
}

// ageSlack is how far two readings of one packet's time may lie apart: conntrack rounds timeouts to a second.
const ageSlack = 3 * time.Second

// noteEnd notes that an event told how f ended. A dump of n that is in progress may still show f.
func (f *flow) noteEnd(n *netns) {
	f.flags |= flagEndSeen
	if n.dumping {
		f.dump = n.dump
	}
}
