package ledger

import (
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// netns is what the ledger knows of one network namespace.
type netns struct {
	inode uint64
	flows flowSet
	heard collector.Time // of the last event
	// sockets: what is read here are sockets, which have an inode, not conntrack entries.
	sockets bool

	// dump numbers the dump in progress, or the last one; 0 before the first.
	dump    uint16
	dumping bool
	begin   collector.Time
	// complete is when the last complete dump began, ended when it ended, 0 before
	// the first; interval is how long after the one before it, at most maxInterval.
	complete, ended collector.Time
	interval        time.Duration
	// listed is as complete, but 0 also where flows that were there may be missing
	// from the table because other budgets were in place.
	listed collector.Time

	exact, repairs bool // repairs: the dump in progress began after the last overrun
	lost, resyncs  uint64
	lossAt         collector.Time // of the first overrun that no dump repaired, 0 if none
	lastOpen       collector.Time // of the last event of a new flow
	// other counts flows of other protocols: those of the last complete dump and
	// those opened since.
	other, otherNow uint64
}

const (
	maxInterval = 5 * time.Minute
	// netnsHold is how long a namespace without flows and news is remembered.
	netnsHold = 10 * time.Minute
	// answerMax is the longest that the answer to a first packet takes. An RST among them makes
	// conntrack forget the flow between two dumps, so one that was opening for longer got none.
	answerMax = 5 * time.Second
)

func (l *Ledger) netnsOf(inode uint64) *netns {
	if n := l.lastNetns; n != nil && n.inode == inode {
		return n
	}
	n := l.byInode[inode]
	if n == nil {
		number := len(l.netns)
		for i, free := range l.netns {
			if free == nil {
				number = i
				break
			}
		}
		if number == len(l.netns) {
			l.netns = append(l.netns, nil)
		}
		n = &netns{inode: inode, flows: flowSet{owner: uint32(number)}}
		l.netns[number], l.byInode[inode] = n, n
	}
	l.lastNetns = n
	return n
}

// forgetNetns drops namespaces that vanished, once a minute.
func (l *Ledger) forgetNetns() {
	if l.now.Sub(l.swept) < time.Minute {
		return
	}
	l.swept = l.now
	for i, n := range l.netns {
		if n != nil && n.flows.count == 0 && l.now.Sub(n.heard) > netnsHold {
			delete(l.byInode, n.inode)
			l.netns[i] = nil
			l.lastNetns = nil
		}
	}
}

func (n *netns) countOther(k collector.Kind) {
	switch k {
	case collector.Seen:
		n.otherNow++
	case collector.Opened:
		n.other++
	}
}

func (n *netns) beginDump(at collector.Time) {
	if n.dump++; n.dump == 0 {
		n.dump = 1
	}
	n.dumping, n.begin, n.repairs = true, at, true
	n.otherNow = 0
}

func (n *netns) overrun(at collector.Time) {
	n.lost++
	if n.lossAt == 0 {
		n.lossAt = at
	}
	n.exact, n.repairs = false, false
}

// due is when a dump that has not been told yet should be complete, 0 where
// dumps do not come regularly.
func (n *netns) due() collector.Time {
	if n.interval == 0 {
		return 0
	}
	return n.complete.Add(2 * n.interval)
}

// openedAt bounds when a flow that the ledger did not know opened: a dump that was
// complete would have shown it.
func (n *netns) openedAt(e *collector.Event) collector.Interval {
	i := e.Flow.Opened
	if i.To == 0 {
		i.To = e.At
		if e.Kind == collector.Opened {
			i.From = e.At
		}
	}
	if i.From < n.listed && n.listed < i.To {
		i.From = n.listed
	}
	i.From = min(i.From, i.To)
	return i
}

// endedAt bounds when a flow ended that opened as told and was there in the last complete dump.
func (n *netns) endedAt(e *collector.Event, opened collector.Interval) collector.Interval {
	i := e.Flow.Ended
	if i.To == 0 {
		i.To = e.At
		if e.Kind == collector.Closed {
			i.From = e.At
		}
	}
	if !i.Exact() {
		i.From = max(i.From, n.complete, opened.From)
	}
	i.From = min(i.From, i.To)
	return i
}

// endDump sweeps what the dump did not show.
func (l *Ledger) endDump(n *netns, at collector.Time) {
	if !n.dumping {
		return
	}
	n.dumping = false
	l.eachFlow(n, func(i uint32, f *flow) {
		l.settle(f)
		if f.dump != n.dump {
			l.unseen(n, i, f, at)
		}
	})
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
}

// unseen treats an entry that a complete dump did not show.
func (l *Ledger) unseen(n *netns, i uint32, f *flow, at collector.Time) {
	switch {
	case f.phase == phaseLive:
		opened := f.openedInterval()
		ended := collector.Interval{From: min(max(n.complete, opened.From, f.moment), at), To: at}
		reason := collector.ReasonUnknown
		switch {
		case n.sockets:
		case f.protocol == collector.UDP:
			// conntrack forgets UDP for no other reason.
			reason = collector.Idle
		case f.flags&flagOpening != 0 && n.complete.Sub(f.opened) > answerMax:
			reason = collector.Timeout
			l.failed(f, reason, false)
		}
		f.flags |= flagSwept
		l.end(n, i, f, ended, reason)
	case f.phase == phaseGone && f.flags&(flagMissed|flagEndSeen) != 0:
		l.remove(n, i)
	default:
		// The event of its end may still be on its way: it stays for one more dump.
		f.flags |= flagMissed
	}
}
