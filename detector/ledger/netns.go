package ledger

import (
	"maps"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// namespaces are the network namespaces that sources read.
type namespaces struct {
	clock   *clock
	byInode map[uint64]*netns
	list    []*netns // by number, nil where free
	last    *netns   // that an event was of
	// handed has what the agent before knew, by inode, until the namespace is met.
	handed map[uint64]*handed
	swept  collector.Time // when vanished namespaces were last looked for
}

// netns is what the ledger knows of one network namespace.
type netns struct {
	inode     uint64
	flows     flowSet
	lastEvent collector.Time // of the last event
	// since is the moment from which its flows count as opened and ended: the start, or, until the first complete dump,
	// the last dump of the agent before.
	since collector.Time
	// sockets: the source reads sockets here, which have an inode, not conntrack entries.
	sockets bool

	// dump numbers the dump in progress, or the last one; 0 before the first.
	dump    uint16
	dumping bool
	begin   collector.Time
	// complete is when the last complete dump began, ended when it ended, 0 before
	// the first; interval is how long after the one before it, at most maxInterval.
	complete, ended collector.Time
	interval        time.Duration
	// listed equals complete, but is 0 if the table may lack flows of that dump.
	listed collector.Time

	exact, repairs bool // repairs: the dump in progress began after the last overrun or gap
	lost, resyncs  uint64
	check          check
	passes         passes
	lossAt         collector.Time // of the first overrun or gap that no dump repaired, 0 if none
	lastOpen       collector.Time // of the last event of a new flow
	// announced is set while the kernel has announced, by events, all that opened: the last complete dump said so, and no
	// event was lost since.
	announced bool
	// other counts flows of protocols but TCP and UDP: those that the last complete dump showed, and those that opened
	// since. otherNow counts those that the dump in progress showed.
	other, otherNow uint64
	// handed is what the agent before knew, until the first complete dump.
	handed *handed
}

const (
	maxInterval = 5 * time.Minute
	// eventsHold is for how long after an event of a new flow the ledger relies on events. Without events it knows what
	// was before the last dump.
	eventsHold = 10 * time.Minute
	// netnsHold is how long a namespace without flows and events is remembered.
	netnsHold = 10 * time.Minute
	// answerMax is the longest that an answer to a first packet takes. A flow that is gone and was opening for longer got
	// no answer; one that was opening for less may have been answered by an RST, which conntrack forgets between two
	// dumps.
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
		n = &netns{inode: inode, flows: flowSet{owner: uint32(number)}, since: ns.clock.start}
		if h := ns.handed[inode]; h != nil {
			n.handed, n.since = h, h.complete
			delete(ns.handed, inode)
		}
		ns.list[number], ns.byInode[inode] = n, n
	}
	ns.last = n
	return n
}

// forget drops, once a minute, namespaces that vanished, and what the agent before knew of namespaces that no event was
// of since.
func (ns *namespaces) forget(now collector.Time) {
	if now.Sub(ns.swept) < time.Minute {
		return
	}
	ns.swept = now
	maps.DeleteFunc(ns.handed, func(_ uint64, h *handed) bool { return now.Sub(h.at) > netnsHold })
	for i, n := range ns.list {
		if n != nil && n.flows.count == 0 && now.Sub(n.lastEvent) > netnsHold {
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
	n.check.begin()
}

func (n *netns) overrun(at collector.Time) {
	n.lost++
	n.gap(at)
}

// gap takes in that flows may have opened and ended unseen.
func (n *netns) gap(at collector.Time) {
	if n.lossAt == 0 {
		n.lossAt = at
	}
	n.exact, n.repairs, n.announced = false, false, false
}

// due is when the next dump should be complete, 0 if dumps do not come regularly.
func (n *netns) due() collector.Time {
	if n.interval == 0 {
		return 0
	}
	return n.complete.Add(2 * n.interval)
}

// seenUpTo returns the moment up to which everything is known: now if events come, else when the last complete dump
// began; 0 before the first dump.
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

// removable reports whether no event or dump of n can show f any more.
func (n *netns) removable(f *flow) bool {
	switch {
	case n.dump == 0:
		return true // no dump ever shows a flow here, and an event told of its end
	case n.dumping && f.dump == n.dump:
		return false // the dump in progress may show it
	case f.flags&flagMissed != 0:
		return true
	case f.flags&flagEndSeen != 0 && !n.sockets:
		return true // conntrack reports the end when the entry is gone; a socket leaves a TIME_WAIT
	}
	return false
}
