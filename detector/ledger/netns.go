package ledger

import (
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// namespaces are the network namespaces that sources read.
type namespaces struct {
	byInode map[uint64]*netns
	list    []*netns       // by number, nil where free
	last    *netns         // that an event was of
	swept   collector.Time // when vanished namespaces were last looked for
}

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
	// eventsHold is for how long after an event of a new flow the ledger counts on
	// events; without them it knows what was before the last dump.
	eventsHold = 10 * time.Minute
	// netnsHold is how long a namespace without flows and news is remembered.
	netnsHold = 10 * time.Minute
	// answerMax is the longest that the answer to a first packet takes. An RST among them makes
	// conntrack forget the flow between two dumps, so one that was opening for longer got none.
	answerMax = 5 * time.Second
)

// of returns the namespace of that inode, a new one if it was not read before.
func (ns *namespaces) of(inode uint64) *netns {
	if n := ns.last; n != nil && n.inode == inode {
		return n
	}
	n := ns.byInode[inode]
	if n == nil {
		number := len(ns.list)
		for i, free := range ns.list {
			if free == nil {
				number = i
				break
			}
		}
		if number == len(ns.list) {
			ns.list = append(ns.list, nil)
		}
		n = &netns{inode: inode, flows: flowSet{owner: uint32(number)}}
		ns.list[number], ns.byInode[inode] = n, n
	}
	ns.last = n
	return n
}

// forget drops namespaces that vanished, once a minute.
func (ns *namespaces) forget(now collector.Time) {
	if now.Sub(ns.swept) < time.Minute {
		return
	}
	ns.swept = now
	for i, n := range ns.list {
		if n != nil && n.flows.count == 0 && now.Sub(n.heard) > netnsHold {
			delete(ns.byInode, n.inode)
			ns.list[i] = nil
			ns.last = nil
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

// seenUpTo is the moment up to which all that happened is known: now where events come, else
// when the last dump that is complete began; 0 before the first.
func (ns *namespaces) seenUpTo(now collector.Time) collector.Time {
	var opened, dumped collector.Time
	for _, n := range ns.list {
		if n != nil {
			opened = max(opened, n.lastOpen)
			dumped = max(dumped, n.complete)
		}
	}
	if opened != 0 && now.Sub(opened) < eventsHold {
		return now
	}
	return dumped
}
