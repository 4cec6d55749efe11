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
	untaken        untaken
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
		n = &netns{inode: inode, flows: flowSet{netns: uint32(number)}, since: ns.clock.start}
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
	n.untaken.more = false
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
		return true // no dump ever shows a flow here, and an event announced its end
	case n.dumping && f.dump == n.dump:
		return false // the dump in progress may show it
	case f.flags&flagMissed != 0:
		return true
	case f.flags&flagEndSeen != 0 && !n.sockets:
		return true // conntrack reports the end when the entry is gone; a socket leaves a TIME_WAIT
	}
	return false
}

// passes finds out which entries of a namespace's conntrack table are of one connection. Packets may pass conntrack
// several times, each time in another zone (OVN, VRFs); then a connection has an entry in each zone. A provider that
// translates further out sees one flow, so one pass counts: the one that translates, else the one that came first. The
// zero value is ready. It keeps nothing until a flow comes in a zone other than 0, then some 80 bytes a flow.
type passes struct {
	on bool
	of map[uint64]pass // by endKey; each connection twice, by the end it comes with and by the end it leaves with
}

// pass is the one pass of a connection that counts.
type pass struct {
	zone, out  uint16 // as Zone and ZoneOut of a flow
	dump       uint16 // the number of the last dump that showed it
	translated bool
	// leaving: it is kept by the end that the flow leaves with, not by the one that it comes with.
	leaving bool
}

// concern reports whether the flow e may be one of several passes of its connection.
func (p *passes) concern(e *collector.Flow) bool { return p.on || e.Zone|e.ZoneOut != 0 }

// passHold is for how many dumps a pass is remembered after the last one that showed it: the other entries of its
// connection may outlast its own.
const passHold = 2

// forget drops the passes that neither the dump of that number nor the passHold dumps before it showed.
func (p *passes) forget(dump uint16) {
	for k, known := range p.of {
		if dump-known.dump > passHold {
			delete(p.of, k)
		}
	}
}

// handed is what the agent before knew of one network namespace.
type handed struct {
	at       collector.Time // when it ended
	complete collector.Time // when its last complete dump began
	flows    []handedFlow   // by key
}

// handedFlow is a flow that the agent before counted.
type handedFlow struct {
	key uint64 // the high half of its flowKey
	id  uint32 // CTA_ID
	// ago is in milliseconds before the end of that agent: when a live flow opened at the latest, or when the port of an
	// ended flow was free (negative if it was not free yet); agoUnknown if it does not fit or is not known.
	ago        int32
	account    uint16 // of a live flow: the number of its account, noNumber if there is no such account now
	reason     collector.Reason
	ended, met bool // met: this agent has seen it
}

const (
	agoUnknown = 1<<31 - 1 // as ago
	noNumber   = 1 << 10   // as account: numbers in a handover are below
)
