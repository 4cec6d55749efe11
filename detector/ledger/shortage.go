package ledger

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// shortage takes in opens that found no local port; destroyed sockets tell of them. The port space of such an open is
// full: each port that connect may take holds a flow to the same destination, or belongs to a socket that was bound
// before it connected, and such a socket takes its port from every destination. No list of sockets tells which sockets
// those are. So if opens fail well below the budget, the ports held then are taken as the ceiling.
type shortage struct {
	clock   *clock
	matcher *matcher
	spaces  *spaces
	waiting map[shortOf]*shortOpens
	// nowhere has for each account the last address towards which an open found no port although none was held there.
	nowhere map[uint32]nowhere
}

type nowhere struct {
	to netip.Addr
	at collector.Time
}

// shortOf is where opens found no port: a socket that failed has lost the destination's port.
type shortOf struct {
	netns       uint64
	account     uint32
	destination address
}

// shortOpens are failed opens that wait for a dump which shows how many ports were held.
type shortOpens struct {
	netns *netns
	opens uint64
	at    collector.Time // of the first
	to    netip.Addr
}

const (
	// waitingMax bounds waiting.
	waitingMax = 1024
	// waitingHold is how long failed opens wait for a dump.
	waitingHold = 15 * time.Second
	// fullHold is for how long after an open failed its port space has the ceiling that it had then.
	fullHold = 15 * time.Minute
	// fullBelow is the share of the budget's ceiling below which a full port space contradicts it.
	fullBelow = 0.9
)

// note takes in a failed open in namespace n.
func (sh *shortage) note(n *netns, e *collector.Event) {
	for i, b := range sh.matcher.budgets {
		a := uint32(2 * i)
		if !b.Local || b.Netns != 0 && b.Netns != n.inode || e.Flow.Protocol != collector.TCP ||
			sh.spaces.accounts[a].terms.Ports == 0 || !b.Reaches(e.Flow.Destination.Addr()) {
			continue
		}
		k := shortOf{n.inode, a, pack(e.Flow.Destination.Addr())}
		w := sh.waiting[k]
		switch {
		case w != nil:
			w.opens++
		case len(sh.waiting) >= waitingMax:
			sh.spaces.accounts[a].noPorts++
		default:
			sh.waiting[k] = &shortOpens{
				netns: n, opens: 1, at: sh.clock.now, to: e.Flow.Destination.Addr(),
			}
		}
		return
	}
}

// reconfigured counts the failed opens that wait, and forgets what is kept by the number of an account, because other
// accounts have these numbers from now on.
func (sh *shortage) reconfigured() {
	for k, w := range sh.waiting {
		sh.spaces.accounts[k.account].noPorts += w.opens
	}
	clear(sh.waiting)
	clear(sh.nowhere)
}

// settle counts failed opens once a dump that began after them is complete.
func (sh *shortage) settle() {
	if len(sh.waiting) == 0 {
		return
	}
	due := map[shortOf]place{}
	for k, w := range sh.waiting {
		if w.netns.complete > w.at || sh.clock.now.Sub(w.at) > waitingHold {
			due[k] = 0
		}
	}
	if len(due) == 0 {
		return
	}
	for n := range sh.spaces.list {
		s := &sh.spaces.list[n]
		if !s.used || s.held() == 0 {
			continue
		}
		for k, fullest := range due {
			if k.account == uint32(s.key.account) && k.destination == pack(s.destination.Addr()) &&
				(fullest == 0 || sh.spaces.list[fullest].held() < s.held()) {
				due[k] = place(n)
			}
		}
	}
	for k, p := range due {
		w := sh.waiting[k]
		delete(sh.waiting, k)
		if p == 0 {
			sh.spaces.accounts[k.account].noPorts += w.opens
			sh.nowhere[k.account] = nowhere{w.to, sh.clock.now}
			continue
		}
		s := &sh.spaces.list[p]
		if s.full = max(s.full, int32(s.held())); sh.clock.now.Sub(s.exhaustedAt) > fullHold {
			s.full = int32(s.held())
		}
		sh.spaces.noPorts(p, w.opens)
	}
}

// dropped takes in first packets that this machine's NAT dropped, maybe for want of a port. The kernel counts them all
// together, so they count in a port space that has no port left, the fullest if there are several. If there is none,
// they were dropped for another reason and do not count.
func (sh *shortage) dropped(packets uint64) {
	fullest, most := 0, 0.0
	for n := range sh.spaces.list {
		s := &sh.spaces.list[n]
		if !s.used || !sh.spaces.accounts[s.key.account].budget.Translated || !sh.spaces.exhausted(s) {
			continue
		}
		if fill := float64(s.held()) / float64(sh.spaces.ceilingOf(s)); fill > most {
			fullest, most = n, fill
		}
	}
	if fullest != 0 {
		sh.spaces.noPorts(place(fullest), packets)
	}
}

// ceilingOf returns the effective ceiling of s: the budget's, or what it held when opens found no port.
func (ss *spaces) ceilingOf(s *portSpace) int {
	ceiling := ss.limitOf(s)
	if s.full == 0 || ss.clock.now.Sub(s.exhaustedAt) > fullHold {
		return ceiling
	}
	return min(ceiling, int(s.full))
}

// exhaustedFor is how long a port space counts as exhausted after an open failed there or it was full, unless a tenth
// of its ports comes free before. Without it forecasts would flip between now and some minutes: ports are freed and
// taken again all the time, and a failed open is counted only when sockets are read next, or later.
const exhaustedFor = 20 * time.Second

// exhausted reports whether s has no port left, or had none a moment ago.
func (ss *spaces) exhausted(s *portSpace) bool {
	held, ceiling := s.held(), ss.ceilingOf(s)
	return held >= ceiling || s.exhaustedAt != 0 && ss.clock.now.Sub(s.exhaustedAt) < exhaustedFor && held*10 > ceiling*9
}

// contradiction reports whether a port space of budget i is full well below the budget, and names the fullest such one
// in a sentence.
func (sh *shortage) contradiction(i uint32) (bool, string) {
	if !sh.matcher.budgets[i].Local {
		return false, ""
	}
	ports, ceiling := sh.spaces.accounts[2*i].terms.Ports, sh.spaces.accounts[2*i].ceiling
	var found *portSpace
	for n := range sh.spaces.list {
		s := &sh.spaces.list[n]
		if s.used && uint32(s.key.account) == 2*i && s.full > 0 && (found == nil || s.full > found.full) &&
			float64(sh.spaces.ceilingOf(s)) < fullBelow*float64(ceiling) {
			found = s
		}
	}
	var to string
	full := 0
	switch none, there := sh.nowhere[2*i]; {
	case found != nil:
		to, full = found.destination.String(), int(found.full)
	case there && sh.clock.now.Sub(none.at) <= fullHold:
		to = none.to.String()
	default:
		return false, ""
	}
	all := ""
	if a := sh.spaces.accounts[2*i]; a.inUse > 0 {
		all = fmt.Sprintf(", and %d in use towards all destinations together", min(a.inUse, ports))
	}
	return true, fmt.Sprintf("connect found no port towards %s with %d of %d held%s: a socket that is bound before it "+
		"connects takes its "+
		"port from every destination unless it sets IP_BIND_ADDRESS_NO_PORT, and IP_LOCAL_PORT_RANGE narrows "+
		"a socket's range; "+
		"no list of sockets tells which sockets those are", to, full, ports, all)
}

// countPorts counts, at the end of a dump, the local ports that the flows of n hold towards all destinations together.
// A socket that is bound before it connects needs a port that none of them holds.
func (sh *shortage) countPorts(fl *flows, n *netns) {
	if !sh.matcher.local {
		return
	}
	ports := map[*account]map[uint16]struct{}{}
	for _, a := range sh.spaces.accounts {
		if a.inUseOf == n.inode || fl.namespaces.byInode[a.inUseOf] == nil { // it is counted now, or its namespace vanished
			a.inUse = 0
		}
	}
	fl.table.each(&n.flows, func(_ uint32, f *flow) {
		if f.place == 0 || f.port == 0 || f.flags&flagUDP != 0 {
			return
		}
		a := sh.spaces.accountOf(f)
		if ports[a] == nil {
			ports[a] = map[uint16]struct{}{}
		}
		ports[a][f.port] = struct{}{}
	})
	for a, set := range ports {
		if len(set) > a.inUse {
			a.inUse, a.inUseOf = len(set), n.inode
		}
	}
}
