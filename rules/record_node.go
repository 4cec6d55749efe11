package rules

import (
	"fmt"
	"strings"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// Names of the recorded series, level:metric:operation.
const (
	NodeFill        = "instance:snat_busiest_fill:ratio"
	NodeProbability = "instance:snat_exhaustion_probability:max"
	NodeHeld        = "instance:snat_ports_held:sum"

	// SpaceProbability is there only for port spaces that may be worth a page.
	SpaceProbability = "space:snat_exhaustion_probability:likely"

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
	gatewayAt          = "gateway:snat_exhaustion_probability:at_horizon"
	GatewayProbability = "gateway:snat_exhaustion_probability:by_horizon"
	GatewayTime        = "gateway:snat_time_to_exhaustion_seconds:median"
)

// nodeRecords are what alerts and boards read per node.
func (o Options) nodeRecords() []Record {
	return o.records(NodeFill)
}

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
	node := []metrics.Label{metrics.LabelBudget, metrics.LabelProtocol}
	horizon := metrics.LabelHorizon
	perNode := func(op, expr string, more ...metrics.Label) string {
		return fmt.Sprintf("%s by (%s) (%s)", op, o.agent(append(node[:2:2], more...)...), expr)
	}
	switch name {
	case NodeFill: // the fullest port space against the effective ceiling
		return o.m(metrics.BusiestPortsHeld) + "\n/\n" + o.m(metrics.BudgetEffectivePorts)
	case SpaceProbability:
		return o.m(metrics.ExhaustionProbability, fmt.Sprintf(`horizon="%s"`, o.PageHorizon)) + " >= " + number(o.Thresholds.PageClear)
	case NodeProbability:
		return perNode("max", o.m(metrics.ExhaustionProbability, matchers...), horizon)
	case NodeHeld:
		return perNode("sum", o.m(metrics.PortsHeld))
	case PoolHeld:
		return o.overPool("sum", o.use(NodeHeld))
	case PoolOpened:
		return o.overPool("sum", "rate("+o.m(metrics.FlowsOpened)+"[5m])")
	case PoolMean:
		return o.overPool("sum", perNode("sum", o.m(metrics.ForecastPortsMean, matchers...), horizon), horizon)
	case PoolVariance:
		return o.overPool("sum", perNode("sum", o.m(metrics.ForecastPortsVariance, matchers...), horizon), horizon)
	case PoolFill:
		return o.overPool("max", o.use(NodeFill))
	case PoolProbability:
		return o.overPool("max", o.use(NodeProbability, matchers...), horizon)
	case PoolExpected:
		return o.overPool("sum", o.use(NodeProbability, matchers...), horizon)
	}
	return o.defineGateway(name, matchers...)
}

// use names a recorded series in an expression; for a server without recording rules it
// writes out what the series is made of.
func (o Options) use(name string, matchers ...string) string {
	if o.inline {
		return "(" + o.define(name, matchers...) + ")"
	}
	if len(matchers) == 0 {
		return name
	}
	return name + "{" + strings.Join(matchers, ", ") + "}"
}

// useOver is use over a window, such as [10m] and offset 1h.
func (o Options) useOver(name, window, offset string) string {
	if o.inline {
		window += ":1m"
	}
	return o.use(name) + "[" + window + "]" + offset
}
