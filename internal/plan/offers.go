package plan

import (
	"fmt"
	"strings"

	"github.com/snatwatch/snatwatch/detector/budget"
)

// Offer is the least that a model needs to meet the target.
type Offer struct {
	Model string `json:"model"`
	// Fits says whether any setting of the model meets the target; else Why says what stands against it, and the
	// answer is the answer for its largest setting.
	Fits    bool   `json:"fits"`
	Why     string `json:"why,omitempty"`
	Setting string `json:"setting"`
	Answer  Answer `json:"answer"`
	// Reserved are the ports that it takes in all, of all nodes.
	Reserved int      `json:"ports_in_all"`
	Commands []string `json:"commands,omitempty"`
	// Assumed are terms that the provider does not document.
	Assumed []string `json:"assumed,omitempty"`

	budget *budget.Budget
}

// family is the cloud that a model is of; "" is any.
func family(model string) string {
	for _, f := range []string{"azure", "aws", "gcp", "oci", "huawei", "alibaba", "tencent"} {
		if strings.HasPrefix(model, f+"-") {
			return f
		}
	}
	return ""
}

// past are the models that nobody can choose today.
func past(model string) bool { return model == "azure-lb-2018" || model == "azure-classic" }

// offers tries every model that can stand in for today's: the models of the same cloud and an address for each node. A
// budget of no cloud is tried against all.
func (p *planner) offers() []Offer {
	var fit, unfit []Offer
	for _, m := range budget.Models() {
		same := m.Name == p.budget.Model
		switch home := family(p.budget.Model); {
		case same && m.Name != "static":
		case m.Name == "static", m.Name == "local", past(m.Name):
			continue
		case m.Name == "instance-ip":
		case home != "" && family(m.Name) != home:
			continue
		}
		if o, ok := p.offer(m); ok && o.Fits {
			fit = append(fit, o)
		} else if ok {
			unfit = append(unfit, o)
		}
	}
	return append(fit, unfit...)
}

// offer is the least setting of m that meets the target. ok is false where the model can be given to no such pool.
func (p *planner) offer(m budget.Model) (Offer, bool) {
	out := Offer{Model: m.Name}
	for _, params := range p.settings(m) {
		b, err := budget.Resolve(params)
		if err != nil {
			out.Why = err.Error()
			continue
		}
		if out.budget != nil && b.TCP.Ports <= out.budget.TCP.Ports {
			continue // more of it brings no more ports
		}
		out.budget = b
		out.Answer = p.answer(b, &p.Demand, p.Nodes)
		out.Fits = out.Answer.Probability < p.Target
		if out.Fits {
			break
		}
	}
	if out.budget == nil {
		return out, false
	}
	out.Setting = setting(out.budget)
	out.Assumed = out.budget.Assumed
	out.Reserved = out.Answer.Ports
	if !out.Answer.Shared {
		out.Reserved *= p.Nodes
	}
	if out.Fits {
		out.Why = ""
		out.Commands = commands(out.budget)
	} else {
		out.Why = fmt.Sprintf("%d ports are the most here, and %s would be held", out.Answer.Ports,
			ports(out.Answer.Load))
	}
	return out, true
}

// vipsTried are how many VIPs are tried where no provider says how many there may be.
const vipsTried = 16

// VIPs that one load balancer or gateway takes. Azure: frontend IP configurations of a Standard Load Balancer
// (learn.microsoft.com: azure-subscription-service-limits). Google Cloud: addresses that are given to a NAT gateway by
// hand (cloud.google.com: nat/quota).
const (
	azureVIPsMost = 600
	gcpVIPsMost   = 300
)

// allocation is ports a node, at least one step of them, and the VIPs that they take; at most what so many VIPs have.
func allocation(need, step, nodes, perVIP, vipsMost int) (ports, vips int) {
	ports = max(step, min(divideUp(need, step)*step, vipsMost*perVIP/nodes/step*step))
	return ports, max(1, divideUp(ports*nodes, perVIP))
}

// settings are what a model can be given, from the least to the most. Terms and ports of today's own model are kept.
func (p *planner) settings(m budget.Model) []budget.Params {
	base := budget.Params{Name: "plan", Model: m.Name, Nodes: p.Nodes}
	if m.Name == p.budget.Model {
		base = p.Budget
		base.VIPs, base.VIPCount = nil, 0
	}
	most := m.MaxVIPs
	if most == 0 {
		most = vipsTried
	}
	var all []budget.Params
	switch m.Name {
	case "azure-lb-manual":
		base.Ports, base.VIPCount = allocation(p.needUnder(base), 8, p.Nodes, 64000, azureVIPsMost)
		return []budget.Params{base}
	case "gcp-nat-static":
		base.Ports, base.VIPCount = allocation(max(64, p.needUnder(base)), 1, p.Nodes, 64512, gcpVIPsMost)
		return []budget.Params{base}
	case "gcp-nat-dynamic":
		for most := 64; most <= 65536; most *= 2 {
			try := base
			try.MaxPorts = most
			if try.VIPCount = max(1, divideUp(most*p.Nodes, 64512)); try.VIPCount <= gcpVIPsMost {
				all = append(all, try)
			}
		}
		return all
	}
	for n := 1; n <= most; n++ {
		try := base
		try.VIPCount = n
		all = append(all, try)
	}
	return all
}

// needUnder are the ports that one port space needs under a model's own cool-downs, or those that base gives it.
func (p *planner) needUnder(base budget.Params) int {
	base.Nodes, base.VIPCount, base.Ports = 1, 1, portsToTry(base.Model)
	b, err := budget.Resolve(base)
	if err != nil {
		return 0
	}
	k := p.peaks(&b.TCP, &p.Demand, p.Demand.Rate, p.sharers(b, p.Nodes))
	return k.need(p.Target)
}

// portsToTry is any allocation that a model takes, 0 where it takes none.
func portsToTry(model string) int {
	if model == "azure-lb-manual" {
		return 64
	}
	return 0
}

func divideUp(a, b int) int { return (a + b - 1) / b }

// ports prints a load.
func ports(load float64) string {
	if load < 10 {
		return fmt.Sprintf("%.1f", load)
	}
	return fmt.Sprintf("%.0f", load)
}
