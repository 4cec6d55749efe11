package budget

import (
	"fmt"
	"slices"
	"strings"
)

// Chain is the budgets of one way out, by stage: a flow takes a port at each stage that it passes.
type Chain [NumStages][]*Budget

// Chains returns a chain for each NAT beyond this machine that budgets of this machine lead to, and one of the budgets
// that lead to none. A chain has two stages at least.
func Chains(budgets []*Budget) (chains []Chain) {
	at := func(s Stage) []*Budget {
		return slices.DeleteFunc(slices.Clone(budgets), func(b *Budget) bool { return b.Stage() != s })
	}
	sockets, node := at(StageSocket), at(StageNode)
	before := func(list []*Budget, end *Budget) []*Budget {
		return slices.DeleteFunc(slices.Clone(list), func(b *Budget) bool { return !Meet(b, end) })
	}
	ending := slices.Clone(node)
	for _, end := range at(StageBeyond) {
		c := Chain{before(sockets, end), before(node, end), {end}}
		ending = slices.DeleteFunc(ending, func(b *Budget) bool { return slices.Contains(c[StageNode], b) })
		chains = append(chains, c)
	}
	if len(ending) > 0 {
		last := slices.DeleteFunc(slices.Clone(sockets), func(s *Budget) bool {
			return !slices.ContainsFunc(ending, func(b *Budget) bool { return Meet(s, b) })
		})
		chains = append(chains, Chain{last, ending, nil})
	}
	return slices.DeleteFunc(chains, func(c Chain) bool { return c.stages() < 2 })
}

func (c *Chain) stages() (n int) {
	for _, list := range c {
		n += min(1, len(list))
	}
	return n
}

// Tightest returns the budget that has the fewest ports, of the stage furthest out among equals.
func (c *Chain) Tightest() (least *Budget) {
	for _, list := range c {
		for _, b := range list {
			if least == nil || b.ceiling() <= least.ceiling() {
				least = b
			}
		}
	}
	return least
}

// ceiling is the effective ceiling of TCP, of UDP where TCP has no ports.
func (b *Budget) ceiling() int {
	if b.TCP.Ports > 0 {
		return b.TCP.Ceiling()
	}
	return b.UDP.Ceiling()
}

// chainNames is how many budgets of a stage String names.
const chainNames = 3

// String says what the chain is, in the order in which a flow passes it.
func (c *Chain) String() string {
	var parts []string
	for s, list := range c {
		if len(list) == 0 {
			continue
		}
		var names []string
		for i, b := range list {
			if i == chainNames {
				names = append(names, fmt.Sprintf("%d more", len(list)-i))
				break
			}
			names = append(names, fmt.Sprintf("%s: %s, %d ports", b.Name, b.Model, max(b.TCP.Ports, b.UDP.Ports)))
		}
		parts = append(parts, fmt.Sprintf("%v (%s)", Stage(s).Place(), strings.Join(names, "; ")))
	}
	return strings.Join(parts, " → ") + "; the tightest is " + c.Tightest().Name
}
