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
	flagOwed        // live, and the end of the flow before it is not counted yet: an event will tell the reason
	flagUnconfirmed // live, and nothing tells but that its first packet went out
	flagShown       // the dump in progress showed it live
	flagUncounted   // live as an event told, and not counted before a dump shows it: see budget.FreesAtEnd
	flagUDP         // its protocol; else it is TCP
	// the timeout of its conntrack entry is not what the kernel's settings say, so what is left of that timeout does not
	// tell when the last packet came
	flagAgeUnknown
	flagOffloaded  // a flow table saw its packets once
	flagEndCounted // its end was counted before: conntrack forgot it, or the agent before this one saw it
	flagFound      // a dump showed it first: no event has announced that it opened
)

// flow is one entry of the table: 64 bytes, a line of the processor's cache.
type flow struct {
	key flowKey
	// opened is the latest moment at which the flow may have opened; the earliest lies span microseconds before it.
	opened collector.Time
	// moment is when the last packet of a live flow came, 0 where unknown. Of an ended flow it is when the port is free.
	moment collector.Time
	span   uint32
	// due is the tick in which the timer of an ended flow expires. A live flow has no timer: its chunk has an alarm, and
	// due is the second in which the kernel forgets it at the earliest, 0 where unknown.
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

// start makes f the entry of a live flow: the one that event e is about. setOpened says when it opened.
func (f *flow) start(e *collector.Event) {
	f.phase, f.flags, f.reason = phaseLive, f.flags&flagShown, collector.ReasonUnknown
	if e.Flow.Protocol == collector.UDP {
		f.flags |= flagUDP
	}
	if e.Flow.Translated {
		f.flags |= flagTranslated
	}
	f.id, f.moment, f.due = e.Flow.ID, 0, 0
}

// second is the unit of a live flow's due.
const second = collector.Time(time.Second)

// expired reports whether the kernel may have forgotten live f, for its silence alone, before the time at.
func (f *flow) expired(at collector.Time) bool {
	return f.due != 0 && at >= collector.Time(f.due)*second
}

// spanUnknown is the span of a flow that may have opened at any time before opened. Spans above 71 minutes, which do
// not fit, become unknown too: that widens what is known and never narrows it.
const spanUnknown = 1<<32 - 1

// setOpened notes that f opened within i, and returns i as openedInterval will.
func (f *flow) setOpened(i collector.Interval) collector.Interval {
	f.opened, f.span = i.To, spanUnknown
	if us := (int64(i.To-i.From) + 999) / 1000; (i.From != 0 || i.To == 0) && us >= 0 && us < spanUnknown {
		f.span = uint32(us)
	}
	return f.openedInterval()
}

// openedInterval returns the interval that setOpened got, rounded. The forecast gets the same interval at the open and
// at the close.
func (f *flow) openedInterval() collector.Interval {
	if f.span == spanUnknown {
		return collector.Interval{To: f.opened}
	}
	return collector.Interval{From: max(f.opened-collector.Time(f.span)*1000, 0), To: f.opened}
}

// lifetime returns how long a flow lived. If only bounds are known, it is their geometric mean, the lower bound taken
// as 1 ms at least: so a flow of 50 ms that a poll every 5 s saw closed does not count as one of 2.5 s. ok is false if
// nothing bounds when the flow opened.
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

// How exactly the kernel tells times.
const (
	// ageSlack is how far two readings of one packet's time may lie apart: conntrack rounds timeouts to a second.
	ageSlack = 3 * time.Second
	// stampSlack is how far two readings of one start stamp may lie apart.
	stampSlack = 50 * time.Millisecond
	// endSlack is how long after its end, as first read, a flow may have another packet: a FIN that is sent again renews
	// the entry's timeout. Another connection over the tuple takes longer to open and to end (tcp_tw_reuse waits a
	// second). On a machine so busy that FINs are sent again for longer, only events tell the two apart.
	endSlack = time.Second
	// resetSlack is how long after the end by FIN an RST may come to a flow: the other side answers what reaches its
	// closed socket. An RST that comes later is of another connection, which opened over the tuple and was reset.
	resetSlack = 5 * time.Second
)

// heard takes in when the last packet of live f came: active, 0 if the event does not say. conntrack tells how much of
// the timeout is left; the whole timeout is taken from the kernel's settings, but nft may give a flow another one, and
// settings change. If the packet then dates from before the flow opened, or from well before the last complete dump,
// which it came after, the timeout of this flow is another, and the time of its last packet stays unknown. That dump
// began at dumped.
func (f *flow) heard(active, dumped collector.Time) {
	if active == 0 || f.flags&flagAgeUnknown != 0 {
		return
	}
	if misdated(f.moment, active, dumped) || active < f.openedInterval().From {
		f.flags |= flagAgeUnknown
		f.moment = 0
		return
	}
	f.moment = max(f.moment, active)
}

// misdated reports whether a flow's last packet came after the last complete dump, which began at dumped, although its
// time active lies well before that. before is the time of the packet that was the last one until now, 0 where unknown.
func misdated(before, active, dumped collector.Time) bool {
	return before != 0 && active > before.Add(ageSlack) && active.Add(ageSlack) < dumped
}

// portKey returns the key of the port that f holds in port space s: the numbers of port space and VIP, and the port.
func portKey(s place, f *flow) uint64 {
	return uint64(s)<<32 | uint64(f.vip)<<16 | uint64(f.port)
}

// clock is the time of the ledger: now is the latest time that Advance got; start is when the agent started, 0 until
// known.
type clock struct{ now, start collector.Time }
