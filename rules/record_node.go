package rules

import (
	"fmt"

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
	return []Record{
		// Fill of the fullest port space against the effective ceiling.
		{Name: nodeFill, Expr: o.m(metrics.BusiestPortsHeld) + "\n/\n" + o.m(metrics.BudgetEffectivePorts)},
		{Name: nodeProbability, Expr: fmt.Sprintf("max by (%s) (%s)",
			o.agent(metrics.LabelBudget, metrics.LabelProtocol, metrics.LabelHorizon), o.m(metrics.ExhaustionProbability))},
		{Name: nodeHeld, Expr: fmt.Sprintf("sum by (%s) (%s)",
			o.agent(metrics.LabelBudget, metrics.LabelProtocol), o.m(metrics.PortsHeld))},
	}
}
