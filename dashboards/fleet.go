package dashboards

import (
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules"
)

// fleet is pools, VIPs, tiers and shared gateways: what to buy, and what not.
func fleet(o rules.Options) board {
	t := o.Thresholds
	info := budgetInfo(o)
	// A machine's exporters share its address, not the port: IPv6 in brackets.
	machine := o.ClusterLabel + ", host"
	host := func(expr string) string {
		return "label_replace(" + expr + ", \"host\", \"$1\", \"instance\", \"(.+?)(:[0-9]+)?\")"
	}
	on := "on (" + o.ClusterLabel + ", job, instance, budget) group_left (pool, model)"
	return board{
		uid: rules.BoardFleet, title: "snatwatch / Fleet",
		description: "Pools, VIPs, tiers and shared gateways side by side, and whether they are the right size.",
		rows: []row{
			{"Pools", []panel{
				{
					id: 41, title: "Which pool is closest to exhaustion?", unit: "percentunit", min: ptr(0), max: ptr(1), thresholds: []float64{t.PageClear, t.Page},
					description: "Probability within " + o.PageHorizon + " on the most endangered node of each pool.",
					queries:     []query{{expr: ofPool(o, rules.PoolProbability, at(o.PageHorizon)), legend: "{{pool}} {{budget}} {{protocol}}"}},
				},
				{
					id: 42, title: "How many nodes will be exhausted?", unit: "short", min: ptr(0),
					description: "Expected number of exhausted nodes by horizon: the sum of the nodes' probabilities.",
					queries:     []query{{expr: ofPool(o, rules.PoolExpected), legend: "{{pool}} {{budget}} {{protocol}} {{horizon}}"}},
				},
				{
					id: 43, title: "How many ports does each pool hold, and will hold?", unit: "short", min: ptr(0),
					description: "Ports held by all nodes of a pool, and the forecast for " + o.PageHorizon + " with its standard deviation.",
					queries: []query{
						{expr: ofPool(o, rules.PoolHeld), legend: "held {{pool}} {{budget}} {{protocol}}"},
						{expr: ofPool(o, rules.PoolMean, at(o.PageHorizon)), legend: "forecast {{pool}} {{budget}} {{protocol}}"},
						{expr: "sqrt(" + ofPool(o, rules.PoolVariance, at(o.PageHorizon)) + ")", legend: "deviation {{pool}} {{budget}} {{protocol}}"},
					},
				},
				{
					id: 44, title: "Which pool opens the most flows?", unit: "reqps", min: ptr(0),
					description: "Flows opened per second by all nodes of a pool.",
					queries:     []query{{expr: ofPool(o, rules.PoolOpened), legend: "{{pool}} {{budget}} {{protocol}}"}},
				},
			}},
			{"Tiers and VIPs", []panel{
				{
					id: rules.PanelFleetTiers, kind: rowsOf, height: 7, title: "Which pool is near a tier's edge?", unit: "short",
					description: "Pool size, VIPs, nodes that can be added before every node's share shrinks, and the ports after that.",
					queries: []query{
						{expr: by("max", "pool, budget, model", sel(o, metrics.PoolNodes)+" * "+on+" "+info), instant: true},
						{expr: by("max", "pool, budget, model", sel(o, metrics.VIPs)+" * "+on+" "+info), instant: true},
						{expr: by("min", "pool, budget, model", sel(o, metrics.PoolNodesToNextTier)+" * "+on+" "+info), instant: true},
						{expr: by("max", "pool, budget, model", sel(o, metrics.NextTierPorts)+" * "+on+" "+info), instant: true},
						{expr: by("max", "pool, budget, model", sel(o, metrics.PoolStale)+" * "+on+" "+info), instant: true},
					},
					columns: []column{
						{label: "pool", title: "Pool"},
						{label: "budget", title: "Budget"},
						{label: "model", title: "Model"},
						{label: "Value #A", title: "Nodes"},
						{label: "Value #B", title: "VIPs"},
						{label: "Value #C", title: "Nodes to the edge", thresholds: []float64{t.TierNodes}, worstIsLow: true},
						{label: "Value #D", title: "Ports after it"},
						{label: "Value #E", title: "Size is stale", thresholds: []float64{1}},
					},
				},
				{
					id: 51, title: "Did we buy nodes for their ports?", unit: "percentunit", min: ptr(0),
					description: "Fill of each pool's most loaded node beside the mean CPU of its nodes (from node_exporter, where it runs on the same machines). Full ports and idle CPU mean nodes bought for ports: a VIP is cheaper.",
					queries: []query{
						{expr: ofPool(o, rules.PoolFill), legend: "ports {{pool}} {{budget}} {{protocol}}"},
						{expr: "avg by (pool) (\n  (1 - " + by("avg", machine, host("rate(node_cpu_seconds_total{mode=\"idle\", "+o.ClusterLabel+"=~\"$cluster\"}[$__rate_interval])")) + ")\n" +
							"  * on (" + machine + ") group_right () " + by("max", machine+", pool", host(info)) + "\n)", legend: "CPU {{pool}}"},
					},
				},
				{
					id: 52, title: "What is each node's budget?", unit: "short", min: ptr(0),
					description: "Ports in each port space of a node, by pool; a step is a tier crossed or a VIP added.",
					queries:     []query{{expr: by("min", "pool, budget, protocol", sel(o, metrics.BudgetPorts)+" * "+on+" "+info), legend: "{{pool}} {{budget}} {{protocol}}"}},
				},
			}},
			{"Shared gateways", []panel{
				{
					id: rules.PanelFleetGateway, title: "Will a shared gateway run out?", unit: "percentunit", min: ptr(0), max: ptr(1), thresholds: []float64{t.PageClear, t.Page},
					description: "Probability that all nodes behind a gateway together reach its ceiling at a destination within " + o.PageHorizon + ", from the sum of their forecasts.",
					queries:     []query{{expr: "topk(10, " + ofGateway(o, rules.GatewayProbability, at(o.PageHorizon)) + ")", legend: "{{gateway}} {{budget}} {{destination}} {{protocol}}"}},
				},
				{
					id: 61, title: "When does it run out?", unit: "s", min: ptr(0), worstIsLow: true, thresholds: []float64{300, 3600},
					description: "Where the sum of the forecasts crosses the gateway's ceiling.",
					queries:     []query{{expr: "bottomk(10, " + ofGateway(o, rules.GatewayTime) + " < +Inf)", legend: "{{gateway}} {{budget}} {{destination}} {{protocol}}"}},
				},
				{
					id: 62, title: "How many ports do all nodes hold at a gateway?", unit: "short", min: ptr(0),
					description: "Sum over nodes for the ten fullest destinations, the ceiling, and what a destination may hold beyond that on nodes that do not show it.",
					queries: []query{
						{expr: "topk(10, " + ofGateway(o, rules.GatewayHeld) + ")", legend: "{{gateway}} {{destination}} {{protocol}}"},
						{expr: ofGateway(o, rules.GatewayPorts), legend: "ceiling {{gateway}} {{protocol}}"},
						{expr: ofGateway(o, rules.GatewayUnseen), legend: "may hide {{gateway}} {{protocol}}"},
					},
				},
				{
					id: 63, title: "How many flows open at a gateway?", unit: "reqps", min: ptr(0),
					description: "Flows opened per second by all nodes behind a gateway.",
					queries:     []query{{expr: ofGateway(o, rules.GatewayOpened), legend: "{{gateway}} {{budget}} {{protocol}}"}},
				},
			}},
		},
	}
}
