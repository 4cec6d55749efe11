package ledger

import (
	"net/netip"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// stallKey tells one stalled open from another.
type stallKey struct {
	netns               uint64
	source, destination netip.AddrPort
}

// stallsHold is for how long after an observation failed opens are counted from sockets alone, so that the conntrack
// entries of the same opens do not count them again.
const stallsHold = 3 * time.Minute

// stalls are opens whose first SYN was sent again and is unanswered, as sockets show them.
type stalls struct {
	spaces *spaces
	vips   *vips
	// seen are the stalls of the last observation, at the time at; next is room for the next observation.
	seen, next map[stallKey]struct{}
	at         collector.Time
	counted    []uint32 // numbers of the port spaces that count a stall
}

func newStalls(ss *spaces, v *vips) stalls {
	return stalls{spaces: ss, vips: v, seen: map[stallKey]struct{}{}, next: map[stallKey]struct{}{}}
}

// observe replaces the last observation.
func (st *stalls) observe(at collector.Time, stalled []collector.Flow) {
	st.clear()
	st.at = at
	clear(st.next)
	for i := range stalled {
		f := &stalled[i]
		if f.Protocol != collector.TCP {
			continue
		}
		key := stallKey{f.Netns, f.Source, f.Destination}
		if _, twice := st.next[key]; twice {
			continue
		}
		st.next[key] = struct{}{}
		_, known := st.seen[key]
		st.count(f, !known)
	}
	st.seen, st.next = st.next, st.seen
}

// count counts stalled open f; first says that the last observation did not have it.
func (st *stalls) count(f *collector.Flow, first bool) {
	for a := uint32(0); int(a) < len(st.spaces.accounts); a += 2 {
		b := st.spaces.accounts[a].budget
		if st.spaces.accounts[a].terms.Ports == 0 || b.Local && b.Netns != 0 && b.Netns != f.Netns ||
			!b.Reaches(f.Destination.Addr()) {
			continue
		}
		st.spaces.accounts[a].stalled++
		own := address{}
		switch {
		case b.Local:
			own = pack(f.Source.Addr())
		case b.SpacePerVIP:
			var ok bool
			if own, ok = st.onlyVIP(a, f); !ok {
				return
			}
		}
		class := b.ClassOf(f.Source.Port())
		k := st.spaces.keyOf(a, own, pack(f.Destination.Addr()), f.Destination.Port(), f.Zone, class)
		n, ok := st.spaces.byKey[k]
		if !ok {
			return
		}
		s := &st.spaces.list[n]
		if s.stalled == 0 {
			st.counted = append(st.counted, n)
		}
		s.stalled++
		if first && s.held() >= st.spaces.limitOf(s) && !hasPort(b, f.Translated) {
			st.spaces.noPorts(place(n), 1)
		}
		return
	}
}

// hasPort reports whether an open without an answer has a port of b all the same. tracked says that conntrack has an
// entry of it. A socket that sends has a local port, and this machine's NAT makes no entry for a flow without a port.
func hasPort(b *budget.Budget, tracked bool) bool { return b.Local || b.Translated && tracked }

// onlyVIP returns the VIP that stalled open f will have if it can have one VIP alone: account a has a port space for
// each VIP, and just one of those towards the destination of f is tracked. ok is false if none is, or several are. A
// socket does not know its VIP; on a node that masquerades by its one way out, there is one.
func (st *stalls) onlyVIP(a uint32, f *collector.Flow) (own address, ok bool) {
	const most = 16 // VIPs looked at
	b := st.spaces.accounts[a].budget
	list, class := b.VIPs, b.ClassOf(f.Source.Port())
	if len(list) == 0 {
		list = st.vips.addrs[1:]
	}
	if len(list) > most {
		return address{}, false
	}
	for _, v := range list {
		vip := pack(v)
		k := st.spaces.keyOf(a, vip, pack(f.Destination.Addr()), f.Destination.Port(), f.Zone, class)
		if _, there := st.spaces.byKey[k]; !there {
			continue
		}
		if ok {
			return address{}, false
		}
		own, ok = vip, true
	}
	return own, ok
}

// clear sets the stalls of all port spaces and accounts to 0.
func (st *stalls) clear() {
	for _, n := range st.counted {
		st.spaces.list[n].stalled = 0
	}
	st.counted = st.counted[:0]
	for _, a := range st.spaces.accounts {
		a.stalled = 0
	}
}

// watched reports whether sockets were observed lately.
func (st *stalls) watched(now collector.Time) bool {
	return st.at != 0 && now.Sub(st.at) < stallsHold
}
