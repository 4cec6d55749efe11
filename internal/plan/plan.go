package plan

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/words"
)

// Input is what a plan is made from.
type Input struct {
	// Budget is today's budget, what is changed to see what the change buys.
	Budget budget.Params
	// Demand is what each node asks of its busiest destination.
	Demand Demand
	// Nodes share the pool or the gateway; 0 means what Budget says, or 1.
	Nodes int
	// Target is the probability of exhaustion within a day that is still accepted; 0 means 1 %.
	Target float64
	// Doubling is how long the load takes to double; 0 means that it does not grow.
	Doubling time.Duration
	// CPU is the share of the nodes' processors in use at the peak; 0 means unknown.
	CPU float64
	// Now is when growth is counted from.
	Now time.Time
	// Notes are about the measurement, for the reader.
	Notes []string
}

// Answer is what a setup does under the demand. Load, probability and blocking are at the measured load.
type Answer struct {
	// Ports of one port space: of each node, or of all nodes where they share the budget.
	Ports     int  `json:"ports"`
	Effective int  `json:"effective_ports"`
	Shared    bool `json:"shared"`
	// Load is the ports that would be held there at the peak if there were enough.
	Load float64 `json:"load_ports"`
	// Hold is the mean hold time, CoolDown the part of it after the close.
	Hold     float64 `json:"hold_seconds"`
	CoolDown float64 `json:"cool_down_seconds"`
	// Probability that an open finds no port within a day; Low and High are at the ends of the measured load.
	Probability float64 `json:"probability_day"`
	Low         float64 `json:"probability_day_low"`
	High        float64 `json:"probability_day_high"`
	// Blocked is the share of opens that fail at the peak.
	Blocked float64 `json:"blocked_at_peak"`
}

// Plan is what helps, and by how much.
type Plan struct {
	Model       string  `json:"model"`
	Setting     string  `json:"setting"`
	Nodes       int     `json:"nodes"`
	Target      float64 `json:"target_probability_day"`
	Demand      Demand  `json:"demand"`
	PeakSeconds float64 `json:"peak_seconds"`
	Today       Answer  `json:"today"`
	// Need are the ports with which the target is met, under today's terms; Low and High at the ends of
	// the measured load. Multiple is Need over today's ports.
	Need     int     `json:"ports_needed"`
	NeedLow  int     `json:"ports_needed_low"`
	NeedHigh int     `json:"ports_needed_high"`
	Multiple float64 `json:"multiple_of_today"`
	// LongestHold is the mean hold time that today's ports carry, in seconds.
	LongestHold float64 `json:"longest_mean_hold_seconds"`
	// LongestCoolDown is what today's lifetimes leave of it, 0 where nothing.
	LongestCoolDown float64  `json:"longest_mean_cool_down_seconds"`
	Offers          []Offer  `json:"offers"`
	Changes         []Change `json:"changes"`
	Nothing         []Change `json:"nothing"`
	Edge            string   `json:"tier_edge,omitempty"`
	Size            []string `json:"right_sizing,omitempty"`
	Growth          []string `json:"growth,omitempty"`
	// Ends is when today's setup no longer meets the target, where the load grows.
	Ends  *time.Time `json:"ends,omitempty"`
	Notes []string   `json:"notes,omitempty"`
}

// planner holds an input that was checked.
type planner struct {
	Input
	budget *budget.Budget
}

// Make works out a plan. It refuses impossible numbers, and never makes a plan of nothing.
func Make(in Input) (*Plan, error) {
	p, err := newPlanner(in)
	if err != nil {
		return nil, err
	}
	out := p.changed()
	out.Edge = p.edge()
	out.Size = p.rightSize()
	out.Growth, out.Ends = p.growth()
	return out, nil
}

// Changes works out what changes buy, and leaves out sizes and growth, which take longest.
func Changes(in Input) (*Plan, error) {
	p, err := newPlanner(in)
	if err != nil {
		return nil, err
	}
	return p.changed(), nil
}

// newPlanner checks an input and fills in what was left open.
func newPlanner(in Input) (*planner, error) {
	if in.Target == 0 {
		in.Target = 0.01
	}
	switch {
	case !(in.Target > 0 && in.Target < 1):
		return nil, fmt.Errorf("target probability %v: want above 0 and below 1", in.Target)
	case in.Nodes < 0 || in.Nodes > 1_000_000:
		return nil, fmt.Errorf("nodes: %d, want 1 to 1000000", in.Nodes)
	case in.Doubling < 0:
		return nil, fmt.Errorf("doubling time %v: want more than 0", in.Doubling)
	case !(in.CPU >= 0 && in.CPU <= 1):
		return nil, fmt.Errorf("CPU %v: want a share from 0 to 1", in.CPU)
	}
	if err := in.Demand.check(); err != nil {
		return nil, err
	}
	if in.Budget.Nodes == 0 {
		in.Budget.Nodes = in.Nodes
	}
	if in.Nodes = in.Budget.Nodes; in.Nodes == 0 {
		in.Nodes = 1
	}
	b, err := Today(in.Budget)
	if err != nil {
		return nil, err
	}
	if b.TCP.Ports == 0 {
		return nil, errors.New("the budget has no TCP ports")
	}
	if in.Demand.hold(&b.TCP) == 0 {
		return nil, errors.New("hold 0: flows of lifetime 0 without a cool-down hold no port to plan for")
	}
	return &planner{in, b}, nil
}

// Today is the budget of today. Of nodes none are given where the number is 0.
func Today(p budget.Params) (*budget.Budget, error) {
	b, err := budget.Resolve(p)
	var key *budget.KeyError
	if errors.As(err, &key) && key.Key == "nodes" && p.Nodes == 0 {
		return nil, &budget.KeyError{Key: key.Key, Want: key.Want}
	}
	return b, err
}

// changed is the plan without sizes and growth.
func (p *planner) changed() *Plan {
	today := p.answer(p.budget, &p.Demand, p.Nodes)
	out := &Plan{
		Model: p.budget.Model, Setting: setting(p.budget), Nodes: p.Nodes, Target: p.Target, Demand: p.Demand,
		PeakSeconds: p.Demand.Peak.Seconds(), Today: today, Notes: p.Notes,
	}
	need := func(rate float64) int {
		k := p.peaks(&p.budget.TCP, &p.Demand, rate, p.sharers(p.budget, p.Nodes))
		return ceilingPorts(k.need(p.Target), &p.budget.TCP)
	}
	out.Need, out.NeedLow, out.NeedHigh = need(p.Demand.Rate), need(p.Demand.Low), need(p.Demand.High)
	out.Multiple = float64(out.Need) / float64(today.Ports)
	k := p.peaks(&p.budget.TCP, &p.Demand, p.Demand.Rate, p.sharers(p.budget, p.Nodes))
	out.LongestHold = k.hold * k.mostLoad(today.Effective, p.Target) / k.load
	out.LongestCoolDown = max(0, out.LongestHold-p.Demand.Lifetimes.Mean())
	out.Offers = p.offers()
	out.Changes, out.Nothing = p.changes(out)
	if p.Demand.Cut {
		out.Notes = append(out.Notes, "The ports held reached the ceiling while this was measured: demand was "+
			"cut off there, "+
			"and may be more than the range says.")
	}
	return out
}

// sharers is how many nodes fill one port space of b.
func (p *planner) sharers(b *budget.Budget, nodes int) int {
	if b.Scope == budget.ScopeShared {
		return nodes
	}
	return 1
}

// peaks is the arithmetic of a demand under terms, with opens at rate on each of so many nodes.
func (p *planner) peaks(t *budget.Terms, d *Demand, rate float64, nodes int) peaks {
	hold := d.hold(t)
	return peaks{
		load: rate * hold * float64(nodes), hold: hold, length: d.Peak.Seconds(),
		spread: d.Spread, peakedness: d.Peakedness,
	}
}

// answer is what budget b does under demand d in a pool of so many nodes.
func (p *planner) answer(b *budget.Budget, d *Demand, nodes int) Answer {
	n := p.sharers(b, nodes)
	k := p.peaks(&b.TCP, d, d.Rate, n)
	out := Answer{
		Ports: b.TCP.Ports, Effective: b.TCP.Effective, Shared: b.Scope == budget.ScopeShared,
		Load: k.load, Hold: k.hold, CoolDown: d.coolDown(&b.TCP),
		Probability: k.probability(b.TCP.Effective), Blocked: k.blocked(b.TCP.Effective),
	}
	low, high := p.peaks(&b.TCP, d, d.Low, n), p.peaks(&b.TCP, d, d.High, n)
	out.Low, out.High = low.probability(b.TCP.Effective), high.probability(b.TCP.Effective)
	return out
}

// ceilingPorts are the ports whose effective ceiling is n.
func ceilingPorts(n int, t *budget.Terms) int {
	if t.Effective == t.Ports {
		return n
	}
	return int(math.Ceil(float64(n) * float64(t.Ports) / float64(t.Effective)))
}

// setting says what of a budget can be changed.
func setting(b *budget.Budget) string {
	s := vips(b.VIPCount)
	switch {
	case b.Local:
		s = "the machine's own ports"
	case b.Params.MaxPorts > 0:
		s = fmt.Sprintf("max %d ports a VM, %s", b.Params.MaxPorts, s)
	case b.Params.Ports > 0:
		s = fmt.Sprintf("%d ports a node, %s", b.Params.Ports, s)
	}
	if n := b.Params.Nodes; n > 0 {
		s = nodes(n) + ", " + s
	}
	return s
}

// vips prints how many; a budget without one has the address that its model gives it.
func vips(n int) string { return words.Counted(max(n, 1), "VIP", "VIPs") }
