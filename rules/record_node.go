package rules

import (
	"fmt"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// Names of the recorded series, level:metric:operation.
const (
	NodeFill   = "instance:snat_busiest_fill:ratio"
	nodeHeld   = "instance:snat_all_ports_held:avg10m"
	nodeOpened = "instance:snat_flows_opened:rate10m"

	PoolHeld        = "pool:snat_ports_held:sum"
	PoolOpened      = "pool:snat_flows_opened:rate5m"
	PoolMean        = "pool:snat_forecast_ports_mean:sum"
	PoolVariance    = "pool:snat_forecast_ports_variance:sum"
	PoolFill        = "pool:snat_busiest_fill:max"
	PoolProbability = "pool:snat_exhaustion_probability:max"
	PoolExpected    = "pool:snat_nodes_exhausted:expected"

	GatewayPorts       = "gateway:snat_budget_effective_ports:max"
	GatewayHeld        = "gateway:snat_ports_held:sum"
	GatewayUnseen      = "gateway:snat_folded_ports_held_max:sum"
	GatewayOpened      = "gateway:snat_flows_opened:rate5m"
	gatewayNodes       = "gateway:snat_ports_held:count"
	GatewayMean        = "gateway:snat_forecast_ports_mean:sum"
	GatewayVariance    = "gateway:snat_forecast_ports_variance:sum"
	gatewaySeldom      = "gateway:snat_forecast_ports_mean:seldom_sum"
	gatewayDeviations  = "gateway:snat_forecast_headroom:deviations"
	gatewayAt          = "gateway:snat_exhaustion_probability:at_horizon"
	GatewayProbability = "gateway:snat_exhaustion_probability:by_horizon"
	GatewayTime        = "gateway:snat_time_to_exhaustion_seconds:median"
)

// records lists the rules that record the named series.
func (o Options) records(names ...string) []Record {
	var out []Record
	for _, n := range names {
		out = append(out, Record{Name: n, Expr: o.define(n)})
	}
	return out
}

// define returns what a recorded series is made of, with matchers on the labels of the
// metrics that carry a horizon.
func (o Options) define(name string, matchers ...string) string {
	horizon := metrics.LabelHorizon
	switch name {
	case NodeFill: // the fullest port space against the effective ceiling
		return o.m(metrics.BusiestPortsHeld) + "\n/\n" + o.m(metrics.BudgetEffectivePorts)
	case nodeHeld, nodeOpened:
		return o.tenMinutes(name, "")
	case PoolHeld:
		return o.overPool("sum", o.m(metrics.AllPortsHeld))
	case PoolOpened:
		return o.overPool("sum", "rate("+o.m(metrics.FlowsOpened)+"[5m])")
	case PoolMean:
		return o.overPool("sum", o.m(metrics.AllForecastPortsMean, matchers...), horizon)
	case PoolVariance:
		return o.overPool("sum", o.m(metrics.AllForecastPortsVariance, matchers...), horizon)
	case PoolFill:
		return o.overPool("max", o.define(NodeFill))
	case PoolProbability:
		return o.overPool("max", o.m(metrics.ExhaustionProbabilityMax, matchers...), horizon)
	case PoolExpected:
		return o.overPool("sum", o.m(metrics.ExhaustionProbabilityMax, matchers...), horizon)
	}
	return o.defineGateway(name, matchers...)
}

// use names a recorded series in an expression; for a server without recording rules it
// writes out what the series is made of.
func (o Options) use(name string, matchers ...string) string {
	if o.inline {
		return "(" + o.define(name, matchers...) + ")"
	}
	return o.ofShard(name, matchers)
}

// joined gives what is told of each agent and budget a label of the budget's info.
func (o Options) joined(label metrics.Label, expr string, matchers ...string) string {
	return fmt.Sprintf("\n%s\n  * on (%s) group_left (%s) %s\n", indent(expr), o.agent(metrics.LabelBudget), label, o.BudgetInfo(matchers...))
}

// over aggregates what each node tells by some labels. A node counts once: it may be told twice for as long as two jobs
// scrape it, or for a scrape or two by a pod and its successor.
func (o Options) over(op, expr, by string) string {
	if op != "max" {
		expr = fmt.Sprintf("max by (instance, %s) (%s)", by, expr)
	}
	return fmt.Sprintf("%s by (%s) (%s)", op, by, expr)
}

// overSpaces aggregates what each node tells of port spaces behind a gateway, by port space and more. There are too many
// of them to take each node once, which would double what a rule costs: a node counts as often as it is told, and
// the result is divided by how often that is, which each node's budget info tells.
func (o Options) overSpaces(op, expr string, more ...metrics.Label) string {
	of := o.labels(metrics.LabelBudget, metrics.LabelGateway)
	return fmt.Sprintf("%s by (%s) (%s)\n/ on (%s) group_left () avg by (%s) (count by (instance, %s) (%s))",
		op, o.space(more...), expr, of, of, of, o.m(metrics.BudgetInfo, `scope="shared"`))
}

// perNode aggregates what may be told twice of an agent, by a pod and its successor, by agent, budget and protocol.
func (o Options) perNode(op, expr string, more ...metrics.Label) string {
	by := append([]metrics.Label{metrics.LabelBudget, metrics.LabelProtocol}, more...)
	return fmt.Sprintf("%s by (%s) (%s)", op, o.agent(by...), expr)
}
