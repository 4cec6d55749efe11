package natrules

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"

	"github.com/snatwatch/snatwatch/collector/netns"
)

// Read reads the rules of a network namespace; without CAP_NET_ADMIN there the error wraps
// fs.ErrPermission. Chains that nothing jumps to are read like any other.
func Read(ns *netns.Handle) (s Ruleset, err error) {
	// Inside, so that the caller's own namespace takes no right to enter.
	err = ns.Do(func() error {
		conn, err := nftables.New(nftables.AsLasting())
		if err != nil {
			return fmt.Errorf("open nftables: %w", err)
		}
		defer func() { _ = conn.CloseLasting() }()
		drafts, err := s.read(conn)
		if err != nil {
			return err
		}
		links, err := interfaces()
		if err != nil {
			return err
		}
		s.Rules = settle(drafts, links)
		return nil
	})
	return s, err
}

// read goes through all chains that can translate. What cannot be understood is counted.
func (s *Ruleset) read(conn *nftables.Conn) (drafts []draft, err error) {
	chains, err := conn.ListChains()
	if err != nil {
		return nil, fmt.Errorf("list nftables chains: %w", err)
	}
	for _, c := range chains {
		if !translates(c, chains) {
			continue
		}
		rules, err := conn.GetRules(c.Table, c)
		if err != nil {
			s.problem(c, 0, err)
			continue
		}
		sets := func(name string) (data, keys [][]byte, err error) { return elements(conn, c.Table, name) }
		for _, r := range rules {
			d, err := parse(byte(c.Table.Family), r.Exprs, sets)
			if err != nil {
				s.problem(c, r.Handle, err)
				continue
			}
			for i := range d.rules {
				d.rules[i].Table, d.rules[i].Chain, d.rules[i].Handle = tableName(c.Table), c.Name, r.Handle
			}
			if len(d.rules) > 0 {
				drafts = append(drafts, d)
			}
		}
	}
	return drafts, nil
}

// translates reports whether the chain is one of a table that has a nat chain, for
// only such tables and what they jump to can translate.
func translates(c *nftables.Chain, all []*nftables.Chain) bool {
	switch c.Table.Family {
	case nftables.TableFamilyIPv4, nftables.TableFamilyIPv6, nftables.TableFamilyINet:
	default:
		return false
	}
	return slices.ContainsFunc(all, func(o *nftables.Chain) bool {
		return o.Type == nftables.ChainTypeNAT && o.Table.Name == c.Table.Name && o.Table.Family == c.Table.Family
	})
}

func tableName(t *nftables.Table) string {
	family := map[nftables.TableFamily]string{
		nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6", nftables.TableFamilyINet: "inet",
	}[t.Family]
	return family + " " + t.Name
}

// maxProblems bounds what is told one by one.
const maxProblems = 20

func (s *Ruleset) problem(c *nftables.Chain, handle uint64, err error) {
	if s.Unknown++; len(s.Problems) < maxProblems {
		s.Problems = append(s.Problems, fmt.Sprintf("table %s, chain %s, handle %d: %v", tableName(c.Table), c.Name, handle, err))
	}
}

func elements(conn *nftables.Conn, t *nftables.Table, set string) (data, keys [][]byte, err error) {
	es, err := conn.GetSetElements(&nftables.Set{Table: t, Name: set})
	if err != nil {
		return nil, nil, err
	}
	for _, e := range es {
		if e.IntervalEnd {
			continue
		}
		data, keys = append(data, e.Val), append(keys, e.Key)
	}
	return data, keys, nil
}

// link is an interface with its global unicast addresses.
type link struct {
	name  string
	index int
	addrs []netip.Addr
}

// interfaces lists those of the calling thread's namespace, without loopback.
func interfaces() ([]link, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var links []link
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 {
			continue
		}
		as, err := i.Addrs()
		if err != nil {
			continue // it went away
		}
		l := link{name: i.Name, index: i.Index}
		for _, a := range as {
			p, err := netip.ParsePrefix(a.String())
			if err == nil && p.Addr().IsGlobalUnicast() {
				l.addrs = append(l.addrs, p.Addr().Unmap())
			}
		}
		links = append(links, l)
	}
	return links, nil
}

// settle makes the final rules. Where all give out the same ports of whatever address a
// flow leaves by, no address is needed to tell them apart; else masquerade rules get the
// addresses of their interface, and those without one what nobody else has.
func settle(drafts []draft, links []link) []Rule {
	var rules []Rule
	alike := true
	for _, d := range drafts {
		for _, r := range d.rules {
			rules = append(rules, r)
			alike = alike && len(r.VIPs) == 0 && r.Ports == rules[0].Ports
		}
	}
	if alike {
		return rules
	}
	var taken []netip.Addr
	for _, r := range rules {
		taken = append(taken, r.VIPs...)
	}
	var named []Rule
	var anywhere []draft
	for _, d := range drafts {
		for _, r := range d.rules {
			switch on := d.interfaces(links); {
			case len(r.VIPs) > 0:
				named = append(named, r)
			case !r.Masquerade || on == nil:
				anywhere = append(anywhere, draft{rules: []Rule{r}, v4: d.v4, v6: d.v6})
			default:
				for _, r := range d.at(r, on, nil) {
					taken = append(taken, r.VIPs...)
					named = append(named, r)
				}
			}
		}
	}
	for _, d := range anywhere {
		named = append(named, d.at(d.rules[0], links, taken)...)
	}
	return named
}

// at gives a masquerade rule the addresses of interfaces but those taken: one rule for each
// family, as a budget has VIPs of one.
func (d draft) at(r Rule, links []link, taken []netip.Addr) []Rule {
	v4, v6 := r, r
	for _, l := range links {
		for _, a := range l.addrs {
			to, fits := &v4, d.v4
			if a.Is6() {
				to, fits = &v6, d.v6
			}
			if fits && !slices.Contains(taken, a) && !slices.Contains(to.VIPs, a) {
				to.VIPs = append(to.VIPs, a)
			}
		}
	}
	rules := []Rule{v4, v6}
	if len(v6.VIPs) == 0 {
		rules = rules[:1]
	} else if len(v4.VIPs) == 0 {
		rules = rules[1:]
	}
	for i := range rules { // which of them a flow gets depends on its route alone
		rules[i].SpacePerVIP = len(rules[i].VIPs) > 1
	}
	return rules
}

// interfaces returns those that the rule is for, nil where it is for any.
func (d draft) interfaces(links []link) []link {
	if d.out == "" && d.outIndex == 0 {
		return nil
	}
	on := []link{}
	for _, l := range links {
		prefix, wildcard := strings.CutSuffix(d.out, "*")
		switch {
		case d.outIndex != 0 && l.index != d.outIndex:
		case d.out != "" && wildcard && !strings.HasPrefix(l.name, prefix):
		case d.out != "" && !wildcard && l.name != d.out:
		default:
			on = append(on, l)
		}
	}
	return on
}
