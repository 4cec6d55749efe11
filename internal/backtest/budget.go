package backtest

import (
	"math"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/backtest/score"
)

// Terms say what a record is replayed against. The zero value is a static budget whose ports
// are chosen for each port space, so that there is something to warn of.
type Terms struct {
	// Model of the budget; default static.
	Model string
	// Ports of one port space instead of the model's; 0 leaves them to it.
	Ports int
	// Nodes and VIPs for the models that take them.
	Nodes, VIPs int
	// CoolDown instead of the model's, whatever the reason; negative leaves it to the model.
	CoolDown time.Duration
}

// modelStatic is the model that takes any numbers.
const modelStatic = "static"

// chosen says that the ports are chosen for each port space.
func (t Terms) chosen() bool { return (t.Model == "" || t.Model == modelStatic) && t.Ports == 0 }

// budget resolves the terms. Idle timeouts and half-open ports are left out: a record does not
// say when packets passed, so each flow is held for its duration and its cool-down.
func (t Terms) budget() (*budget.Budget, error) {
	if t.Model == "" || t.Model == modelStatic {
		return staticBudget(t.Ports, max(0, t.CoolDown)), nil
	}
	p := budget.Params{Name: "backtest", Model: t.Model, Nodes: t.Nodes, VIPCount: t.VIPs}
	resolved, err := budget.Resolve(p)
	if t.Ports > 0 && err != nil {
		// Only the number of ports depends on what is missing, and that is given.
		for _, fill := range []func(*budget.Params){
			func(p *budget.Params) { p.Ports = t.Ports },
			func(p *budget.Params) { p.Ports = 1024 },
			func(p *budget.Params) {
				if p.Nodes == 0 { // not one that is wrong
					p.Nodes = 1
				}
			},
		} {
			filled := p
			fill(&filled)
			if b, e := budget.Resolve(filled); e == nil {
				resolved, err = b, nil
				break
			}
		}
	}
	if err != nil {
		return nil, err
	}
	b := *resolved
	b.Include, b.Exclude, b.Translated, b.SpacePerVIP, b.Local, b.Netns = nil, nil, false, false, false, 0
	b.PortRange = collector.PortRange{} // of ports that a record does not tell
	for _, terms := range []*budget.Terms{&b.TCP, &b.UDP} {
		terms.Idle, terms.HalfOpen = 0, 0
		if t.Ports > 0 && terms.Ports > 0 {
			terms.Effective = int(math.Ceil(float64(t.Ports) * float64(terms.Effective) / float64(terms.Ports)))
			terms.Ports = t.Ports
		}
		if t.CoolDown >= 0 {
			terms.CoolDown = coolDowns(t.CoolDown)
		}
	}
	return &b, nil
}

// staticBudget holds n ports per destination, with one cool-down whatever the reason.
func staticBudget(n int, coolDown time.Duration) *budget.Budget {
	t := budget.Terms{Ports: n, Effective: n, CoolDown: coolDowns(coolDown)}
	return &budget.Budget{Name: "backtest", Model: modelStatic, TCP: t, UDP: t}
}

func coolDowns(d time.Duration) (c [collector.NumReasons]time.Duration) {
	for r := range c {
		c[r] = d
	}
	return c
}

const (
	// enough is how many episodes a chosen budget should see.
	enough = 6
	// leastPorts is the smallest ceiling that is chosen.
	leastPorts = 5
)

// choosePorts returns the largest ceiling that the held ports, one per tick, reach in at least six
// episodes after tick from, and how many those are; fewer if there is no such ceiling.
func choosePorts(held []int32, tick time.Duration, from int) (ports, episodes int) {
	const levels = 200
	top := int32(0)
	for _, n := range held[min(from, len(held)):] {
		top = max(top, n)
	}
	step := max(1, int(top)/levels)
	for ceiling := int(top); ceiling >= leastPorts && episodes < enough; ceiling -= step {
		n, was := 0, true
		track := score.NewTracker(tick)
		for k, h := range held {
			in := track.Step(int(h), ceiling)
			if in && !was && k > from {
				n++
			}
			was = in
		}
		if n > episodes {
			ports, episodes = ceiling, n
		}
	}
	return ports, episodes
}
