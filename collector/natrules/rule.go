package natrules

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/snatwatch/snatwatch/collector"
)

// Pool is ports of one VIP.
type Pool struct {
	VIP   netip.Addr
	Ports collector.PortRange
}

// Rule is a rule that changes the source of flows which leave this machine.
type Rule struct {
	// Table, Chain and Handle say where it stands. Of a Legacy rule Handle is its number in the chain, from 1.
	Table, Chain string
	Handle       uint64
	Legacy       bool
	// Masquerade: the VIP is the address of the interface that a flow leaves by.
	Masquerade bool
	// VIPs that it translates to, in order; none where the rule does not say, as with
	// masquerade on any interface.
	VIPs []netip.Addr
	// Ports it picks from; zero is the kernel's default, 1024-65535 for a
	// source port of 1024 and above.
	Ports collector.PortRange
	// Pools is set where a failed pick is retried in other ports too: each VIP with its ports. VIPs then
	// lists their addresses, and Ports goes from the first of all ports to the last.
	Pools []Pool
	// SpacePerVIP: the VIP is fixed by the flow, so a failed pick is not retried on
	// another.
	SpacePerVIP bool
	// TCP and UDP: the rule applies to the protocol, and no rule before it takes all its flows.
	TCP, UDP bool
	// AbsentSince is when the rule was seen last, if it is gone; see Reader. 0 is a rule that is there.
	AbsentSince collector.Time
}

// String names the rule for a person.
func (r Rule) String() string {
	var b strings.Builder
	if b.WriteString("snat"); r.Masquerade {
		b.Reset()
		b.WriteString("masquerade")
	}
	for i, v := range r.VIPs {
		if i == 3 {
			fmt.Fprintf(&b, " … (%d VIPs)", len(r.VIPs))
			break
		}
		fmt.Fprintf(&b, " %v", v)
	}
	if r.Ports != (collector.PortRange{}) {
		fmt.Fprintf(&b, " ports %d-%d", r.Ports.First, r.Ports.Last)
	}
	fmt.Fprintf(&b, " (%s)", place(r.Table, r.Chain, r.Handle, r.Legacy))
	return b.String()
}

// place says where a rule stands.
func place(table, chain string, handle uint64, legacy bool) string {
	if legacy {
		return fmt.Sprintf("table %s of iptables-legacy, chain %s, rule %d", table, chain, handle)
	}
	return fmt.Sprintf("table %s, chain %s, handle %d", table, chain, handle)
}

// Same reports whether two rules give out the same ports of the same VIPs, to whichever
// protocol.
func (r Rule) Same(s Rule) bool {
	return slices.Equal(r.VIPs, s.VIPs) && r.Ports == s.Ports && r.SpacePerVIP == s.SpacePerVIP &&
		slices.Equal(r.Pools, s.Pools)
}

// Fixed reports whether the rule gives out a single port of each VIP: such ports are no stock, for a flow that
// does not get its port gets none at all.
func (r Rule) Fixed() bool {
	return len(r.Pools) == 0 && r.Ports.First != 0 && r.Ports.First == r.Ports.Last
}

// Ruleset is what the NAT rules of one namespace do to sources.
type Ruleset struct {
	// Read says that the rules were read, whether or not there are any.
	Read bool
	// Rules are in the order in which the kernel runs them. A rule that is reached in several ways is there
	// once for each distinct outcome.
	Rules []Rule
	// Translating counts the rules of the kernel that Rules are made of.
	Translating int
	// Unknown counts rules that change sources in a way that is not understood here;
	// Problems says which and why.
	Unknown  int
	Problems []string
	// Shadowed counts rules that would change sources, if rules before them left them any flow.
	Shadowed int
	// Remarks say what rules do that has no ports to run out of: prefixes translated one to one, masquerade on an
	// interface that has no address, an empty map. Bounded like Problems.
	Remarks []string
	// LegacyUnread: whether iptables-legacy has rules is not known; Remarks say why.
	LegacyUnread bool
	// Addresses are the addresses of this machine that a flow can have as its source when it leaves. The machine's own
	// flows hold ports of these addresses.
	Addresses []netip.Addr
	// bare: masquerade is on interfaces of which none has an address, so that it matters which interfaces there are.
	bare bool
	// Private: every address that flows may get from Rules is private, so that another NAT must follow.
	Private bool
}

// maxProblems bounds how many problems are listed one by one.
const maxProblems = 20

func (s *Ruleset) problem(where string, err error) {
	if s.Unknown++; len(s.Problems) < maxProblems {
		s.Problems = append(s.Problems, fmt.Sprintf("%s: %v", where, err))
	}
}

func (s *Ruleset) remark(text string) {
	if len(s.Remarks) < maxProblems && !slices.Contains(s.Remarks, text) {
		s.Remarks = append(s.Remarks, text)
	}
}

// ErrChanging tells of rules that changed each time while they were read.
var ErrChanging = errors.New("the rules changed each time while they were read")

// maxReads is how often rules that change while they are read are read again.
const maxReads = 20

// spread makes one rule of several among which each packet of a flow draws anew: a failed pick is retried
// in the ports of all.
func spread(rules []Rule) Rule {
	r := rules[0]
	alike := true
	for _, o := range rules[1:] {
		alike = alike && o.Ports == r.Ports
		r.Masquerade = r.Masquerade && o.Masquerade
		r.TCP, r.UDP = r.TCP || o.TCP, r.UDP || o.UDP
		r.VIPs = union(r.VIPs, o.VIPs)
	}
	if alike {
		return r
	}
	r.Pools, r.Ports = nil, collector.PortRange{First: 65535, Last: 0}
	for _, o := range rules {
		ports := o.Ports
		if ports == (collector.PortRange{}) {
			ports = defaultPorts()
		}
		r.Ports.First, r.Ports.Last = min(r.Ports.First, ports.First), max(r.Ports.Last, ports.Last)
		for _, v := range o.VIPs {
			r.Pools = append(r.Pools, Pool{v, ports})
		}
	}
	slices.SortFunc(r.Pools, func(a, b Pool) int {
		return cmp.Or(a.VIP.Compare(b.VIP),
			cmp.Compare(a.Ports.First, b.Ports.First), cmp.Compare(a.Ports.Last, b.Ports.Last))
	})
	r.Pools = slices.Compact(r.Pools)
	return r
}

// defaultPorts are the kernel's for a source port of 1024 and above.
func defaultPorts() collector.PortRange { return collector.PortRange{First: 1024, Last: 65535} }

// union sorts the addresses of both lists, each once.
func union(a, b []netip.Addr) []netip.Addr {
	all := slices.Concat(a, b)
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// maxVIPs bounds what an address range of a rule may name: a /20.
const maxVIPs = 4096

// addresses lists a range, ends included.
func addresses(first, last netip.Addr) ([]netip.Addr, error) {
	var as []netip.Addr
	for a := first; a.IsValid() && a.Compare(last) <= 0; a = a.Next() {
		if len(as) == maxVIPs {
			return nil, fmt.Errorf("%v-%v is more than %d addresses", first, last, maxVIPs)
		}
		as = append(as, a)
	}
	if len(as) == 0 {
		return nil, fmt.Errorf("addresses %v-%v upside down", first, last)
	}
	return as, nil
}
