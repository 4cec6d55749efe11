package config

import (
	"errors"
	"fmt"
	"slices"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

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

// params are the parameters of an entry, completed by what the machine tells.
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

func (r *resolution) destinations(p *budget.Params, b *Budget, m budget.Model) {
	switch {
	case b.Destinations != nil:
		p.Include, p.Exclude = b.Destinations.Include, b.Destinations.Exclude
	case !m.AllDestinations || r.c.at.given("destinations"):
		p.Include, p.Exclude = r.c.Destinations.Include, r.c.Destinations.Exclude
	}
	p.Here = r.m.here(p.Include, p.Exclude)
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

// foundModel adds a budget of the model that p names, where no other counts the same flows.
func (r *resolution) foundModel(path string, b *Budget, p budget.Params) {
	model, _ := budget.FindModel(p.Model)
	r.complete(&p, model)
	r.destinations(&p, b, model)
	r.found(path, p, "what was found, "+p.Model+",", len(r.budgets))
}

// found adds a budget that nobody configured, where no other of the first n counts the same flows.
func (r *resolution) found(path string, p budget.Params, what string, n int) {
	b, err := budget.Resolve(p)
	var k *budget.KeyError
	switch {
	case errors.As(err, &k) && k.Key == "nodes": // that one was configured
		r.refused(path, err)
		return
	case err != nil:
		r.note("%s: %s is no budget: %v", p.Name, what, err)
		return
	}
	if other := overlapping(r.budgets[:n], b); other != "" {
		r.note("%s: %s shares flows with budget %s and is not counted apart", p.Name, what, other)
		return
	}
	r.budgets = append(r.budgets, b)
}

// translatedBeyond reports whether some budget is of a NAT further out.
func (r *resolution) translatedBeyond() bool {
	return slices.ContainsFunc(r.budgets, func(b *budget.Budget) bool { return b.Stage() == budget.StageBeyond })
}
