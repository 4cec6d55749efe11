package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/natrules"
)

// maxAutoBudgets is how many budgets one entry makes of rules. Each has about 140 series: 2,048 of them made a
// scrape of 27.8 MB that took 8.9 s.
const maxAutoBudgets = 128

// grouping is what budgets are made of: groups, and where there are more than maxAutoBudgets, other for the rest.
type grouping struct {
	of     []natrules.Rule // what was grouped
	groups []natrules.Rule
	other  natrules.Rule
	folded int // groups that are in other
}

// groupRules makes one rule of all that give out the same ports. Masquerade is one for each range, whichever
// interfaces it is on. What is narrow comes first: flows count under the first budget that takes them. Groups beyond
// maxAutoBudgets, those with the most ports, are folded.
func groupRules(rules []natrules.Rule) grouping {
	var groups []natrules.Rule
	at := map[string]int{}
	for i := range rules {
		rule := rules[i]
		if rule.Fixed() {
			continue
		}
		key := groupKey(&rule)
		if i, ok := at[key]; ok {
			groups[i] = joined(groups[i], rule)
			continue
		}
		at[key] = len(groups)
		groups = append(groups, rule)
	}
	groups = splitFamilies(groups)
	for i := range groups {
		if g := &groups[i]; g.Masquerade && len(g.VIPs) > 0 {
			g.VIPs = slices.DeleteFunc(slices.Clone(g.VIPs), func(v netip.Addr) bool { return givenBySNAT(groups, g, v) })
			g.SpacePerVIP = len(g.VIPs) > 1
			if len(g.VIPs) == 0 {
				g.TCP, g.UDP = false, false
			}
		}
	}
	groups = slices.DeleteFunc(groups, func(g natrules.Rule) bool { return !g.TCP && !g.UDP })
	slices.SortStableFunc(groups, func(a, b natrules.Rule) int {
		anywhere := func(r natrules.Rule) int { return min(1, len(r.VIPs)) }
		return cmp.Or(-cmp.Compare(anywhere(a), anywhere(b)),
			cmp.Compare(portsOf(a), portsOf(b)), cmp.Compare(len(a.VIPs), len(b.VIPs)))
	})
	if len(groups) <= maxAutoBudgets {
		return grouping{of: rules, groups: groups}
	}
	kept := maxAutoBudgets - 1
	return grouping{
		of: rules, groups: slices.Clone(groups[:kept]),
		other: foldedRule(groups[kept:]), folded: len(groups) - kept,
	}
}

// groupKey is the same for rules that share a budget. It is asked of each rule at each look.
func groupKey(r *natrules.Rule) string {
	b := make([]byte, 0, 64)
	number := func(ports collector.PortRange) {
		b = strconv.AppendUint(append(b, ' '), uint64(ports.First)<<16|uint64(ports.Last), 16)
	}
	if number(r.Ports); r.Masquerade {
		return "masquerade" + string(b)
	}
	b = strconv.AppendBool(append(b, ' '), r.SpacePerVIP)
	for _, v := range r.VIPs {
		b = v.AppendTo(append(b, ' '))
	}
	for _, p := range r.Pools {
		b = p.VIP.AppendTo(append(b, ' '))
		number(p.Ports)
	}
	return string(b)
}

// joined is what two rules of a group do together.
func joined(a, b natrules.Rule) natrules.Rule {
	a.TCP, a.UDP = a.TCP || b.TCP, a.UDP || b.UDP
	a.AbsentSince = min(a.AbsentSince, b.AbsentSince)
	if !a.Masquerade {
		return a
	}
	if len(a.VIPs) == 0 || len(b.VIPs) == 0 {
		a.VIPs, a.SpacePerVIP = nil, true
		return a
	}
	a.VIPs = slices.Clone(a.VIPs)
	for _, v := range b.VIPs {
		if !slices.Contains(a.VIPs, v) {
			a.VIPs = append(a.VIPs, v)
		}
	}
	a.SpacePerVIP = len(a.VIPs) > 1
	return a
}

// splitFamilies makes two of a rule that has VIPs of both families: a budget has VIPs of one.
func splitFamilies(rules []natrules.Rule) (split []natrules.Rule) {
	for _, r := range rules {
		six := slices.DeleteFunc(slices.Clone(r.VIPs), netip.Addr.Is4)
		if len(six) == 0 || len(six) == len(r.VIPs) {
			split = append(split, r)
			continue
		}
		r4, r6 := r, r
		r4.VIPs, r6.VIPs = slices.DeleteFunc(slices.Clone(r.VIPs), netip.Addr.Is6), six
		r4.SpacePerVIP, r6.SpacePerVIP = len(r4.VIPs) > 1, len(r6.VIPs) > 1
		split = append(split, r4, r6)
	}
	return split
}

// givenBySNAT reports whether a rule of a VIP of its own gives out the ports that masquerade rule m gives of it.
func givenBySNAT(groups []natrules.Rule, m *natrules.Rule, v netip.Addr) bool {
	return slices.ContainsFunc(groups, func(g natrules.Rule) bool {
		return !g.Masquerade && len(g.VIPs) == 1 && g.VIPs[0] == v && len(g.Pools) == 0 && g.Ports == m.Ports &&
			(g.TCP || !m.TCP) && (g.UDP || !m.UDP)
	})
}

// portsOf counts the ports of one port space.
func portsOf(r natrules.Rule) (n int) {
	for _, p := range r.Pools {
		n += p.Ports.Len()
	}
	switch {
	case n > 0:
		return n
	case r.Ports == collector.PortRange{}:
		return 64512 // 1024-65535
	}
	return r.Ports.Len()
}

// maxFoldedVIPs is how many VIPs the budget of folded rules lists: with more it takes whatever no other takes.
const maxFoldedVIPs = 4096

// foldedRule stands for many rules: it is full only when all of them are. VIPs of one family are kept, those of the
// first rule that has any.
func foldedRule(rules []natrules.Rule) natrules.Rule {
	all := natrules.Rule{Ports: collector.PortRange{First: 65535}}
	for _, r := range rules {
		ports := r.Ports
		if ports == (collector.PortRange{}) {
			ports = collector.PortRange{First: 1024, Last: 65535}
		}
		all.TCP, all.UDP = all.TCP || r.TCP, all.UDP || r.UDP
		all.Ports.First, all.Ports.Last = min(all.Ports.First, ports.First), max(all.Ports.Last, ports.Last)
		for _, v := range r.VIPs {
			if len(all.VIPs) > 0 && v.Is4() != all.VIPs[0].Is4() {
				continue
			}
			all.VIPs = append(all.VIPs, v)
			all.Pools = append(all.Pools, natrules.Pool{VIP: v, Ports: ports})
		}
	}
	slices.SortFunc(all.VIPs, netip.Addr.Compare)
	if all.VIPs = slices.Compact(all.VIPs); len(all.VIPs) > maxFoldedVIPs {
		all.VIPs = nil
	}
	return all
}

func groupName(r natrules.Rule) string {
	var parts []string
	switch n := len(r.VIPs); {
	case r.Masquerade && n > 0 && r.VIPs[0].Is6():
		parts = append(parts, "masquerade-ipv6")
	case r.Masquerade, n == 0:
		parts = append(parts, "masquerade")
	case n == 1:
		parts = append(parts, r.VIPs[0].String())
	default:
		parts = append(parts, fmt.Sprintf("%v..%v", r.VIPs[0], r.VIPs[n-1]))
	}
	if r.Ports != (collector.PortRange{}) {
		parts = append(parts, fmt.Sprintf("%d-%d", r.Ports.First, r.Ports.Last))
	}
	return strings.Join(parts, ":")
}
