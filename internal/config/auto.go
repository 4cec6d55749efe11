package config

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/snatwatch/snatwatch/detector/budget"
)

// auto turns an entry into whatever the machine tells, for each stage at which a flow takes a port: the NAT rules of
// this machine, the cloud's NAT behind it, and the machine's own ephemeral ports. Those count beside a NAT of this
// machine, which the flows of its own processes pass too, or where there is no NAT to be seen.
func (r *resolution) auto(path string, b *Budget) {
	p := r.common(path, b)
	if b.Netns == "" && slices.ContainsFunc(r.c.Budgets, func(o Budget) bool {
		return o.Netns != "" &&
			o.followsRules()
	}) {
		p.Netns = r.m.Limits.Netns // what the rules there do belongs to other entries
	}
	rules, unread := r.m.rulesOf(b)
	r.noteRules(b.Name, rules)
	grouped := r.m.Readers.group(b.Netns, rules.Rules)
	here := len(grouped.groups) > 0
	taken := map[string]bool{}
	cloud, cloudFound := r.cloudParams(path, b, p)
	if cloudFound {
		cloud.Name = r.keepName(b.Name, cloud.Model, !here, taken)
	}
	own := p
	if own.Model = "local"; len(r.m.Cloud.PublicIPs) > 0 && !cloudFound {
		own.Model, own.VIPs = "instance-ip", r.m.Cloud.PublicIPs[:1]
	}
	if here || !cloudFound {
		own.Name = r.keepName(b.Name, own.Model, !here, taken)
	}
	if here {
		r.autoRules(path, b, p, grouped, taken)
	}
	if cloudFound {
		r.foundModel(path, b, cloud)
	}
	switch {
	case here && rules.Private && len(r.m.Cloud.VIPs)+len(r.m.Cloud.PublicIPs) == 0 && !r.translatedBeyond():
		r.note("%s: the addresses that flows get on this machine are private, so another NAT translates them again and its "+
			"ports may run out first: "+
			"add a budget of its model (azure-lb, gcp-nat-static, aws-nat-gateway, …) or of model static", b.Name)
	case !here && own.Model == "local" && !cloudFound && len(r.m.Cloud.VIPs) == 0:
		r.note("%s: %s and no VIPs from cloud metadata: the budget is its ephemeral ports", b.Name, noRules(rules, unread))
	}
	if here && !r.hasLocal(own.Netns) || !here && !cloudFound {
		r.foundModel(path, b, own)
	}
}

// hasLocal reports whether some budget is of the ephemeral ports of a namespace, 0 for the one in which flows leave.
func (r *resolution) hasLocal(netns uint64) bool {
	if netns == 0 {
		netns = r.m.Limits.Netns
	}
	return slices.ContainsFunc(r.budgets, func(b *budget.Budget) bool {
		return b.Local &&
			(b.Netns == 0 || b.Netns == netns)
	})
}

// cloudParams are the parameters of the cloud's NAT, where its metadata tell enough to say how many ports this node has
// there.
func (r *resolution) cloudParams(path string, b *Budget, p budget.Params) (budget.Params, bool) {
	vips := r.m.Cloud.VIPs
	switch {
	case len(r.m.Cloud.PublicIPs) > 0:
		return p, false
	case r.m.Cloud.Provider == "aws" || r.m.Cloud.Provider == "google":
		return r.gatewayParams(b, p)
	case len(vips) == 0 || p.Nodes == 0 && r.translatedBeyond():
		return p, false
	case p.Nodes == 0:
		r.note("%s: Azure's load balancer translates this machine to %s, but its metadata does not tell the pool size: "+
			"set %s.nodes or nodes_file (model azure-lb, or azure-lb-manual with ports); until then only "+
			"ephemeral ports are watched",
			b.Name, joinAddrs(vips), path)
		return p, false
	}
	p.Model, p.VIPs = "azure-lb", vips
	return p, true
}

// gatewayParams are the parameters of the NAT gateway that an instance without a public address must pass. Its metadata
// do not show which: the one that the cloud documents first.
func (r *resolution) gatewayParams(b *Budget, p budget.Params) (budget.Params, bool) {
	if r.translatedBeyond() {
		return p, false
	}
	m := r.m.Cloud
	if m.Provider == "google" {
		p.Model, p.AliasRanges = "gcp-nat-static", m.AliasRanges
		r.note("%s: this instance of %v has no external address and its metadata do not show Cloud NAT's settings: taken to "+
			"be the default, static allocation: a budget of model gcp-nat-static with its ports, or gcp-nat-dynamic, "+
			"says what they are", b.Name, m)
		return p, true
	}
	p.Model = "aws-nat-gateway"
	if p.Gateway == "" {
		p.Gateway = strings.Trim(m.Network+"/"+m.Zone, "/") // nodes of one zone share it
	}
	r.note("%s: this instance of %v has no public address and its metadata do not show which NAT gateway translates it: "+
		"taken to be one of its zone with one VIP: a budget of model aws-nat-gateway or aws-nat-gateway-regional with its "+
		"vips says what it is", b.Name, m)
	return p, true
}

// keepName returns the name of the budget of a model that an entry makes: the one it has, so that its counters go on
// while other budgets come and go, or the entry's own where it is alone.
func (r *resolution) keepName(entry, model string, alone bool, taken map[string]bool) string {
	name := entry + "-" + model
	if alone {
		name = entry
	}
	for _, b := range r.m.Standing {
		if b.Model == model && ofEntry(b.Name, entry) {
			name = b.Name
			break
		}
	}
	taken[name] = true
	return name
}

func joinAddrs(as []netip.Addr) string {
	texts := make([]string, len(as))
	for i, a := range as {
		texts[i] = a.String()
	}
	return strings.Join(texts, ", ")
}
