// Package records holds what rules add up over nodes, pools and gateways, and record.
package records

import (
	"fmt"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
)

// Record is one recording rule.
type Record struct {
	Name   string
	Expr   string
	Labels map[string]string
}

// Names of the recorded series, level:metric:operation.
const (
	NodeFill   = "instance:snat_busiest_fill:ratio"
	NodeScarce = "instance:snat_busiest_fill:scarce"
	NodeHeld   = "instance:snat_all_ports_held:avg10m"
	NodeOpened = "instance:snat_flows_opened:rate10m"

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
	gatewayHeldPart    = "gateway:snat_ports_held:part"
	gatewayMeanPart    = "gateway:snat_forecast_ports_mean:part"
	gatewayNodes       = "gateway:snat_ports_held:count"
	GatewayMean        = "gateway:snat_forecast_ports_mean:sum"
	GatewayVariance    = "gateway:snat_forecast_ports_variance:sum"
	gatewaySeldom      = "gateway:snat_forecast_ports_mean:seldom_sum"
	gatewayFar         = "gateway:snat_forecast_ports_mean:far_sum"
	gatewayDeviations  = "gateway:snat_forecast_headroom:deviations"
	gatewayAt          = "gateway:snat_exhaustion_probability:at_horizon"
	GatewayProbability = "gateway:snat_exhaustion_probability:by_horizon"
	GatewayTime        = "gateway:snat_time_to_exhaustion_seconds:median"
)

// Of lists the rules that record the query.Named series.
func Of(o options.Options, names ...string) []Record {
	var out []Record
	for _, n := range names {
		out = append(out, Record{Name: n, Expr: Define(o, n)})
	}
	return out
}

// Define returns what a recorded series is made of, with matchers on the labels of the
// metrics that carry a horizon.
func Define(o options.Options, name string, matchers ...string) string {
	horizon := metrics.LabelHorizon
	switch name {
	case NodeFill: // the fullest port space against its effective ceiling: low source ports have one of their own
		return o.PerNode("max", "\n  "+ofCeiling(o)+"\n  or\n  "+o.Metric(metrics.LowPortsFill)+"\n")
	case NodeScarce:
		return scarce(o)
	case NodeHeld, NodeOpened:
		return TenMinutes(o, name, "")
	case PoolHeld:
		return o.OverPool("sum", o.Metric(metrics.AllPortsHeld))
	case PoolOpened:
		return o.OverPool("sum", "rate("+o.Metric(metrics.FlowsOpened)+"[5m])")
	case PoolMean:
		return o.OverPool("sum", o.Metric(metrics.AllForecastPortsMean, matchers...), horizon)
	case PoolVariance:
		return o.OverPool("sum", o.Metric(metrics.AllForecastPortsVariance, matchers...), horizon)
	case PoolFill:
		return o.OverPool("max", Define(o, NodeFill))
	case PoolProbability:
		return o.OverPool("max", o.Metric(metrics.ExhaustionProbabilityMax, matchers...), horizon)
	case PoolExpected:
		return o.OverPool("sum", o.Metric(metrics.ExhaustionProbabilityMax, matchers...), horizon)
	}
	return defineGateway(o, name, matchers...)
}

// ofCeiling is the most held in one port space against the budget's effective ceiling.
func ofCeiling(o options.Options) string {
	return o.Metric(metrics.BusiestPortsHeld) + " / " + o.Metric(metrics.BudgetEffectivePorts)
}

// scarce is NodeFill where ports are scarce: where the fullest port space holds PageFill of its ceiling, or all but
// PageNear times the square root of it; of low source ports PageFill, which is as many. Few nodes have it, so the rule
// that is evaluated the most often reads little.
func scarce(o options.Options) string {
	return fmt.Sprintf("%s >= 1 - clamp_min(%s / sqrt(%s), %s)\nor\n%s >= %s", ofCeiling(o),
		query.Number(detector.PageNear), o.Metric(metrics.BudgetEffectivePorts), query.Number(1-detector.PageFill),
		o.Metric(metrics.LowPortsFill), query.Number(detector.PageFill))
}

// Use names a recorded series in an expression; for a server without recording rules it
// writes out what the series is made of.
func Use(o options.Options, name string, matchers ...string) string {
	if o.Inline {
		return "(" + Define(o, name, matchers...) + ")"
	}
	return o.Recorded(name, matchers...)
}

// LastTenMinutes is NodeHeld or NodeOpened up to an offset, as it was recorded last. Without a range Prometheus forgets
// it a minute after an evaluation that was missed, and an alert that waits for a quarter of an hour waits anew.
func LastTenMinutes(o options.Options, name, offset string) string {
	if o.Inline {
		return "(" + TenMinutes(o, name, offset) + ")"
	}
	return fmt.Sprintf("max by (%s) (last_over_time(%s[%s]%s))", o.Agent(metrics.LabelBudget, metrics.LabelProtocol),
		Use(o, name), overMissed(o), offset)
}

// TenMinutes is NodeHeld or NodeOpened in the ten minutes up to an offset.
func TenMinutes(o options.Options, name, offset string) string {
	if name == NodeHeld {
		return o.PerNode("sum", "avg_over_time("+o.Metric(metrics.AllPortsHeld)+"[10m]"+offset+")")
	}
	return o.PerNode("sum", "rate("+o.Metric(metrics.FlowsOpened)+"[10m]"+offset+")")
}
