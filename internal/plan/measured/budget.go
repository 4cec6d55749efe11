package measured

import (
	"errors"
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// seen is a budget as it was measured.
type seen struct {
	name, model string
	nodes, vips int
	ports       int
	spacePerVIP bool
	shared      bool // by all nodes
	// coolDown by the name of the end, in seconds; nil where it is not known by end.
	coolDown map[string]float64
	// meanCoolDown is the mean over all flows, in seconds; below 0 where unknown.
	meanCoolDown float64
}

// budget resolves params.
func (s *seen) budget() (b *budget.Budget, notes []string, err error) {
	p, notes, err := s.params()
	if err != nil {
		return nil, nil, err
	}
	b, err = budget.Resolve(p)
	return b, notes, err
}

// params are the parameters of a budget of the model that has the ports measured. Where the model gives other ports for
// the nodes and VIPs known, the parameter that makes up for it is looked for, and static is what is left.
func (s *seen) params() (p budget.Params, notes []string, err error) {
	if s.ports <= 0 {
		return p, nil, errors.New("the budget has no TCP ports")
	}
	p = budget.Params{
		Name: s.name, Model: s.model, Nodes: s.nodes, VIPCount: max(1, s.vips),
		SpacePerVIP: s.spacePerVIP,
	}
	if s.model != "linux" && s.model != modelStatic {
		p.SpacePerVIP = false
	}
	p.Shared = s.shared && s.model == modelStatic
	s.setCoolDown(&p)
	perVIP := s.ports / p.VIPCount
	if p.SpacePerVIP {
		perVIP = s.ports
	}
	tries := []func(*budget.Params){
		func(*budget.Params) {},
		func(p *budget.Params) { p.Ports = s.ports },
		func(p *budget.Params) { p.MaxPorts = s.ports },
		func(p *budget.Params) { p.AliasRanges = true },
		func(p *budget.Params) { p.Instances = s.ports / 2496 / p.VIPCount },
		func(p *budget.Params) { p.PortRange = rangeOf(perVIP) },
		func(p *budget.Params) { p.PortRange = rangeOf(perVIP + 1) }, // Cilium does not use the last
	}
	for _, change := range tries {
		try := p
		change(&try)
		if b, err := budget.Resolve(try); err == nil && b.TCP.Ports == s.ports {
			return try, nil, nil
		}
	}
	p.Model, p.Ports, p.Shared = modelStatic, s.ports, s.shared
	if _, err := budget.Resolve(p); err != nil {
		return p, nil, err
	}
	return p, []string{fmt.Sprintf("The model %s gives other ports for %d nodes and %d VIPs than the %d that "+
		"are measured: what it would give after a change is not known.",
		s.model, s.nodes, s.vips, s.ports)}, nil
}

// modelStatic is the model of numbers that are given, whatever they come from.
const modelStatic = "static"

// rangeOf is a range of n ports that ends at the last; none for what is no range.
func rangeOf(n int) collector.PortRange {
	if n < 1 || n > 65535 {
		return collector.PortRange{}
	}
	return collector.PortRange{First: uint16(65536 - n), Last: 65535}
}

// setCoolDown takes over the cool-downs that were measured.
func (s *seen) setCoolDown(p *budget.Params) {
	if s.coolDown == nil && s.meanCoolDown < 0 {
		return
	}
	p.TCP.CoolDown = map[collector.Reason]time.Duration{}
	for r := range collector.NumReasons {
		seconds, known := s.coolDown[r.String()]
		if !known && s.meanCoolDown >= 0 {
			seconds, known = s.meanCoolDown, true
		}
		if known && seconds >= 0 && seconds <= time.Hour.Seconds() {
			p.TCP.CoolDown[r] = time.Duration(seconds * float64(time.Second))
		}
	}
}
