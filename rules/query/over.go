package query

import (
	"fmt"
	"strings"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// WithBudget joins pool, gateway and model to an expression that has the labels of
// an agent and a budget.
func (s Scope) WithBudget(expr string) string {
	return s.Join(expr, "pool, gateway, model")
}

// Join takes labels from the budget's info metric.
func (s Scope) Join(expr, labels string) string {
	return "(\n" + Indent(expr) + "\n)\n* on (" + s.Agent(metrics.LabelBudget) + ") group_left (" + labels + ") " +
		s.BudgetInfo()
}

// Joined gives series of each agent and budget a label of the budget's info.
func (s Scope) Joined(label metrics.Label, expr string, matchers ...string) string {
	return fmt.Sprintf("\n%s\n  * on (%s) group_left (%s) %s\n", Indent(expr), s.Agent(metrics.LabelBudget), label,
		s.BudgetInfo(matchers...))
}

// BudgetInfo is the budget's info metric with one series per agent and budget. For a scrape or two there may be
// more: a pod's successor on the same node answers before the target of the first is forgotten, and the
// config it was given may be another. Each join would then fail, for every node of the fleet.
func (s Scope) BudgetInfo(matchers ...string) string {
	return fmt.Sprintf("topk by (%s) (1, %s)", s.Agent(metrics.LabelBudget), s.Metric(metrics.BudgetInfo, matchers...))
}

// Over aggregates what each node tells by some labels. A node counts once: it may be scraped twice for as long as two
// jobs scrape it, or for a scrape or two by a pod and its successor.
func Over(op, expr, by string) string {
	if op != "max" {
		expr = fmt.Sprintf("max by (instance, %s) (%s)", by, expr)
	}
	return fmt.Sprintf("%s by (%s) (%s)", op, by, expr)
}

// OverPool aggregates an expression of nodes by pool and budget.
func (s Scope) OverPool(op, expr string, more ...metrics.Label) string {
	by := append([]metrics.Label{metrics.LabelPool, metrics.LabelBudget, metrics.LabelProtocol}, more...)
	return Over(op, s.Joined(metrics.LabelPool, expr), s.Labels(by...))
}

// OverSpaces aggregates what each node tells of port spaces behind a gateway, by port space and more. There are too
// many of them to take each node once, which would double what a rule costs: a node counts as often as it is scraped,
// and the result is divided by how often that is, which each node's budget info tells.
func (s Scope) OverSpaces(op, expr string, more ...metrics.Label) string {
	of := s.Labels(metrics.LabelBudget, metrics.LabelGateway)
	return fmt.Sprintf("%s by (%s) (%s)\n/ on (%s) group_left () avg by (%s) (count by (instance, %s) (%s))",
		op, s.Space(more...), expr, of, of, of, s.Metric(metrics.BudgetInfo, `scope="shared"`))
}

// PerNode aggregates what may stand twice for an agent, from a pod and its successor, by agent, budget and protocol.
func (s Scope) PerNode(op, expr string, more ...metrics.Label) string {
	by := append([]metrics.Label{metrics.LabelBudget, metrics.LabelProtocol}, more...)
	return fmt.Sprintf("%s by (%s) (%s)", op, s.Agent(by...), expr)
}

// Grew is what of a counter has grown within a range: not what has begun within it. A counter that is first seen at 9
// has increased by 9 for VictoriaMetrics, and not at all for Prometheus; a line through what was seen is level for
// both. A restart of the agent hides what grew within the range before it.
func Grew(counter, within string) string { return "deriv(" + counter + "[" + within + "]) > 0" }

// Increased is by how much a counter grew within a range, where it did. A counter that begins within it
// counts from there: see Grew.
func Increased(counter, within string) string {
	over := counter + "[" + within + "]"
	return fmt.Sprintf("sum(increase(%s) and max_over_time(%s) > min_over_time(%s)) > 0", over, over, over)
}

// Where a port serves one flow whatever its destination, metrics call the destination AnyDestination: no one to name.
const (
	AnyDestination = "*"
	// Named matches the destinations that are one.
	Named = `destination!~"other|[*]"`
)

// HorizonIs matches one horizon.
func HorizonIs(h string) string { return fmt.Sprintf("horizon=%q", h) }

// HorizonsFrom matches the horizons from number first to number last.
func HorizonsFrom(first, last int) string {
	values := metrics.HorizonValues()
	if first == last {
		return HorizonIs(values[first])
	}
	return fmt.Sprintf("horizon=~%q", strings.Join(values[first:last+1], "|"))
}
