package detector

import (
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
)

// owner is one budget with what its two protocols share.
type owner struct {
	tracked int
	// oldest and newest end the list of its empty port spaces, linked by next.
	oldest, newest uint32
}

// question is all that decides which budget a flow counts under.
type question struct {
	destination, own address
	netns            uint64
	protocol         collector.Protocol
	translated       bool
}

// match remembers an answer. account is one more than the number of the account;
// 0 in an entry never used, and noAccount where no budget takes the flow.
type match struct {
	question
	account uint32
}

const (
	matchCache = 1024
	noAccount  = 1<<32 - 1
)

// match finds the account that f is counted in.
func (l *Ledger) match(f *collector.Flow, own, destination address) (account uint32, ok bool) {
	q := question{destination, own, f.Netns, f.Protocol, f.Translated}
	h := (destination.lo ^ destination.hi ^ own.lo ^ uint64(f.Protocol)) * 0x9e3779b97f4a7c15
	m := &l.matches[h>>54]
	if m.account == 0 || m.question != q {
		m.question = q
		m.account = noAccount
		if a, found := l.ask(f.Destination.Addr(), f.VIP.Addr(), &q); found {
			m.account = a + 1
		}
	}
	return m.account - 1, m.account != noAccount
}

// ask goes through the budgets.
func (l *Ledger) ask(destination, vip netip.Addr, q *question) (account uint32, ok bool) {
	for i, b := range l.cfg.Budgets {
		a := uint32(2 * i)
		if q.protocol == collector.UDP {
			a++
		}
		if l.accounts[a].terms.Ports > 0 && b.takes(destination, vip, q.netns, q.translated) {
			return a, true
		}
	}
	return 0, false
}

// takes reports whether a flow counts under b, its protocol apart.
func (b *Budget) takes(destination, vip netip.Addr, netns uint64, translated bool) bool {
	if b.Netns != 0 && b.Netns != netns {
		return false
	}
	if b.Translated && (!translated || len(b.VIPs) > 0 && !hasAddr(b.VIPs, vip)) {
		return false
	}
	return b.reaches(destination)
}

// reaches reports whether b counts flows to destination, which is not valid for a
// socket that is bound and not connected: it can go anywhere.
func (b *Budget) reaches(destination netip.Addr) bool {
	if !destination.IsValid() || destination.IsUnspecified() {
		return b.Local
	}
	return (len(b.Include) == 0 || contains(b.Include, destination)) && !contains(b.Exclude, destination)
}

func hasAddr(list []netip.Addr, a netip.Addr) bool {
	for _, v := range list {
		if v == a {
			return true
		}
	}
	return false
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// vipNumber gives a VIP a number. VIPs beyond 65 535 share 0, which no port is shared under.
func (l *Ledger) vipNumber(a netip.Addr) uint16 {
	if n, ok := l.vipNumbers[a]; ok {
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
