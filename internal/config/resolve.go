package config

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

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
	// NetnsRules are those of the namespaces that budgets name; one that is not there could not be read.
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

// Resolve makes the budgets that the configuration leads to on a machine. The notes
// say what was found and what is missing. Mistakes are told as Errors.
func (c *Config) Resolve(m Machine) (budgets []*budget.Budget, notes []string, err error) {
	r := resolution{c: c, m: m, notes: slices.Clone(m.Notes), pools: map[string]Pool{}}
	if m.CloudUnread != nil {
		r.note("cloud metadata: %v", m.CloudUnread)
	}
	// What is configured comes before what is found.
	for i := range c.Budgets {
		if c.Budgets[i].Model != ModelAuto {
			path := fmt.Sprintf("budgets[%d]", i)
			r.add(path, r.params(path, &c.Budgets[i]))
			r.contradicted(&c.Budgets[i])
		}
	}
	for i := range c.Budgets {
		if c.Budgets[i].Model == ModelAuto {
			r.auto(fmt.Sprintf("budgets[%d]", i), &c.Budgets[i])
		}
	}
	if len(r.errs) > 0 {
		return nil, nil, r.errs
	}
	return r.budgets, r.notes, nil
}

type resolution struct {
	c       *Config
	m       Machine
	budgets []*budget.Budget
	notes   []string
	errs    Errors
	// pools that gave an entry its size, by the entry's path.
	pools map[string]Pool
}

func (r *resolution) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// params are those of an entry, completed by what the machine tells.
func (r *resolution) params(path string, b *Budget) budget.Params {
	p := r.common(path, b)
	p.Model = b.Model
	p.VIPs, p.VIPCount = b.VIPs, b.VIPCount
	p.Ports, p.MaxPorts, p.AliasRanges = b.Ports, b.MaxPorts, b.AliasRanges
	p.PortRange = b.PortRange.PortRange
	for _, x := range b.ReservedPorts {
		p.Reserved = append(p.Reserved, x.PortRange)
	}
	p.SpacePerVIP, p.Instances, p.Blocks, p.Retries, p.Shared = b.SpacePerVIP, b.Instances, b.Blocks, b.Retries, b.Shared
	p.EffectiveCeiling = b.EffectiveCeiling
	p.TCP, p.UDP = b.TCP.overrides(), b.UDP.overrides()
	model, _ := budget.FindModel(b.Model)
	r.complete(&p, model)
	if b.EvictTimeWait != nil {
		p.EvictsTimeWait = *b.EvictTimeWait
	}
	if model.Translated {
		p.Own = r.m.own(b, p.VIPs)
	}
	r.destinations(&p, b, model)
	return p
}

// common are the parameters that an auto entry has too.
func (r *resolution) common(path string, b *Budget) budget.Params {
	p := budget.Params{Name: b.Name, Pool: b.Pool, Gateway: b.Gateway, Nodes: b.Nodes, Netns: r.m.Netns[b.Netns]}
	if n := r.m.Nodes[b.PoolSource().String()]; n != 0 {
		p.Nodes = n
		r.pools[path] = b.PoolSource()
	} else if err := r.m.NodesUnread[b.PoolSource().String()]; err != nil {
		r.note("%s: %v: the pool size is taken to be %d until it can be read", b.Name, err, b.Nodes)
	}
	return p
}

// complete fills what only the machine knows and nobody has configured.
func (r *resolution) complete(p *budget.Params, m budget.Model) {
	if slices.Contains(m.Keys, "evict_time_wait") {
		p.EvictsTimeWait = r.m.EvictsTimeWait
		if p.Netns == 0 || p.Netns == r.m.Limits.Netns { // a namespace has timeouts of its own
			p.EntryFIN, p.EntryRST = r.m.Limits.Timeouts["tcp_timeout_time_wait"], r.m.Limits.Timeouts["tcp_timeout_close"]
		}
	}
	if m.Local && p.Netns == 0 { // a namespace has local ports of its own
		p.Netns = r.m.Limits.Netns
	}
	if m.Local {
		r.completeLocal(p)
	}
	if isAzureLB(m.Name) && len(p.VIPs) == 0 && p.VIPCount == 0 {
		p.VIPs = r.m.Cloud.VIPs
	}
}

// completeLocal fills what the kernel's settings in the budget's namespace say of local ports.
func (r *resolution) completeLocal(p *budget.Params) {
	l := r.m.limitsOf(p.Netns)
	if p.PortRange == (collector.PortRange{}) {
		p.PortRange = l.LocalPorts
		if len(p.Reserved) == 0 {
			p.Reserved = l.Reserved
		}
	}
	if p.ReuseTimeWait = l.ReuseTimeWait; p.ReuseTimeWait > 0 {
		r.note("%s: net.ipv4.tcp_tw_reuse is 1: a local port is free again %v after its flow ended, where the other side "+
			"has TCP timestamps too",
			p.Name, p.ReuseTimeWait)
	}
}

// limitsOf returns the limits of the namespace of that inode; the zero Limits if they could not be read.
func (m *Machine) limitsOf(inode uint64) collector.Limits {
	if inode == m.Limits.Netns {
		return m.Limits
	}
	return m.NetnsLimits[inode]
}

func isAzureLB(model string) bool { return strings.HasPrefix(model, "azure-lb") }

func (r *resolution) destinations(p *budget.Params, b *Budget, m budget.Model) {
	switch {
	case b.Destinations != nil:
		p.Include, p.Exclude = b.Destinations.Include, b.Destinations.Exclude
	case !m.AllDestinations || r.c.at.given("destinations"):
		p.Include, p.Exclude = r.c.Destinations.Include, r.c.Destinations.Exclude
	}
	p.Here = r.m.here(p.Include, p.Exclude)
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

func (p Protocol) overrides() budget.Overrides {
	o := budget.Overrides{Ports: p.Ports, Idle: p.Idle, HalfOpen: p.HalfOpen, CoolDown: p.CoolDown.byReason()}
	if p.Unique != nil {
		u := p.Unique.uniqueness()
		o.Unique = &u
	}
	return o
}

// refused puts a model's refusal where the configuration has the key.
func (r *resolution) refused(path string, err error) {
	e := r.c.at.keyError(path, err)
	if pool, watched := r.pools[path]; watched && e.Key == path+".nodes" {
		e = r.c.at.errorAt(path+"."+pool.key(), fmt.Sprintf("%s in %v", e.Value, pool), e.Want)
	}
	r.errs = append(r.errs, e)
}

// add resolves one budget and refuses it where it overlaps another.
func (r *resolution) add(path string, p budget.Params) {
	b, err := budget.Resolve(p)
	if err != nil {
		r.refused(path, err)
		return
	}
	if other := overlapping(r.budgets, b); other != "" {
		r.errs = append(r.errs, r.c.at.errorAt(path, b.Name+" overlaps "+other,
			"budgets under one of which each flow counts: tell them apart by destinations, netns, or VIPs and "+
				"port_range of model linux"))
		return
	}
	r.noteVIPs(b)
	r.budgets = append(r.budgets, b)
}

// noteVIPs says so where the ports hang on a number of VIPs that nobody gave.
func (r *resolution) noteVIPs(b *budget.Budget) {
	if b.Local || b.Translated || len(b.Params.VIPs) > 0 || b.Params.VIPCount > 0 {
		return
	}
	if two, err := b.WithVIPs(2); err == nil && two.TCP.Ports != b.TCP.Ports {
		r.note("%s: neither vips nor vip_count is given: taken to be one VIP, %d TCP ports; with two there are %d", b.Name,
			b.TCP.Ports, two.TCP.Ports)
	}
}

// overlapping returns the name of a budget that counts some of the same flows.
func overlapping(budgets []*budget.Budget, b *budget.Budget) string {
	for _, other := range budgets {
		if budget.Overlap(other, b) {
			return other.Name
		}
	}
	return ""
}

// keyError makes an Error of a model's refusal.
func (p positions) keyError(path string, err error) *Error {
	var k *budget.KeyError
	if !errors.As(err, &k) {
		return p.errorAt(path, err.Error(), "a budget")
	}
	return p.errorAt(path+"."+k.Key, k.Value, k.Want)
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }
