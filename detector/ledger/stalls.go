package ledger

import (
	"net/netip"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// stallKey tells one open from another.
type stallKey struct {
	netns               uint64
	source, destination netip.AddrPort
}

// stallsHold is for how long after an observation sockets tell of failed opens, so that the
// kernel's entries of the same opens do not count them again.
const stallsHold = 3 * time.Minute

// ObserveStalls tells of all sockets whose first SYN was sent again and is unanswered at
// the time at; it replaces what the last call told. A stall towards a port space at
// its effective ceiling is an open that failed for lack of ports, counted once.
//
// A socket does not know whether it will be translated, nor to which VIP: it counts under the first
// budget that reaches its destination, and where each VIP is a port space of its own,
// under the budget alone.
func (l *Ledger) ObserveStalls(at collector.Time, stalled []collector.Flow) {
	l.Advance(at)
	l.clearStalls()
	l.stallsSeen = l.now
	clear(l.newStalls)
	for i := range stalled {
		f := &stalled[i]
		if f.Protocol != collector.TCP {
			continue
		}
		key := stallKey{f.Netns, f.Source, f.Destination}
		if _, twice := l.newStalls[key]; twice {
			continue
		}
		l.newStalls[key] = struct{}{}
		_, known := l.stalls[key]
		l.stall(f, !known)
	}
	l.stalls, l.newStalls = l.newStalls, l.stalls
}

func (l *Ledger) stall(f *collector.Flow, first bool) {
	for i, b := range l.cfg.Budgets {
		a := uint32(2 * i)
		if l.accounts[a].terms.Ports == 0 || b.Local && b.Netns != 0 && b.Netns != f.Netns || !b.Reaches(f.Destination.Addr()) {
			continue
		}
		l.accounts[a].stalled++
		own := address{}
		switch {
		case b.Local:
			own = pack(f.Source.Addr())
		case b.SpacePerVIP:
			return
		}
		k := l.spaceKeyOf(a, own, pack(f.Destination.Addr()), f.Destination.Port())
		n, ok := l.byKey[k]
		if !ok {
			return
		}
		s := &l.spaces[n]
		if s.stalled == 0 {
			l.stalledSpaces = append(l.stalledSpaces, n)
		}
		s.stalled++
		if first && s.held() >= l.accounts[a].terms.Ceiling() {
			l.noPorts(place(n))
		}
		return
	}
}

// noPorts counts an open that failed for lack of ports.
func (l *Ledger) noPorts(p place) {
	s := &l.spaces[p]
	s.noPorts++
	l.accounts[s.key.account].noPorts++
}

func (l *Ledger) clearStalls() {
	for _, n := range l.stalledSpaces {
		l.spaces[n].stalled = 0
	}
	l.stalledSpaces = l.stalledSpaces[:0]
	for _, a := range l.accounts {
		a.stalled = 0
	}
}

// stallsTold reports whether sockets tell of stalls.
func (l *Ledger) socketsWatched() bool {
	return l.stallsSeen != 0 && l.now.Sub(l.stallsSeen) < stallsHold
}
