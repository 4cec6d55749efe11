package ledger

import (
	"net/netip"
	"slices"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// question is all that decides which budget and port space a flow counts under.
type question struct {
	destination address
	own         address // where a budget takes flows of certain VIPs alone, or has a port space for each
	netns       uint64
	protocol    collector.Protocol
	translated  bool
	// span is where the flow's own port lies among the bounds of the budgets' ranges.
	span uint16
	to   uint16 // the destination's port
}

// is reports whether both are the same.
func (q *question) is(p *question) bool {
	return q.destination.lo == p.destination.lo && q.own.lo == p.own.lo &&
		q.destination.hi == p.destination.hi && q.own.hi == p.own.hi && q.netns == p.netns &&
		q.protocol == p.protocol && q.translated == p.translated && q.span == p.span && q.to == p.to
}

// match remembers an answer, in a line of the processor's cache. account is one more than the number of
// the account, noAccount where no budget takes the flow. space is the port space that was found
// last, 0 where none was; it may be another's by now.
type match struct {
	question
	account, space uint32
	_              uint64
}

const (
	// matchBits is how many pairs of answers are remembered: 2^12, 512 KB where as many are asked for.
	matchBits = 12
	noAccount = 1<<32 - 1
)

// matcher finds the budget that a flow counts under, and remembers what it found.
type matcher struct {
	secret   [2]uint64 // as in Config.Key
	budgets  []*budget.Budget
	accounts []*account // two for each budget: TCP, UDP
	local    bool       // ports are those of Source
	byOwn    bool       // a budget takes flows of certain VIPs alone, or has a port space for each

	portBounds []uint32
	matches    [][2]match
}

// install puts budgets and their accounts in place.
func (m *matcher) install(budgets []*budget.Budget, accounts []*account) {
	*m = matcher{
		secret: m.secret, budgets: budgets, accounts: accounts,
		portBounds: boundsOf(budgets), matches: make([][2]match, 1<<matchBits),
	}
	for _, b := range budgets {
		m.local = m.local || b.Local
		m.byOwn = m.byOwn || len(b.VIPs) > 0 || b.SpacePerAddress()
	}
}

// matchesOf gives the two places where the answer to q may be.
func (m *matcher) matchesOf(q *question) *[2]match {
	h := q.destination.lo ^ q.destination.hi ^ q.own.lo<<1 ^ uint64(q.protocol) ^ uint64(q.span)<<8 ^ uint64(q.to)<<40
	return &m.matches[h*0x9e3779b97f4a7c15>>(64-matchBits)] // any number would do
}

// match puts into k the account under which flow f counts, and its port space if that is known.
func (m *matcher) match(f *collector.Flow, k *look) {
	pair := m.matchesOf(&k.question)
	known := &pair[0]
	if !known.is(&k.question) {
		known = &pair[1]
	}
	if !known.is(&k.question) {
		pair[1], known = pair[0], &pair[0]
		*known = match{question: k.question, account: noAccount}
		if a, found := m.ask(f.Destination.Addr(), f.VIP.Addr(), k.port, &k.question); found {
			known.account = a + 1
		}
	}
	k.account, k.space, k.counted = known.account-1, known.space, known.account != noAccount
}

// remember notes that the flows of q are counted in port space n.
func (m *matcher) remember(q *question, n uint32) {
	pair := m.matchesOf(q)
	for i := range pair {
		if m := &pair[i]; m.is(q) {
			m.space = n
		}
	}
}

// spanOf returns the number of bounds at or below port: ports between the same two are in
// the same ranges. Few budgets have a range, so this looks at each bound.
func (m *matcher) spanOf(port uint16) (n uint16) {
	for _, b := range m.portBounds {
		if uint32(port) >= b {
			n++
		}
	}
	return n
}

// boundsOf lists where the ranges of budgets begin and where they are over.
func boundsOf(budgets []*budget.Budget) (bounds []uint32) {
	for _, b := range budgets {
		if b.PortRange != (collector.PortRange{}) {
			bounds = append(bounds, uint32(b.PortRange.First), uint32(b.PortRange.Last)+1)
		}
	}
	slices.Sort(bounds)
	return slices.Compact(bounds)
}

// ask goes through the budgets. Port 0 is not known and in every range.
func (m *matcher) ask(destination, vip netip.Addr, port uint16, q *question) (account uint32, ok bool) {
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

// look is what an event's flow is found by. It depends on the event and the budgets alone,
// but for space and entry, which may be out of date.
type look struct {
	question
	key     flowKey
	home    address // where the flow's port is: its VIP, of Local budgets its source
	port    uint16  // that it holds
	asked   bool    // the event is about a flow that may hold a port
	counted bool    // a budget takes the flow
	account uint32
	space   uint32 // that it was counted in last; 0 if none is remembered
	entry   uint32 // that is likely the flow's; 0 if none is
}

// ask sets what e is looked up by.
func (k *look) ask(m *matcher, e *collector.Event) {
	*k = look{}
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
	k.home, k.port, k.asked = pack(home.Addr()), home.Port(), true
	k.destination, k.netns, k.protocol, k.translated = pack(f.Destination.Addr()), f.Netns, f.Protocol, f.Translated
	k.span, k.to = m.spanOf(k.port), f.Destination.Port()
	if m.byOwn {
		k.own = k.home
	}
}

// recognize finds the account that f is counted in and the key of its entry.
func (k *look) recognize(m *matcher, f *collector.Flow) {
	if !k.asked {
		return
	}
	if m.match(f, k); k.counted {
		k.key = keyOf(m.secret, f, k.home, k.destination, k.port)
	}
}

// look finds what of e does not depend on the events before it.
func (m *matcher) look(e *collector.Event, k *look) {
	k.ask(m, e)
	k.recognize(m, &e.Flow)
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
	hints   [vipHints]uint16 // what numbers said last
}

const vipHints = 64

func newVIPs() vips { return vips{addrs: make([]netip.Addr, 1), numbers: map[netip.Addr]uint16{}} }

// number gives VIP a, which packs to p, a number. VIPs beyond 65 535 share 0, which no port is shared under.
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
