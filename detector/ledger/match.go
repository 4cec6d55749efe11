package ledger

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// matchKey is all that the budget and the port space of a flow depend on.
type matchKey struct {
	to         address // of the destination
	own        address // of the flow's port, if a budget takes certain VIPs only or has a port space for each
	netns      uint64
	protocol   collector.Protocol
	translated bool
	// span is the number of bounds of port ranges at or below the flow's own port.
	span   uint16
	toPort uint16 // the destination's
}

// is reports whether both are the same.
func (q *matchKey) is(p *matchKey) bool {
	return q.to.lo == p.to.lo && q.own.lo == p.own.lo && q.to.hi == p.to.hi && q.own.hi == p.own.hi &&
		q.netns == p.netns && q.protocol == p.protocol && q.translated == p.translated && q.span == p.span &&
		q.toPort == p.toPort
}

// match is one remembered answer, 64 bytes: a line of the processor's cache. account is the number of the account plus
// one, or noAccount if no budget takes the flow. space is the number of the port space that counted such a flow last, 0
// if none did; the number may belong to another port space by now.
type match struct {
	matchKey
	account, space uint32
	_              uint64
}

const (
	// matchBits: 2^12 pairs of answers are remembered, 512 KB.
	matchBits = 12
	noAccount = 1<<32 - 1
)

// matcher finds the budget that a flow counts under, and remembers what it found.
type matcher struct {
	keyer
	budgets  []*budget.Budget
	accounts []*account // two for each budget: TCP, UDP
	byOwn    bool       // a budget takes flows of certain addresses alone, or has a port space for each
	// translates: the budgets are of this machine's NAT, or there are none.
	translates bool
	// since is the moment just after these budgets replaced others; 0 if they are the first.
	since collector.Time

	portBounds []uint32
	matches    [][2]match
	// replaced are the budgets that others have replaced since some namespace's last complete dump, oldest first.
	replaced []replaced
}

// replaced are budgets that were in place until a moment.
type replaced struct {
	until   collector.Time
	budgets []*budget.Budget
}

// replacedMax bounds replaced. If a ledger is reconfigured more often between two dumps, it cannot tell which of the
// flows that the second dump shows are new.
const replacedMax = 8

// install puts budgets and their accounts in place.
func (m *matcher) install(budgets []*budget.Budget, accounts []*account) {
	*m = matcher{
		keyer: keyer{secret: m.secret}, budgets: budgets, accounts: accounts,
		portBounds: boundsOf(budgets), matches: make([][2]match, 1<<matchBits), replaced: m.replaced,
	}
	m.translates = len(budgets) == 0
	for _, b := range budgets {
		m.translates = m.translates || b.Translated
		m.local = m.local || b.Local
		m.byOwn = m.byOwn || len(b.VIPs) > 0 || len(b.Own) > 0 || b.SpacePerAddress()
	}
}

// matchesOf returns the two places where the answer to q may be.
func (m *matcher) matchesOf(q *matchKey) *[2]match {
	h := q.to.lo ^ q.to.hi ^ q.own.lo<<1 ^ uint64(q.protocol) ^ uint64(q.span)<<8 ^ uint64(q.toPort)<<40
	return &m.matches[h*0x9e3779b97f4a7c15>>(64-matchBits)] // any number would do
}

// sighting is an event about a flow with what was found for it.
type sighting struct {
	*lookup
	event *collector.Event
	netns *netns
	entry uint32 // number of the flow's entry, 0 if the ledger does not know the flow
	flow  *flow  // the entry, nil if there is none
	// account is the number of the account that counts the flow. space is the number of the port space that counted it, or
	// another flow of the same matchKey, last; it is 0 if unknown, and may belong to another port space by now.
	account, space uint32
	matched        bool // account and space are the answer of match for matchKey, not the entry's own
	matchKey
	known   bool // the ledger had the flow as live before the event
	counted bool // the agent before this one counted the flow's open
}

// match puts into s the account under which its flow counts, and its port space if that is known. It returns false if
// no budget takes the flow.
func (m *matcher) match(s *sighting) bool {
	f := &s.event.Flow
	s.matchKey = matchKey{
		to: s.destination, netns: f.Netns, protocol: f.Protocol, translated: f.Translated,
		span: m.spanOf(s.port), toPort: f.Destination.Port(),
	}
	if m.byOwn {
		s.own = s.home
	}
	pair := m.matchesOf(&s.matchKey)
	known := &pair[0]
	if !known.is(&s.matchKey) {
		known = &pair[1]
	}
	if !known.is(&s.matchKey) {
		pair[1], known = pair[0], &pair[0]
		*known = match{matchKey: s.matchKey, account: noAccount}
		if a, found := m.find(f.Destination.Addr(), f.VIP.Addr(), s.port, &s.matchKey); found {
			known.account = a + 1
		}
	}
	if known.account == noAccount {
		return false
	}
	s.account, s.space, s.matched = known.account-1, known.space, true
	return true
}

// remember notes that port space n counts the flows of q.
func (m *matcher) remember(q *matchKey, n uint32) {
	pair := m.matchesOf(q)
	for i := range pair {
		if m := &pair[i]; m.is(q) {
			m.space = n
		}
	}
}

// spanOf returns how many bounds of port ranges lie at or below port. Ports with the same number lie in the same
// ranges. Few budgets have a range, so spanOf compares with each bound.
func (m *matcher) spanOf(port uint16) (n uint16) {
	for _, b := range m.portBounds {
		if uint32(port) >= b {
			n++
		}
	}
	return n
}

// boundsOf returns the first port of each range, and the port after its last, in order.
func boundsOf(budgets []*budget.Budget) (bounds []uint32) {
	for _, b := range budgets {
		if b.PortRange != (collector.PortRange{}) {
			bounds = append(bounds, uint32(b.PortRange.First), uint32(b.PortRange.Last)+1)
		}
	}
	slices.Sort(bounds)
	return slices.Compact(bounds)
}

// find returns the account of the first budget that takes a flow. Port 0 is unknown and in every range.
func (m *matcher) find(destination, vip netip.Addr, port uint16, q *matchKey) (account uint32, ok bool) {
	for i, b := range m.budgets {
		a := uint32(2 * i)
		if q.protocol == collector.UDP {
			a++
		}
		if m.accounts[a].terms.Ports > 0 && b.Takes(destination, vip, port, q.netns, q.translated) {
			return a, true
		}
	}
	return 0, false
}

// tookSince reports whether all budgets that were in place since the moment from took the flow of s, so that a dump
// which began then would have made it known.
func (m *matcher) tookSince(from collector.Time, s *sighting) bool {
	f := &s.event.Flow
	for _, r := range m.replaced {
		if r.until > from && !slices.ContainsFunc(r.budgets, func(b *budget.Budget) bool {
			return b.Terms(f.Protocol).Ports > 0 && b.Takes(f.Destination.Addr(), f.VIP.Addr(), s.port, f.Netns, f.Translated)
		}) {
			return false
		}
	}
	return true
}

// untaken are the flows of one namespace that this machine translates and that no budget takes: those of a rule or an
// address that is new, until the budgets follow. A budget that takes them counts them from when they opened. The zero
// value is ready.
type untaken struct {
	flows map[uint64]untakenFlow // by the high half of their key
	// whole: flows has all that the last complete dump showed. more: the dump in progress shows more than untakenMax.
	whole, more bool
}

type untakenFlow struct {
	id     uint32 // CTA_ID
	dump   uint16 // the number of the last dump that showed it
	opened collector.Interval
}

const (
	// untakenMax bounds the flows that are remembered, at some 60 bytes each.
	untakenMax = 1 << 14
	// untakenFor is for how long a flow may stay untaken and still count as opened: a budget that comes later is a new
	// one, not one that has followed.
	untakenFor = time.Minute
)

// knows reports whether the flow of s is known, and notes that it is still there.
func (u *untaken) knows(s *sighting) bool {
	f, known := u.flows[s.key.hi]
	if !known || f.id != s.event.Flow.ID {
		return false
	}
	f.dump = s.netns.dump
	u.flows[s.key.hi] = f
	return true
}

// add remembers a flow by the high half of its key.
func (u *untaken) add(key uint64, f untakenFlow) {
	if len(u.flows) >= untakenMax {
		u.more = true
		return
	}
	if u.flows == nil {
		u.flows = map[uint64]untakenFlow{}
	}
	u.flows[key] = f
}

// take forgets the flow of s, which a budget takes now, and bounds when it opened, for long untaken flows from above
// alone; known is false if the flow is not known.
func (u *untaken) take(s *sighting, now collector.Time) (opened collector.Interval, known bool) {
	f, known := u.flows[s.key.hi]
	if !known || f.id != s.event.Flow.ID {
		return collector.Interval{}, false
	}
	delete(u.flows, s.key.hi)
	if now.Sub(f.opened.To) > untakenFor {
		f.opened.From = 0
	}
	return f.opened, true
}

// endDump forgets the flows that the complete dump of that number did not show. all says that flows of this machine's
// NAT were looked for.
func (u *untaken) endDump(dump uint16, all bool) {
	maps.DeleteFunc(u.flows, func(_ uint64, f untakenFlow) bool { return f.dump != dump })
	u.whole, u.more = all && !u.more, false
}

// vips gives VIPs numbers, so that a flow keeps its own in two bytes.
type vips struct {
	addrs   []netip.Addr // of translated flows, by number; 0 is not used
	numbers map[netip.Addr]uint16
	hints   [vipHints]uint16 // latest answers of numbers
}

const vipHints = 64

func newVIPs() vips { return vips{addrs: make([]netip.Addr, 1), numbers: map[netip.Addr]uint16{}} }

// number returns the number of VIP a, which packs to p. VIPs beyond 65 535 get 0.
func (v *vips) number(a netip.Addr, p address) uint16 {
	hint := &v.hints[(p.lo^p.lo>>32^p.hi)%vipHints]
	if v.addrs[*hint] == a {
		return *hint
	}
	if n, ok := v.numbers[a]; ok {
		*hint = n
		return n
	}
	if len(v.addrs) > 1<<16-1 {
		return 0
	}
	n := uint16(len(v.addrs))
	v.addrs = append(v.addrs, a)
	v.numbers[a] = n
	return n
}
