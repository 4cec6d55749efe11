package ledger

import (
	"net/netip"
	"slices"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// matchKey is all that decides under which budget and in which port space a flow counts.
type matchKey struct {
	destination address
	own         address // of the flow's port, if a budget takes certain VIPs only or has a port space for each
	netns       uint64
	protocol    collector.Protocol
	translated  bool
	// span is the number of bounds of port ranges at or below the flow's own port.
	span uint16
	to   uint16 // the destination's port
}

// is reports whether both are the same.
func (q *matchKey) is(p *matchKey) bool {
	return q.destination.lo == p.destination.lo && q.own.lo == p.own.lo &&
		q.destination.hi == p.destination.hi && q.own.hi == p.own.hi && q.netns == p.netns &&
		q.protocol == p.protocol && q.translated == p.translated && q.span == p.span && q.to == p.to
}

// match remembers one answer in 64 bytes, a line of the processor's cache. account is the number of the account
// plus one, or noAccount if no budget takes the flow. space is the port space that counted such a flow last, 0 if
// none did; its number may belong to another port space by now.
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
	secret   [2]uint64 // as in Config.Key
	budgets  []*budget.Budget
	accounts []*account // two for each budget: TCP, UDP
	local    bool       // ports are those of Source
	byOwn    bool       // a budget takes flows of certain addresses alone, or has a port space for each

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

// replacedMax bounds replaced: a ledger that is reconfigured more often between two dumps does not know of flows that
// the dump shows whether they are new.
const replacedMax = 8

// install puts budgets and their accounts in place.
func (m *matcher) install(budgets []*budget.Budget, accounts []*account) {
	*m = matcher{
		secret: m.secret, budgets: budgets, accounts: accounts,
		portBounds: boundsOf(budgets), matches: make([][2]match, 1<<matchBits), replaced: m.replaced,
	}
	for _, b := range budgets {
		m.local = m.local || b.Local
		m.byOwn = m.byOwn || len(b.VIPs) > 0 || len(b.Own) > 0 || b.SpacePerAddress()
	}
}

// matchesOf returns the two places where the answer to q may be.
func (m *matcher) matchesOf(q *matchKey) *[2]match {
	h := q.destination.lo ^ q.destination.hi ^ q.own.lo<<1 ^ uint64(q.protocol) ^ uint64(q.span)<<8 ^ uint64(q.to)<<40
	return &m.matches[h*0x9e3779b97f4a7c15>>(64-matchBits)] // any number would do
}

// match puts into k the account under which flow f counts, and its port space if that is known.
func (m *matcher) match(f *collector.Flow, k *lookup) {
	pair := m.matchesOf(&k.matchKey)
	known := &pair[0]
	if !known.is(&k.matchKey) {
		known = &pair[1]
	}
	if !known.is(&k.matchKey) {
		pair[1], known = pair[0], &pair[0]
		*known = match{matchKey: k.matchKey, account: noAccount}
		if a, found := m.find(f.Destination.Addr(), f.VIP.Addr(), k.port, &k.matchKey); found {
			known.account = a + 1
		}
	}
	k.account, k.space, k.counted = known.account-1, known.space, known.account != noAccount
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

// spanOf returns the number of bounds at or below port: ports with the same number are in the same ranges. Few
// budgets have a range, so it compares with each bound.
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

// tookSince reports whether all budgets that were in place since the moment from took flow f, which k was found for: a
// dump of then would have brought it in.
func (m *matcher) tookSince(from collector.Time, f *collector.Flow, k *lookup) bool {
	for _, r := range m.replaced {
		if r.until > from && !slices.ContainsFunc(r.budgets, func(b *budget.Budget) bool {
			return b.Terms(k.protocol).Ports > 0 && b.Takes(f.Destination.Addr(), f.VIP.Addr(), k.port, k.netns, k.translated)
		}) {
			return false
		}
	}
	return true
}

// lookup is what finds the flow of an event. It depends on the event and the budgets alone; only space and entry
// may be out of date.
type lookup struct {
	matchKey
	key     flowKey
	home    address // of the flow's port: the VIP, or the source under Local budgets
	port    uint16  // that the flow holds
	counted bool    // a budget takes the flow
	account uint32
	space   uint32 // port space that counted the flow last; 0 if unknown
	entry   uint32 // of the flow, most likely; 0 if there is none
}

// lookup fills k for event e, without a look at any flow. k stays zero for an event of no TCP or UDP flow.
func (m *matcher) lookup(e *collector.Event, k *lookup) {
	*k = lookup{}
	switch e.Kind {
	case collector.Seen, collector.Opened, collector.Closed:
	default:
		return
	}
	f := &e.Flow
	if f.Protocol != collector.TCP && f.Protocol != collector.UDP {
		return
	}
	home := m.own(f)
	k.home, k.port = pack(home.Addr()), home.Port()
	k.destination, k.netns, k.protocol, k.translated = pack(f.Destination.Addr()), f.Netns, f.Protocol, f.Translated
	k.span, k.to = m.spanOf(k.port), f.Destination.Port()
	if m.byOwn {
		k.own = k.home
	}
	if m.match(f, k); k.counted {
		k.key = keyOf(m.secret, f, k.home, k.destination, k.port)
	}
}

// own returns the address and port that the budget of f counts.
func (m *matcher) own(f *collector.Flow) netip.AddrPort {
	if m.local {
		return f.Source
	}
	return f.VIP
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
