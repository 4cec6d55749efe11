package config

import (
	"net/netip"
	"slices"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/collector/natrules"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// Machine is what the machine itself tells. The zero value tells nothing.
type Machine struct {
	// Limits of the namespace in which flows leave.
	Limits collector.Limits
	// Addresses are those that it has there, in order.
	Addresses []netip.Addr
	// EvictsTimeWait: its kernel gives the port of a closed entry to a new flow.
	EvictsTimeWait bool
	// Rules are its NAT rules; RulesUnread says that they could not be read.
	Rules       natrules.Ruleset
	RulesUnread bool
	// NetnsRules are the rules of the namespaces that budgets name; one that is not there could not be read.
	NetnsRules map[string]natrules.Ruleset
	// Readers read NAT rules.
	Readers *Readers
	// Standing are the budgets of before: one that is found again keeps its name.
	Standing []*budget.Budget
	// Cloud is what cloud metadata said last, CloudUnread why they said nothing since.
	Cloud       cloud.Metadata
	CloudUnread error
	// Nodes are pool sizes by the name of their Pool, NodesUnread why one gave none. One with both has a size that was
	// read before. CountNodes asks the API server; nil is nobody to ask.
	Nodes       map[string]int
	NodesUnread map[string]error
	CountNodes  CountNodes
	// Netns are inode numbers by the name or path that the configuration has: see ReadNetns.
	Netns map[string]uint64
	// NetnsLimits are the limits of the namespaces that budgets name, by inode number.
	NetnsLimits map[uint64]collector.Limits
	// Notes say what could not be found out, and why.
	Notes []string
}

// limitsOf returns the limits of the namespace of that inode; the zero Limits if they could not be read.
func (m *Machine) limitsOf(inode uint64) collector.Limits {
	if inode == m.Limits.Netns {
		return m.Limits
	}
	return m.NetnsLimits[inode]
}

// rulesOf returns the rules of the namespace that an entry is for.
func (m *Machine) rulesOf(b *Budget) (s natrules.Ruleset, unread bool) {
	if b.Netns == "" {
		return m.Rules, m.RulesUnread
	}
	s, ok := m.NetnsRules[b.Netns]
	return s, !ok
}

// here returns the machine's addresses among the destinations: conntrack shows a flow to one of them like any other.
func (m *Machine) here(include, exclude []netip.Prefix) (here []netip.Addr) {
	for _, a := range m.Addresses {
		own := netip.PrefixFrom(a, a.BitLen())
		if (len(include) == 0 || budget.Covered(own, include)) && !budget.Covered(own, exclude) {
			here = append(here, a)
		}
	}
	return here
}

// own returns the addresses of this machine that a NAT for entry b translates to: those among vips, all where there are
// none.
func (m *Machine) own(b *Budget, vips []netip.Addr) (own []netip.Addr) {
	rules, _ := m.rulesOf(b)
	for _, a := range rules.Addresses {
		if len(vips) == 0 || slices.Contains(vips, a) {
			own = append(own, a)
		}
	}
	return own
}
