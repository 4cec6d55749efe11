package plan

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/words"
)

// edge says what crossing the tier's edge upward does, before it happens; empty without one.
func (p *planner) edge() string {
	b := p.budget
	if b.NextTierPorts == 0 {
		return ""
	}
	n := b.Nodes + b.NodesToNextTier + 1
	over, err := b.WithNodes(n)
	if err != nil {
		return ""
	}
	// The nodes are added for load, so that each keeps its own.
	a := p.answer(over, &p.Demand, n)
	return fmt.Sprintf("Node %d halves each node's share: %d to %d ports, and resets flows on the ports taken away. "+
		"At today's load for each node a day then exhausts with probability %s, in place of %s.",
		n, b.TCP.Ports, over.TCP.Ports, Percent(a.Probability), Percent(p.answer(b, &p.Demand, p.Nodes).Probability))
}

// utilisation is the share of the processors that a pool may use at the peak when nodes are removed.
const utilisation = 0.7

// rightSize says how many nodes the ports need, and the processors where their use is known.
func (p *planner) rightSize() []string {
	least := p.fewestNodes(p.budget, 1)
	var out []string
	best, with := p.fewestOrVIP(1)
	switch {
	case p.budget.Scope == budget.ScopeShared:
		out = append(out, "All nodes share the gateway's ports: these neither need nor forbid any number of nodes.")
	case least == 0 && best == 0:
		out = append(out, "No number of nodes meets the target with these ports.")
	case least == 0:
		out = append(out, fmt.Sprintf("No number of nodes meets the target with today's setup; %s would%s.",
			nodes(best), with))
	case least > p.Nodes:
		out = append(out, fmt.Sprintf("The ports need %s for the pool's load%s; the pool has %d.",
			nodes(least), orVIP(best, least, with), p.Nodes))
	default:
		out = append(out, fmt.Sprintf("The ports need %s of %d for the pool's load%s.", nodes(least), p.Nodes,
			orVIP(best, least, with)))
	}
	if text := p.poolSizes(p.budget); text != "" {
		out = append(out, text)
	}
	if p.CPU > 0 {
		cpu := max(1, int(math.Ceil(float64(p.Nodes)*p.CPU/utilisation)))
		need, with := p.fewestOrVIP(cpu)
		out = append(out, fmt.Sprintf("The processors are used to %s at the peak: %s would use %s.",
			Percent(p.CPU), nodes(cpu), Percent(utilisation)))
		if need > 0 && need < p.Nodes {
			out = append(out, fmt.Sprintf("So %d of %d nodes can go%s.", p.Nodes-need, p.Nodes, with))
		}
	}
	return out
}

// fewestOrVIP is the smallest pool, from so many nodes on, that carries the pool's load, with another VIP if a smaller
// one does so then; 0 for none.
func (p *planner) fewestOrVIP(from int) (nodes int, with string) {
	nodes = p.fewestNodes(p.budget, from)
	if b, err := p.budget.WithVIPs(p.budget.VIPCount + 1); err == nil && !p.budget.Local {
		if n := p.fewestNodes(b, from); n > 0 && (nodes == 0 || n < nodes) {
			return n, " with " + vips(b.VIPCount)
		}
	}
	return nodes, ""
}

func nodes(n int) string { return words.Counted(n, "node", "nodes") }

func orVIP(best, least int, with string) string {
	if best < least {
		return fmt.Sprintf(", %d%s", best, with)
	}
	return ""
}

// poolSizes are the pools that carry the pool's load under the target, where a table gives each size its ports.
func (p *planner) poolSizes(b *budget.Budget) string {
	if b.Model != "azure-lb" && b.Model != "azure-lb-2018" {
		return ""
	}
	var spans []string
	first := 0
	for n := 1; n <= 1001; n++ {
		switch ok := n <= 1000 && p.enough(b, n); {
		case ok && first == 0:
			first = n
		case !ok && first > 0 && first == n-1:
			spans, first = append(spans, fmt.Sprint(first)), 0
		case !ok && first > 0:
			spans, first = append(spans, fmt.Sprintf("%d–%d", first, n-1)), 0
		}
	}
	if len(spans) == 0 {
		return fmt.Sprintf("No pool size carries the pool's load with %s.", vips(b.VIPCount))
	}
	return fmt.Sprintf("Pools of %s nodes carry the pool's load with %s.", strings.Join(spans, ", "), vips(b.VIPCount))
}

// enough reports whether a pool of n nodes carries the pool's load under the target.
func (p *planner) enough(b *budget.Budget, n int) bool {
	sized, err := b.WithNodes(n)
	if b.Nodes == 0 {
		sized, err = b, nil // the pool size is nothing to this model
	}
	if err != nil {
		return false
	}
	d := p.spread(n)
	k := p.peaks(&sized.TCP, d, d.Rate, 1)
	return k.load < float64(sized.TCP.Effective) && k.probability(sized.TCP.Effective) < p.Target
}

// fewestNodes is the smallest pool, from so many nodes on, that carries the pool's load under the target; 0 where none
// up to the model's largest does.
func (p *planner) fewestNodes(b *budget.Budget, from int) int {
	if b.Scope == budget.ScopeShared {
		return from
	}
	const most = 1000
	for n := from; n <= most; n++ {
		if p.enough(b, n) {
			return n
		}
	}
	return 0
}

// growth says when today's setup ends, if the load doubles as given: nodes that stay as many, and nodes
// that are added in step with the load.
func (p *planner) growth() ([]string, *time.Time) {
	if p.Doubling == 0 {
		return nil, nil
	}
	b := p.budget
	k := p.peaks(&b.TCP, &p.Demand, p.Demand.Rate, p.sharers(b, p.Nodes))
	doublings := math.Log2(k.mostLoad(b.TCP.Effective, p.Target) / k.load)
	if doublings <= 0 {
		return []string{"Today's setup does not meet the target already."}, &p.Now
	}
	after := func(doublings float64) (time.Time, bool) {
		d := doublings * float64(p.Doubling)
		return p.Now.Add(time.Duration(d)), d < 100*365*24*float64(time.Hour)
	}
	ends, soon := after(doublings)
	if !soon {
		return []string{"At this growth today's setup lasts for a century."}, nil
	}
	out := []string{fmt.Sprintf("With as many nodes as today the setup ends on %s: the load is then %.2f "+
		"times today's.",
		ends.Format(time.DateOnly), math.Exp2(doublings))}
	if b.NextTierPorts > 0 {
		n := b.Nodes + b.NodesToNextTier + 1
		if at, soon := after(math.Log2(float64(n) / float64(b.Nodes))); soon {
			out = append(out, fmt.Sprintf("If nodes are added in step with the load, node %d comes on %s and "+
				"halves each share to %d ports.",
				n, at.Format(time.DateOnly), b.NextTierPorts))
		}
	}
	return out, &ends
}
