package rules

import (
	"fmt"
	"strings"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// Names of the recorded series, level:metric:operation.
const (
	nodeFill        = "instance:snat_busiest_fill:ratio"
	nodeProbability = "instance:snat_exhaustion_probability:max"
	nodeHeld        = "instance:snat_ports_held:sum"

	poolHeld        = "pool:snat_ports_held:sum"
	poolOpened      = "pool:snat_flows_opened:rate5m"
	poolMean        = "pool:snat_forecast_ports_mean:sum"
	poolVariance    = "pool:snat_forecast_ports_variance:sum"
	poolFill        = "pool:snat_busiest_fill:max"
	poolProbability = "pool:snat_exhaustion_probability:max"
	poolExpected    = "pool:snat_nodes_exhausted:expected"

	gatewayPorts       = "gateway:snat_budget_effective_ports:max"
	gatewayHeld        = "gateway:snat_ports_held:sum"
	gatewayUnseen      = "gateway:snat_folded_ports_held_max:sum"
	gatewayOpened      = "gateway:snat_flows_opened:rate5m"
	gatewayMean        = "gateway:snat_forecast_ports_mean:sum"
	gatewayVariance    = "gateway:snat_forecast_ports_variance:sum"
	gatewayDeviation   = "gateway:snat_forecast_ports_deviation:sum"
	gatewayAt          = "gateway:snat_exhaustion_probability:at_horizon"
	gatewayProbability = "gateway:snat_exhaustion_probability:by_horizon"
	gatewayTime        = "gateway:snat_time_to_exhaustion_seconds:median"
)

// nodeRecords are what alerts and boards read per node: a thousandth of the series they
// are made from.
func (o Options) nodeRecords() []Record {
	return o.records(nodeFill, nodeProbability, nodeHeld)
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
	case nodeFill: // the fullest port space against the effective ceiling
		return o.m(metrics.BusiestPortsHeld) + "\n/\n" + o.m(metrics.BudgetEffectivePorts)
	case nodeProbability:
		return perNode("max", o.m(metrics.ExhaustionProbability, matchers...), horizon)
	case nodeHeld:
		return perNode("sum", o.m(metrics.PortsHeld))
	case poolHeld:
		return o.overPool("sum", o.use(nodeHeld))
	case poolOpened:
		return o.overPool("sum", "rate("+o.m(metrics.FlowsOpened)+"[5m])")
	case poolMean:
		return o.overPool("sum", perNode("sum", o.m(metrics.ForecastPortsMean, matchers...), horizon), horizon)
	case poolVariance:
		return o.overPool("sum", perNode("sum", o.m(metrics.ForecastPortsVariance, matchers...), horizon), horizon)
	case poolFill:
		return o.overPool("max", o.use(nodeFill))
	case poolProbability:
		return o.overPool("max", o.use(nodeProbability, matchers...), horizon)
	case poolExpected:
		return o.overPool("sum", o.use(nodeProbability, matchers...), horizon)
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
