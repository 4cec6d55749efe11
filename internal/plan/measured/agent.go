package measured

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/plan"
	"github.com/snatwatch/snatwatch/internal/remote"
)

// momentSpread is the spread of peaks that is taken where only one moment is known.
const momentSpread = 0.2

// FromAgent asks an agent. Its demand is measured at this moment: it is no peak, and a note says so. name is the
// budget's, empty for the fullest.
func FromAgent(ctx context.Context, at, name string) (in plan.Input, err error) {
	s, err := remote.Agent(ctx, at)
	if err != nil {
		return in, err
	}
	if !s.Ready {
		return in, fmt.Errorf("agent at %s has not seen a complete dump yet", at)
	}
	b, note, err := chooseBudget(s, name)
	if err != nil {
		return in, fmt.Errorf("agent at %s: %w", at, err)
	}
	terms := b.TermsOf("tcp")
	known := seen{
		name: b.Name, model: b.Model, nodes: b.Nodes, vips: b.VIPCount, ports: terms.Ports,
		spacePerVIP: b.SpacePerVIP, shared: b.Scope == budget.ScopeShared.String(),
		coolDown: terms.CoolDown, meanCoolDown: -1,
	}
	if in.Budget, in.Notes, err = known.params(); err != nil {
		return in, err
	}
	if note != "" {
		in.Notes = append(in.Notes, note)
	}
	in.Nodes, in.Now = b.Nodes, s.At
	if in.Demand, err = momentDemand(b, terms); err != nil {
		return in, fmt.Errorf("agent at %s: budget %s: %w", at, b.Name, err)
	}
	in.Notes = append(in.Notes, "The demand is of this moment, at one node. Ask Prometheus, or replay "+
		"records, for its peaks.")
	if s.WarmingUp {
		in.Notes = append(in.Notes, "The agent has not run for one cool-down yet: ports closed before may be "+
			"held unseen.")
	}
	if b.Contradiction != "" {
		in.Notes = append(in.Notes, "What the agent sees contradicts the budget: "+b.Contradiction)
	}
	return in, nil
}

// chooseBudget returns the TCP budget of that name, or else the fullest, with a note where there are others.
func chooseBudget(s *remote.Snapshot, name string) (chosen *remote.Budget, note string, err error) {
	var names []string
	for i := range s.Budgets {
		b := &s.Budgets[i]
		if b.TermsOf("tcp") == nil || name != "" && b.Name != name {
			continue
		}
		if names = append(names, b.Name); chosen == nil || fill(b) > fill(chosen) {
			chosen = b
		}
	}
	switch {
	case len(names) > 1:
		note = fmt.Sprintf("The agent has the budgets %s: this is of %s, the fullest. --budget asks for another.",
			strings.Join(names, ", "), chosen.Name)
	case len(names) == 0 && name != "":
		return nil, "", fmt.Errorf("has no TCP budget %q", name)
	case len(names) == 0:
		return nil, "", errors.New("has no TCP budget")
	}
	return chosen, note, nil
}

// fill is the share of the ceiling that the fullest TCP port space of a budget holds.
func fill(b *remote.Budget) float64 {
	ceiling := b.TermsOf("tcp").Effective
	for i := range b.Protocols {
		if p := &b.Protocols[i]; p.Protocol == "tcp" && ceiling > 0 {
			return float64(p.Busiest) / float64(ceiling)
		}
	}
	return 0
}

// momentDemand is the demand at the fullest port space.
func momentDemand(b *remote.Budget, terms *remote.Terms) (d plan.Demand, err error) {
	var p *remote.Protocol
	for i := range b.Protocols {
		if b.Protocols[i].Protocol == "tcp" {
			p = &b.Protocols[i]
		}
	}
	if p == nil || len(p.Spaces) == 0 {
		return d, errors.New("no flow of this budget was seen yet")
	}
	s, next := &remote.Space{}, 0
	for i := range p.Spaces {
		switch x := &p.Spaces[i]; {
		case x.Ports > 0: // of low ports: the plan is of all others
		case x.Held > s.Held:
			s, next = x, s.Held
		default:
			next = max(next, x.Held)
		}
	}
	switch {
	case s.Held == 0:
		return d, errors.New("no port is held at this moment")
	case s.MeanHold == nil || *s.MeanHold <= 0:
		return d, errors.New("no flow has ended yet, so hold times are not known")
	}
	d = plan.Demand{
		Destination: s.Destination, Ends: ends(p.Closed), Spread: momentSpread, Peakedness: 1,
		Peak: time.Hour, Next: float64(next) / float64(s.Held), Cut: s.Held >= terms.Effective,
	}
	counts := make([]float64, len(p.Lifetime.Counts))
	for i, n := range p.Lifetime.Counts {
		counts[i] = float64(n)
	}
	law, within, err := plan.HistogramLaw(p.Lifetime.Bounds, counts, p.Lifetime.Sum)
	if err != nil {
		return d, fmt.Errorf("lifetimes: %w", err)
	}
	cool := meanCoolDown(d.Ends, terms.CoolDown)
	d.LifetimesWithin, d.Lifetimes = within, law.WithMean(max(*s.MeanHold-cool, 0.001))
	hold := d.Lifetimes.Mean() + cool
	// What is held and what arrives agree while nothing changes; where they do not, the larger counts.
	byHeld := float64(s.Held) / hold
	d.Rate = max(byHeld, s.OpensPerSecond)
	noise := 2 / math.Sqrt(float64(s.Held))
	d.Low = min(byHeld, max(s.OpensPerSecond, byHeld/2)) * max(0.1, 1-noise)
	d.High = d.Rate * (1 + noise)
	return d, nil
}

// ends are the shares of flows by how they ended; none where none has.
func ends(closed map[string]uint64) map[string]float64 {
	out := map[string]float64{}
	for r, n := range closed {
		if n > 0 {
			out[r] = float64(n)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// meanCoolDown is that over the ends, in seconds.
func meanCoolDown(ends, coolDown map[string]float64) float64 {
	if len(ends) == 0 {
		return coolDown["fin"]
	}
	sum, mean := 0.0, 0.0
	for r, n := range ends {
		sum += n
		mean += n * coolDown[r]
	}
	return mean / sum
}
