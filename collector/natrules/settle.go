package natrules

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// settle makes the rules of what the walks found: masquerade gets the addresses of the interfaces that flows
// leave by, where the rules say which, and rules that are drawn among become one.
func (s *Ruleset) settle(outcomes []outcome, links []link) {
	groups := map[int]int{}     // where the rule of a group stands in s.Rules
	members := map[int][]Rule{} // by group
	for i := range outcomes {
		o := &outcomes[i]
		for _, r := range s.at(o, links) {
			if o.group == 0 || len(r.VIPs) == 0 || r.SpacePerVIP {
				s.Rules = append(s.Rules, r)
				continue
			}
			members[o.group] = append(members[o.group], r)
			n, ok := groups[o.group]
			if !ok {
				groups[o.group] = len(s.Rules)
				s.Rules = append(s.Rules, r)
				continue
			}
			s.Rules[n] = spread(members[o.group])
		}
	}
	// What both protocols draw among is one rule.
	for _, n := range slices.Backward(slices.Sorted(maps.Values(groups))) {
		i := slices.IndexFunc(s.Rules[:n], func(r Rule) bool {
			return r.Same(s.Rules[n]) && r.Masquerade == s.Rules[n].Masquerade && r.Handle == s.Rules[n].Handle &&
				r.Chain == s.Rules[n].Chain && r.Table == s.Rules[n].Table
		})
		if i >= 0 {
			s.Rules[i].TCP, s.Rules[i].UDP = s.Rules[i].TCP || s.Rules[n].TCP, s.Rules[i].UDP || s.Rules[n].UDP
			s.Rules = slices.Delete(s.Rules, n, n+1)
		}
	}
}

// at returns the rules of an outcome: one, or for masquerade one for each address family, as a budget has VIPs of
// one.
func (s *Ruleset) at(o *outcome, links []link) []Rule {
	r := o.rule
	r.TCP, r.UDP = o.flows&ofTCP != 0, o.flows&ofUDP != 0
	if !r.Masquerade {
		r.SpacePerVIP = r.SpacePerVIP || len(r.VIPs) == 0 // ports alone: a flow keeps the address that it has
		return []Rule{r}
	}
	if !o.isOut {
		r.SpacePerVIP = true // the route decides
		return []Rule{r}
	}
	v4, v6 := r, r
	on := o.links(links)
	for _, l := range on {
		for _, a := range l.addrs {
			to, of := &v4, ofIPv4
			if a.Is6() {
				to, of = &v6, ofIPv6
			}
			if o.flows&of != 0 && !slices.Contains(to.VIPs, a) {
				to.VIPs = append(to.VIPs, a)
			}
		}
	}
	v4.TCP, v4.UDP = o.flows&tcp4 != 0, o.flows&udp4 != 0
	v6.TCP, v6.UDP = o.flows&tcp6 != 0, o.flows&udp6 != 0
	var rules []Rule
	for _, r := range []Rule{v4, v6} {
		if len(r.VIPs) > 0 {
			r.SpacePerVIP = len(r.VIPs) > 1 // which of them a flow gets depends on its route alone
			rules = append(rules, r)
		}
	}
	if len(rules) > 0 || len(o.nots) > 0 || len(on) == 0 && slices.Equal(o.outs, []out{{name: "lo"}}) {
		return rules
	}
	s.bare = true
	where := fmt.Sprintf("%s: masquerade on %s, which has no address", place(r.Table, r.Chain, r.Handle, r.Legacy),
		outNames(o.outs))
	a := anothers(links)
	if !a.IsValid() || !v4.TCP && !v4.UDP || !slices.ContainsFunc(on, func(l link) bool { return l.up }) {
		s.remark(where + " now: no ports to run out of until it has")
		return nil
	}
	s.remark(fmt.Sprintf("%s: flows get the address of another interface, %v", where, a))
	v4.VIPs = []netip.Addr{a}
	return []Rule{v4}
}

// anothers is the address that the kernel gives to flows which leave by an interface without one: the first of
// loopback that is not of loopback alone, else of the first interface that has any (inet_select_addr,
// net/ipv4/devinet.c). For IPv6 it depends on the destination, and none comes back.
func anothers(links []link) netip.Addr {
	for _, loopback := range []bool{true, false} {
		for i := range links {
			if k := slices.IndexFunc(links[i].addrs, netip.Addr.Is4); k >= 0 && links[i].loopback == loopback {
				return links[i].addrs[k]
			}
		}
	}
	return netip.Addr{}
}

func outNames(outs []out) string {
	names := make([]string, len(outs))
	for i, o := range outs {
		names[i] = o.text()
	}
	return strings.Join(names, ", ")
}

// links returns those that flows of the outcome leave by.
func (o *outcome) links(links []link) (on []link) {
	has := func(list []out, l *link) bool {
		return slices.ContainsFunc(list, func(x out) bool { return x.matches(l.name, l.index) })
	}
	for i := range links {
		if l := &links[i]; !l.loopback && has(o.outs, l) && !has(o.nots, l) {
			on = append(on, *l)
		}
	}
	return on
}

// allPrivate reports whether every address that flows may get is private.
func (s *Ruleset) allPrivate(links []link) bool {
	return len(s.Rules) > 0 && !slices.ContainsFunc(s.Rules, func(r Rule) bool { return !private(&r, links) })
}

// private reports whether no address that r gives is one of the Internet.
func private(r *Rule, links []link) bool {
	shared := netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
	inside := func(a netip.Addr) bool { return a.IsPrivate() || shared.Contains(a) || a.IsLinkLocalUnicast() }
	if len(r.VIPs) > 0 {
		return !slices.ContainsFunc(r.VIPs, func(a netip.Addr) bool { return !inside(a) })
	}
	some := false
	for _, l := range links {
		if l.loopback {
			continue
		}
		for _, a := range l.addrs {
			if some = true; !inside(a) {
				return false
			}
		}
	}
	return some
}
