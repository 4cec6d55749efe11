package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/natrules"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// maxAutoBudgets is how many budgets one entry makes of rules. Each has about 140 series: 2,048 of them made a
// scrape of 27.8 MB that took 8.9 s.
const maxAutoBudgets = 128

// followsRules reports whether NAT rules tell something of an entry.
func (b *Budget) followsRules() bool { return b.Model == ModelAuto || b.Model == "linux" }

// unreadText says why the rules of a place cannot be read; foreign is that its namespace is not Governed.
func unreadText(err error, place string, foreign bool) string {
	if foreign && errors.Is(err, fs.ErrPermission) {
		return fmt.Sprintf("the NAT rules of %s cannot be read, so their ports and VIPs are not known: %s", place,
			netns.Foreign)
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Sprintf("missing CAP_NET_ADMIN: the NAT rules of %s cannot be read, "+
			"so their ports and VIPs are not known", place)
	}
	return fmt.Sprintf("NAT rules of %s: %v", place, err)
}

// rulesOf returns the rules of the namespace that an entry is for.
func (m *Machine) rulesOf(b *Budget) (s natrules.Ruleset, unread bool) {
	if b.Netns == "" {
		return m.Rules, m.RulesUnread
	}
	s, ok := m.NetnsRules[b.Netns]
	return s, !ok
}

// noteRules says what of the rules has no budget, and why.
func (r *resolution) noteRules(name string, s natrules.Ruleset) {
	for _, problem := range s.Problems {
		r.note("%s: NAT rule not understood: %s: the flows that it translates are in no budget, "+
			"unless one of model linux names its vips and port_range", name, problem)
	}
	if more := s.Unknown - len(s.Problems); more > 0 && len(s.Problems) > 0 {
		r.note("%s: %d more NAT rules are not understood", name, more)
	}
	for _, text := range s.Remarks {
		r.note("%s: %s", name, text)
	}
	for _, rule := range s.Rules {
		if rule.AbsentSince > 0 {
			since := time.Unix(0, int64(rule.AbsentSince)).UTC().Format(time.TimeOnly)
			r.note("%s: rules absent since %s UTC, %v among them: what they gave out counts for a minute more",
				name, since, rule)
			return
		}
	}
}

// noRules says why no budget is made of rules.
func noRules(s natrules.Ruleset, unread bool) string {
	switch {
	case unread:
		return "no NAT rule to be read"
	case s.Unknown > 0:
		return "no NAT rule that is understood"
	case len(s.Rules) > 0:
		return "the NAT rules of this machine give out fixed ports alone, which are no stock,"
	case s.LegacyUnread && s.Translating == 0:
		return "no NAT rule of nftables on this machine"
	case s.Translating > 0 || len(s.Remarks) > 0:
		return "no NAT rule on this machine that has ports to run out of"
	}
	return "no NAT rule on this machine"
}

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

// autoRules makes a budget of each group of rules.
func (r *resolution) autoRules(path string, b *Budget, p budget.Params, g grouping, taken map[string]bool) {
	before := len(r.budgets)
	names := r.names(b.Name, g.groups, taken)
	for i, rule := range g.groups {
		p.Name = names[i]
		r.ofRule(path, b, p, rule, before)
	}
	if g.folded == 0 {
		return
	}
	p.Name = b.Name + "-other"
	r.note("%s: the NAT rules give out %d different ports and VIPs: the %d with the most ports are one budget, %s, "+
		"of all their ports together: a budget of model linux counts one of them by itself",
		b.Name, len(g.groups)+g.folded, g.folded, p.Name)
	r.ofRule(path, b, p, g.other, before)
}

// ofRule adds the budget of a rule, where no budget of the first n counts its flows.
func (r *resolution) ofRule(path string, b *Budget, p budget.Params, g natrules.Rule, n int) {
	model, _ := budget.FindModel("linux")
	p.Model = model.Name
	p.VIPs, p.PortRange, p.SpacePerVIP = g.VIPs, g.Ports, g.SpacePerVIP
	for _, x := range g.Pools {
		p.Pools = append(p.Pools, budget.Pool{VIP: x.VIP, Ports: x.Ports})
	}
	none := 0
	if !g.TCP {
		p.TCP.Ports = &none
	}
	if !g.UDP {
		p.UDP.Ports = &none
	}
	p.Own = r.m.own(b, p.VIPs)
	r.complete(&p, model)
	r.destinations(&p, b, model)
	r.found(path, p, g.String(), n)
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

// names gives each group a name that does not change while others come and go, and that is not taken. One that stands
// keeps its name. The entry's own name is for the only group, or for masquerade in the kernel's range.
func (r *resolution) names(entry string, groups []natrules.Rule, taken map[string]bool) []string {
	names := make([]string, len(groups))
	for i, g := range groups {
		for _, b := range r.m.Standing {
			if ofEntry(b.Name, entry) && !taken[b.Name] && names[i] == "" && stands(b, g) {
				names[i] = b.Name
				taken[b.Name] = true
			}
		}
	}
	for i, g := range groups {
		if names[i] != "" {
			continue
		}
		main := len(groups) == 1 || g.Masquerade && g.Ports == (collector.PortRange{})
		if names[i] = entry; taken[entry] || !main {
			names[i] = entry + "-" + groupName(g)
		}
		for taken[names[i]] {
			names[i] += "+"
		}
		taken[names[i]] = true
	}
	return names
}

// stands reports whether b was made of a rule that gives out what g does.
func stands(b *budget.Budget, g natrules.Rule) bool {
	same := b.Model == "linux" && b.PortRange == g.Ports && len(b.Params.Pools) == len(g.Pools)
	if g.Masquerade { // of whatever addresses: they change
		return same && b.Params.SpacePerVIP == g.SpacePerVIP && slices.Equal(b.VIPs, g.VIPs)
	}
	return same && slices.Equal(b.VIPs, g.VIPs)
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

// contradicted says so where an entry of model linux has ports or VIPs that no rule gives out.
func (r *resolution) contradicted(b *Budget) {
	s, unread := r.m.rulesOf(b)
	if b.Model != "linux" || unread || !s.Read || s.Unknown > 0 {
		return
	}
	want := b.PortRange.PortRange
	if slices.ContainsFunc(s.Rules, func(g natrules.Rule) bool { return gives(g, b.VIPs, want) }) {
		return
	}
	var give []string
	for i, g := range s.Rules {
		if i == 3 {
			give = append(give, "…")
			break
		}
		give = append(give, g.String())
	}
	said := "there is none that gives out ports"
	if len(give) > 0 {
		said = "they are " + strings.Join(give, "; ")
	}
	r.note("%s: no NAT rule of this machine gives out its ports: %s", b.Name, said)
}

// gives reports whether rule g gives out ports of want, all where it is zero, of one of vips, any where there are
// none.
func gives(g natrules.Rule, vips []netip.Addr, want collector.PortRange) bool {
	var whole collector.PortRange
	have := g.Ports
	if have == whole {
		have = collector.PortRange{First: 1024, Last: 65535}
	}
	if want == whole {
		want = collector.PortRange{First: 1024, Last: 65535}
	}
	if want != have {
		return false
	}
	return len(vips) == 0 || len(g.VIPs) == 0 ||
		slices.ContainsFunc(vips, func(v netip.Addr) bool { return slices.Contains(g.VIPs, v) })
}
