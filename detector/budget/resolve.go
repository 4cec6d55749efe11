package budget

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/snatwatch/snatwatch/collector"
)

// Resolve makes a budget of a model and its parameters. Its errors are of type
// *KeyError; a value beyond what the provider documents is one of them.
func Resolve(p Params) (*Budget, error) {
	m, ok := FindModel(p.Model)
	if !ok {
		return nil, badKey("model", p.Model, "one of %s", strings.Join(modelNames(), ", "))
	}
	if err := p.check(m); err != nil {
		return nil, err
	}
	ports, err := m.ports(&p)
	if err != nil {
		return nil, err
	}
	ceiling := 1.0
	if m.ceiling != nil {
		if ceiling, err = m.ceiling(&p); err != nil {
			return nil, err
		}
	}
	if p.EffectiveCeiling != 0 {
		ceiling = p.EffectiveCeiling
	}
	b := p.budget(m)
	p.coolDown(&m)
	if b.TCP, err = p.TCP.terms("tcp", m.TCP, m, ports, ceiling); err != nil {
		return nil, err
	}
	if b.UDP, err = p.UDP.terms("udp", m.UDP, m, ports, ceiling); err != nil {
		return nil, err
	}
	if m.total != nil {
		total := m.total(&p)
		b.TCP.bound(total)
		b.UDP.bound(total)
	}
	if b.TCP.Ports == 0 && b.UDP.Ports == 0 {
		return nil, badKey("udp.ports", 0, "ports for one protocol at least")
	}
	b.Assumed = slices.DeleteFunc(slices.Clone(m.Assumed), p.given)
	if m.table {
		_, b.NodesToNextTier, b.NextTierPorts = tableShare(p.Nodes, p.vips(), m.tableCap)
	}
	return b, nil
}

// budget is a budget of model m without its terms.
func (p *Params) budget(m Model) *Budget {
	b := &Budget{
		Name: p.Name, Model: m.Name, Pool: p.Pool, Gateway: p.Gateway,
		Scope: m.Scope, Source: m.Source, FailureSignal: m.FailureSignal,
		VIPs: slices.Clone(p.VIPs), VIPCount: p.vips(), SpacePerVIP: p.SpacePerVIP,
		Local: m.Local, OnNode: m.OnNode, Translated: m.Translated,
		Include: p.include(m), Exclude: slices.Clone(p.Exclude),
		Netns: p.Netns, Nodes: p.Nodes, Params: *p,
	}
	switch {
	case m.Local:
		b.PortRange = p.localRange()
	case m.Translated:
		b.PortRange, b.Own = p.PortRange, slices.Clone(p.Own)
		b.Classes = p.PortRange == collector.PortRange{} && len(p.Pools) == 0
	default:
		b.Here = slices.Clone(p.Here)
	}
	if p.Shared {
		b.Scope = ScopeShared
	}
	return b
}

// coolDown gives m the cool-downs of this machine's kernel, where its NAT or its sockets hold the ports.
func (p *Params) coolDown(m *Model) {
	switch {
	case p.EvictsTimeWait:
		m.TCP.FIN, m.TCP.RST = 0, 0
	case m.Translated:
		m.TCP.FIN, m.TCP.RST = cmp.Or(p.EntryFIN, m.TCP.FIN), cmp.Or(p.EntryRST, m.TCP.RST)
	}
	if m.Local && p.ReuseTimeWait > 0 {
		m.TCP.FIN = p.ReuseTimeWait
	}
}

// With resolves the budget again with parameters changed: what it would be with
// another VIP, say. The budget must have come from Resolve.
func (b *Budget) With(change func(*Params)) (*Budget, error) {
	p := b.Params
	change(&p)
	return Resolve(p)
}

// WithVIPs resolves the budget again with n VIPs, whichever they are.
func (b *Budget) WithVIPs(n int) (*Budget, error) {
	return b.With(func(p *Params) { p.VIPs, p.VIPCount = nil, n })
}

// WithNodes resolves the budget again for a pool of n nodes.
func (b *Budget) WithNodes(n int) (*Budget, error) {
	return b.With(func(p *Params) { p.Nodes = n })
}

// check refuses what no allocation can be made of.
func (p *Params) check(m Model) *KeyError {
	for _, k := range p.keys() {
		if !slices.Contains(m.Keys, k) {
			return badKey(k, "given", "no such key: %s takes %s", m.Name, m.takes())
		}
	}
	if p.Nodes < 0 {
		return badKey("nodes", p.Nodes, "the pool size")
	}
	if p.Blocks < 0 {
		return badKey("blocks", p.Blocks, "the number of blocks")
	}
	if p.Instances < 0 {
		return badKey("instances", p.Instances, "the number of instances")
	}
	if err := p.checkVIPs(m); err != nil {
		return err
	}
	if err := p.checkFamily(); err != nil {
		return err
	}
	if r := p.PortRange; r != (collector.PortRange{}) && (r.First == 0 || r.First > r.Last) {
		return badKey("port_range", rangeText(r), "first-last, first not above last, from 1")
	}
	for i, r := range p.Reserved {
		if r.First > r.Last {
			return badKey(fmt.Sprintf("reserved_ports[%d]", i), rangeText(r), "first-last, first not above last")
		}
	}
	if c := p.EffectiveCeiling; c != 0 && !(c > 0 && c <= 1) {
		return badKey("effective_ceiling", c, "a fraction above 0 and up to 1")
	}
	return nil
}

// vipsMax bounds the VIPs of a budget where no provider does, so that its ports can be counted.
const vipsMax = 65535

func (p *Params) checkVIPs(m Model) *KeyError {
	for i, v := range p.VIPs {
		key := fmt.Sprintf("vips[%d]", i)
		switch {
		case !v.IsValid():
			return badKey(key, v, "an address")
		case v.IsUnspecified():
			return badKey(key, v, "the address that SNAT puts on flows")
		case slices.Contains(p.VIPs[:i], v):
			return badKey(key, v, "each VIP once")
		case v.Is4() != p.VIPs[0].Is4():
			return badKey(key, v, "VIPs of one address family: a budget for each")
		}
	}
	switch n := p.VIPCount; {
	case n < 0:
		return badKey("vip_count", n, "1 or more")
	case n != 0 && len(p.VIPs) != 0 && n != len(p.VIPs):
		return badKey("vip_count", n, "%d, or none: vips lists them", len(p.VIPs))
	case m.MaxVIPs > 0 && p.vips() > m.MaxVIPs:
		return badKey("vips", p.vips(), "at most %d: %s has no more", m.MaxVIPs, m.Name)
	case p.vips() > vipsMax:
		return badKey("vip_count", p.vips(), "at most %d", vipsMax)
	}
	return nil
}

// checkFamily refuses VIPs that are put on flows to none of the destinations. The destinations of NAT64 are IPv6
// and get an IPv4 VIP: its well-known prefix, RFC 6052, and the one for local use, RFC 8215.
func (p *Params) checkFamily() *KeyError {
	if len(p.Include) == 0 || len(p.VIPs) == 0 {
		return nil
	}
	nat64 := []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48")}
	for _, d := range p.Include {
		if d.Addr().Is4() == p.VIPs[0].Is4() || p.VIPs[0].Is4() && slices.ContainsFunc(nat64, d.Overlaps) {
			return nil
		}
	}
	return badKey("destinations.include", p.Include,
		"destinations of the address family of vips, %v, some at least (vip_count says how many there are "+
			"without their addresses)",
		p.VIPs[0])
}

// keys are the parameters given that only some models take.
func (p *Params) keys() []string {
	var ks []string
	for _, x := range []struct {
		key   string
		given bool
	}{
		{"ports", p.Ports != 0},
		{"max_ports", p.MaxPorts != 0},
		{"alias_ranges", p.AliasRanges},
		{"port_range", p.PortRange != collector.PortRange{}},
		{"reserved_ports", len(p.Reserved) > 0},
		{"space_per_vip", p.SpacePerVIP},
		{"evict_time_wait", p.EvictsTimeWait},
		{"instances", p.Instances != 0},
		{"blocks", p.Blocks != 0},
		{"retries", p.Retries != 0},
		{"shared", p.Shared},
	} {
		if x.given {
			ks = append(ks, x.key)
		}
	}
	return ks
}

// given reports whether a term that the model assumes was configured.
func (p *Params) given(key string) bool {
	if key == "ports" {
		return p.Ports != 0
	}
	protocol, term, _ := strings.Cut(key, ".")
	o := &p.TCP
	if protocol == "udp" {
		o = &p.UDP
	}
	switch term {
	case "unique":
		return o.Unique != nil
	case "idle":
		return o.Idle != nil
	}
	for r := range o.CoolDown {
		if term == "cool_down."+r.String() {
			return true
		}
	}
	return false
}

// include narrows an empty list to the address family that the VIPs translate.
func (p *Params) include(m Model) []netip.Prefix {
	switch {
	case len(p.Include) > 0:
		return slices.Clone(p.Include)
	case len(p.VIPs) > 0 && p.VIPs[0].Is6():
		return []netip.Prefix{netip.MustParsePrefix("::/0")}
	case len(p.VIPs) > 0, !m.AnyFamily:
		return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	}
	return nil
}

func (m Model) takes() string {
	if len(m.Keys) == 0 {
		return "pool, nodes and vips"
	}
	return strings.Join(m.Keys, ", ")
}

func modelNames() (names []string) {
	for _, m := range Models() {
		names = append(names, m.Name)
	}
	return names
}

func rangeText(r collector.PortRange) string { return fmt.Sprintf("%d-%d", r.First, r.Last) }
