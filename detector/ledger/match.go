package ledger

import (
	"net/netip"
	"slices"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// owner is one budget with what its two protocols share.
type owner struct {
	tracked int
	// oldest and newest end the list of its empty port spaces, linked by next.
	oldest, newest uint32
}

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
	vipHints  = 64
)

// matchesOf gives the two places where the answer to q may be.
func (l *Ledger) matchesOf(q *question) *[2]match {
	h := q.destination.lo ^ q.destination.hi ^ q.own.lo<<1 ^ uint64(q.protocol) ^ uint64(q.span)<<8 ^ uint64(q.to)<<40
	return &l.matches[h*0x9e3779b97f4a7c15>>(64-matchBits)] // any number would do
}

// match finds the account that f, which k is of, is counted in, and maybe its port space.
func (l *Ledger) match(f *collector.Flow, k *look) {
	pair := l.matchesOf(&k.question)
	m := &pair[0]
	if !m.is(&k.question) {
		m = &pair[1]
	}
	if !m.is(&k.question) {
		pair[1], m = pair[0], &pair[0]
		*m = match{question: k.question, account: noAccount}
		if a, found := l.ask(f.Destination.Addr(), f.VIP.Addr(), k.port, &k.question); found {
			m.account = a + 1
		}
	}
	k.account, k.space, k.counted = m.account-1, m.space, m.account != noAccount
}

// remember notes that the flows of q are counted in port space n.
func (l *Ledger) remember(q *question, n uint32) {
	pair := l.matchesOf(q)
	for i := range pair {
		if m := &pair[i]; m.is(q) {
			m.space = n
		}
	}
}

// spanOf returns the number of bounds at or below port: ports between the same two are in
// the same ranges. Few budgets have a range, so this looks at each bound.
func (l *Ledger) spanOf(port uint16) (n uint16) {
	for _, b := range l.portBounds {
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
func (l *Ledger) ask(destination, vip netip.Addr, port uint16, q *question) (account uint32, ok bool) {
	for i, b := range l.cfg.Budgets {
		a := uint32(2 * i)
		if q.protocol == collector.UDP {
			a++
		}
		if l.accounts[a].terms.Ports > 0 && b.Takes(destination, vip, port, q.netns, q.translated) {
			return a, true
		}
	}
	return 0, false
}

// vipNumber gives VIP a, which packs to p, a number. VIPs beyond 65 535 share 0, which no port is shared under.
func (l *Ledger) vipNumber(a netip.Addr, p address) uint16 {
	hint := &l.vipHints[(p.lo^p.lo>>32^p.hi)%vipHints]
	if l.vips[*hint] == a {
		return *hint
	}
	if n, ok := l.vipNumbers[a]; ok {
		*hint = n
		return n
	}
	if len(l.vips) > 1<<16-1 {
		return 0
	}
	n := uint16(len(l.vips))
	l.vips = append(l.vips, a)
	l.vipNumbers[a] = n
	return n
}
