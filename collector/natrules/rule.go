package natrules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/snatwatch/snatwatch/collector"
)

// Rule is a rule that changes the source of flows which leave this machine.
type Rule struct {
	// Table, Chain and Handle say where it stands.
	Table, Chain string
	Handle       uint64
	// Masquerade: the VIP is the address of the interface that a flow leaves by.
	Masquerade bool
	// VIPs that it translates to, in order; none where the rule does not say, as with
	// masquerade on any interface.
	VIPs []netip.Addr
	// Ports it picks from; zero is the kernel's default, 1024-65535 for a
	// source port of 1024 and above.
	Ports collector.PortRange
	// SpacePerVIP: the VIP is fixed by the flow, so a failed pick is not retried on
	// another.
	SpacePerVIP bool
	// TCP and UDP: the rule applies to the protocol.
	TCP, UDP bool
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
	fmt.Fprintf(&b, " (table %s, chain %s, handle %d)", r.Table, r.Chain, r.Handle)
	return b.String()
}

// Same reports whether two rules give out the same ports of the same VIPs, to whichever
// protocol.
func (r Rule) Same(s Rule) bool {
	return slices.Equal(r.VIPs, s.VIPs) && r.Ports == s.Ports && r.SpacePerVIP == s.SpacePerVIP
}

// Ruleset is what the NAT rules of one namespace do to sources.
type Ruleset struct {
	Rules []Rule
	// Unknown counts rules that change sources in a way that is not understood here;
	// Problems says which and why.
	Unknown  int
	Problems []string
}
