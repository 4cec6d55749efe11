package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/natrules"
	"github.com/snatwatch/snatwatch/detector/budget"
)

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
			r.note("%s: rules absent since %s UTC, %v among them: the ports that they gave out count for a minute more",
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

// ofEntry reports whether an entry of that name made a budget.
func ofEntry(budget, entry string) bool {
	return budget == entry || strings.HasPrefix(budget, entry+"-")
}
