package rules

import (
	"fmt"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// poolRecords put the pools side by side, whatever the scope of their budget: each
// node of a pool fails on its own, so the most loaded node and the expected
// number of exhausted nodes matter, not the sum against a sum.
func (o Options) poolRecords() []Record {
	perNode := func(op, expr string, more ...metrics.Label) string {
		return fmt.Sprintf("%s by (%s) (%s)", op, o.agent(append([]metrics.Label{metrics.LabelBudget, metrics.LabelProtocol}, more...)...), expr)
	}
	pool := func(op, expr string, more ...metrics.Label) string {
		by := append([]metrics.Label{metrics.LabelPool, metrics.LabelBudget, metrics.LabelProtocol}, more...)
		return fmt.Sprintf("%s by (%s) (\n%s\n  * on (%s) group_left (pool) %s\n)",
			op, o.labels(by...), indent(expr), o.agent(metrics.LabelBudget), o.m(metrics.BudgetInfo))
	}
	horizon := metrics.LabelHorizon
	return []Record{
		{Name: poolHeld, Expr: pool("sum", nodeHeld)},
		{Name: poolOpened, Expr: pool("sum", "rate("+o.m(metrics.FlowsOpened)+"[5m])")},
		{Name: poolMean, Expr: pool("sum", perNode("sum", o.m(metrics.ForecastPortsMean), horizon), horizon)},
		{Name: poolVariance, Expr: pool("sum", perNode("sum", o.m(metrics.ForecastPortsVariance), horizon), horizon)},
		{Name: poolFill, Expr: pool("max", nodeFill)},
		{Name: poolProbability, Expr: pool("max", nodeProbability, horizon)},
		{Name: poolExpected, Expr: pool("sum", nodeProbability, horizon)},
	}
}
