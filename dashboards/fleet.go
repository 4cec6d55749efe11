package dashboards

import (
	"fmt"
	"strings"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/alerts/pages"
	"github.com/snatwatch/snatwatch/rules/records"
)

// fleet is pools, VIPs, tiers and shared gateways: what to buy, and what not.
func fleet(o rules.Options) board {
	return board{
		uid: alerts.BoardFleet, title: "snatwatch / Fleet",
		description: "Pools, VIPs, tiers and shared gateways side by side, and whether they are the right size.",
		worst: []worst{
			worstPools(o), likelyPools(o), holdingPools(o), edgePools(o),
			likelyGateways(o), soonGateways(o), fullestGateways(o), limitedGateways(o),
		},
		rows: []row{
			{"Pools", fleetPools(o)},
			{"Tiers and VIPs", fleetTiers(o)},
			{"Shared gateways", fleetGateways(o)},
		},
	}
}

func fleetPools(o rules.Options) []panel {
	t := o.Thresholds
	told := "{{budget}} {{protocol}} {{pool}} {{" + o.ClusterLabel + "}}"
	fullest := "\nand " + on(o, pool) + " topk(1, max_over_time(" + ofPool(o, records.PoolFill) + "[$__range] @ end()))"
	ago := func(name string) string {
		return "max without (horizon) (" + ofPool(o, name, at(o.PageHorizon)) + " offset " + o.PageHorizon + ")"
	}
	band := func(sign string) string {
		return "clamp_min(max((" + ago(records.PoolMean) + " " + sign + " 1.645 * sqrt(" + ago(records.PoolVariance) +
			"))" + fullest + "), 0)"
	}
	few, holding := likelyPools(o), holdingPools(o)
	likely := func(of, _ func(series string) string) string {
		return of(sel(o, metrics.ExhaustionProbabilityMax, at(o.PageHorizon), few.clusters(o)))
	}
	const pools = " It is recorded by pool every four minutes and lags by as much; Node and Job do not narrow it."
	return []panel{
		poolsNow(o),
		{
			id: 41, title: "How close was each pool to exhaustion?", unit: share, min: ptr(0), max: ptr(1),
			thresholds: []float64{t.PageClear, t.Page}, coarse: true,
			description: "Probability within " + o.PageHorizon + " on the most endangered node of each pool: the eight highest.",
			queries:     []query{{peaksOfPools(o, few, "max", likely), told}},
		},
		{
			id: 42, title: "How many nodes were to be exhausted within " + o.TicketHorizon + "?", unit: countOf, min: ptr(0),
			coarse: true, expected: true,
			description: "Expected number of exhausted nodes of each pool, the sum of the nodes' probabilities: " +
				"the eight highest.",
			queries: []query{{
				peaksOfPools(o, few, "sum", once(o, metrics.ExhaustionProbabilityMax, at(o.TicketHorizon), few.clusters(o))), told,
			}},
		},
		{
			id: 43, title: "How many ports does each pool hold?", unit: countOf, log: true, coarse: true,
			description: "Ports held by all nodes of a pool: the eight pools that held most.",
			queries:     []query{{peaksOfPools(o, holding, "sum", once(o, metrics.AllPortsHeld, holding.clusters(o))), told}},
		},
		{
			id: 45, title: "Did the forecast of " + o.PageHorizon + " before come true?", unit: countOf, min: ptr(0),
			bandLow: "low", bandHigh: "high", none: needsRules,
			description: "Ports held by the pool whose node was fullest, and the forecast made of each moment " +
				o.PageHorizon + " before it, with the band that holds nine outcomes of ten if nodes are independent." + pools,
			queries: []query{
				{ofPool(o, records.PoolHeld) + fullest, "held " + told},
				{ago(records.PoolMean) + fullest, "forecast " + told},
				{band("-"), "low"},
				{band("+"), "high"},
			},
		},
		{
			id: 44, width: 24, title: "Which pool opens the most flows?", unit: perSecond, min: ptr(0), none: needsRules,
			description: "Flows opened per second by all nodes of a pool: the eight that opened most." + pools,
			queries:     []query{{peaks(o, pool, ofPool(o, records.PoolOpened)), told}},
		},
	}
}

// once is what nodes tell by agent, budget and protocol, to be added up.
func once(o rules.Options, name metrics.Name, more ...string) func(of, still func(series string) string) string {
	return func(of, _ func(series string) string) string {
		return by(o, "max", agentBudget, of(sel(o, name, more...)))
	}
}

// worstPools are the twenty that poolsNow is of, as their worst node is. One selector reads both series of a node.
func worstPools(o rules.Options) worst {
	return worst{"worst_pools", "pool", "topk(20, " + ofPoolNow(o, "max", by(o, "sum", agentBudget, ofNode(o, "",
		fmt.Sprintf(`__name__=~"%s|%s"`, metrics.ExhaustionProbabilityMax, records.NodeFill),
		fmt.Sprintf(`horizon=~"%s|"`, o.PageHorizon)))) + ")"}
}

// likelyPools and holdingPools are those that graphs choose theirs from: where what they draw was highest, as recorded
// in the time range, and where it is now.
func likelyPools(o rules.Options) worst {
	return worst{"likely_pools", "pool", strings.Join([]string{
		peakPools(o, records.PoolProbability, at(o.PageHorizon)), peakPools(o, records.PoolExpected, at(o.TicketHorizon)),
		poolsOfNow(o, "max", metrics.ExhaustionProbabilityMax, at(o.PageHorizon)),
	}, "\nor\n")}
}

func holdingPools(o rules.Options) worst {
	return worst{"holding_pools", "pool", peakPools(o, records.PoolHeld) + "\nor\n" +
		poolsOfNow(o, "sum", metrics.AllPortsHeld)}
}

func peakPools(o rules.Options, name string, more ...string) string {
	return "topk(8, " + by(o, "max", pool, "max_over_time("+ofPool(o, name, more...)+"[$__range])") + ")"
}

func poolsOfNow(o rules.Options, op string, name metrics.Name, more ...string) string {
	return "topk(8, " + ofPoolNow(o, op, by(o, "max", agentBudget, sel(o, name, more...))) + ")"
}

// poolsNow is what pools are now, from what their nodes tell: what is recorded lags.
func poolsNow(o rules.Options) panel {
	t := o.Thresholds
	few := worstPools(o).matcher(o)
	node := func(op string, name metrics.Name, more ...string) string {
		return by(o, op, agentBudget, sel(o, name, append(more, worstPools(o).clusters(o))...))
	}
	ofPool := func(op, expr string) query { return query{ofPoolNow(o, op, expr, few), ""} }
	return panel{
		id: 46, kind: rowsOf, title: "Which pool is closest to exhaustion?", unit: countOf, sortBy: leftColumn,
		description: "Of the twenty pools that are likeliest to run out, and the fullest of those that are as likely, and " +
			"of pools of the same names in their clusters: the shortest median time that is left on a node, the highest " +
			"probability by two horizons, the fill of the fullest node, nodes, and the ports that all hold.",
		queries: []query{
			ofPool("min", "clamp_max("+node("min", metrics.SoonestExhaustion)+", "+pastHour+")"),
			ofPool("max", node("max", metrics.ExhaustionProbabilityMax, at(o.PageHorizon))),
			ofPool("max", node("max", metrics.ExhaustionProbabilityMax, at(o.TicketHorizon))),
			ofPool("max", fillOfNode(o, atStep, atStep, worstPools(o).clusters(o))),
			ofPool("count", node("max", metrics.BudgetEffectivePorts)),
			ofPool("sum", node("max", metrics.AllPortsHeld)),
		},
		columns: []column{
			{label: "pool", title: "Pool", width: 300},
			{
				label: "Value #A", title: leftColumn, width: 130, unit: period, thresholds: []float64{300, 3600},
				worstIsLow: true, mappings: timeLeft,
			},
			{
				label: "Value #B", title: "Within " + o.PageHorizon, width: 110, unit: share,
				thresholds: []float64{t.PageClear, t.Page},
			},
			{
				label: "Value #C", title: "Within " + o.TicketHorizon, width: 110, unit: share,
				thresholds: []float64{t.TicketClear, t.Ticket},
			},
			{label: "Value #D", title: fillColumn, width: 200, unit: share, thresholds: []float64{filling, full}, gauge: true},
			{label: "Value #E", title: "Nodes", width: 90},
			{label: "Value #F", title: "Held by all", width: 120},
			{label: "budget", title: "Budget", width: 150},
			{label: "protocol", title: "Protocol", width: 90},
			{label: o.ClusterLabel, title: "Cluster"},
		},
	}
}

// edgePools are the twenty that are nearest to a tier's edge.
func edgePools(o rules.Options) worst {
	return worst{"edge_pools", "pool", "bottomk(20, " + by(o, "min", "pool, budget", sel(o, metrics.PoolNodesToNextTier)+
		" * "+on(o, agent+", budget")+" group_left (pool) "+budgetInfo(o)) + ")"}
}

func fleetTiers(o rules.Options) []panel {
	t := o.Thresholds
	few := edgePools(o)
	join := " * " + on(o, agent+", budget") + " group_left (pool, model) " + budgetInfo(o, few.matcher(o))
	tier := func(op, expr string) query { return query{by(o, op, "pool, budget, model", expr+join), ""} }
	sel := func(name metrics.Name) string { return sel(o, name, few.clusters(o)) }
	// Pools whose budget has no tiers have no edge: they would come first, all of them red.
	tiered := func(name metrics.Name) query {
		return tier("max", "("+sel(name)+" and "+on(o, agent+", budget")+" "+sel(metrics.PoolNodesToNextTier)+")")
	}
	return []panel{
		{
			id: alerts.PanelFleetTiers, kind: rowsOf, height: 7, title: "Which pool is near a tier's edge?", unit: countOf,
			sortBy: "Nodes to the edge", none: "no budget has tiers",
			description: "Pool size, VIPs, nodes that can be added before every node's share shrinks, and the ports after " +
				"that, of the twenty pools that are nearest to it, and of pools of the same names. Pools whose budget has no " +
				"tiers are not here.",
			queries: []query{
				tiered(metrics.PoolNodes), tiered(metrics.VIPs),
				tier("min", sel(metrics.PoolNodesToNextTier)),
				tier("max", sel(metrics.NextTierPorts)), tiered(metrics.PoolStale),
			},
			columns: []column{
				{label: "pool", title: "Pool", width: 220},
				{label: "Value #C", title: "Nodes to the edge", width: 155, thresholds: []float64{t.TierNodes}, worstIsLow: true},
				{label: "Value #A", title: "Nodes", width: 100},
				{label: "Value #D", title: "Ports after it", width: 130},
				{label: "Value #B", title: "VIPs", width: 80},
				{label: "Value #E", title: "Size is stale", width: 120, thresholds: []float64{1}, mappings: yesNo},
				{label: "budget", title: "Budget", width: 150},
				{label: "model", title: "Model", width: 180},
				{label: o.ClusterLabel, title: "Cluster"},
			},
		},
		poolBudgets(o),
		boughtNodes(o),
	}
}

// poolBudgets is what each node of the worst pools may hold.
func poolBudgets(o rules.Options) panel {
	ports := func(offset string) query {
		return query{by(o, "min", pool+", model", sel(o, metrics.BudgetPorts, worstPools(o).clusters(o))+offset+" * "+
			on(o, agent+", budget")+" group_left (pool, model) "+budgetInfo(o, worstPools(o).matcher(o))), ""}
	}
	return panel{
		id: 52, kind: rowsOf, width: 12, height: 8, title: "What is each node's budget, now and an hour ago?",
		unit: countOf, sortBy: "Ports",
		description: "Ports in each port space of a node, the least over the nodes of each pool of the first table, now " +
			"and an hour ago; a change is a tier crossed, a VIP added or another config.",
		queries: []query{ports(""), ports(" offset 1h")},
		columns: []column{
			{label: "pool", title: "Pool", width: 220},
			{label: "Value #A", title: "Ports", width: 110, worstIsLow: true},
			{label: "Value #B", title: "An hour ago", width: 110},
			{label: "budget", title: "Budget", width: 150},
			{label: "protocol", title: "Protocol", width: 90},
			{label: "model", title: "Model", width: 180},
			{label: o.ClusterLabel, title: "Cluster"},
		},
	}
}

// boughtNodes compares how full the ports of the worst pools are with how busy their processors are.
func boughtNodes(o rules.Options) panel {
	few := worstPools(o).matcher(o)
	// A machine's exporters share its address, not the port: IPv6 in brackets.
	machine := o.ClusterLabel + ", host"
	host := func(expr string) string {
		return "label_replace(" + expr + ", \"host\", \"$1\", \"instance\", \"(.+?)(:[0-9]+)?\")"
	}
	cpu := "1 - avg by (" + machine + ") (" +
		host("rate("+series("node_cpu_seconds_total", `mode="idle"`, o.ClusterLabel+`=~"$cluster"`,
			worstPools(o).clusters(o))+"[5m])") + ")"
	return panel{
		id: 51, kind: rowsOf, width: 12, height: 8, title: "Did we buy nodes for their ports?", unit: share,
		sortBy: "Ports", none: needsRules,
		description: "Of the pools of the first table: fill of the most loaded node, its peak of the time range, beside " +
			"the mean CPU of their nodes in five minutes (from node_exporter, where it runs on the same machines). Full " +
			"ports and idle CPU mean nodes bought for ports: a VIP is cheaper. Node and Job do not narrow it.",
		queries: []query{
			{by(o, "max", "pool", "max_over_time("+ofPool(o, records.PoolFill, few)+"[$__range])"), ""},
			{"avg by (" + o.ClusterLabel + ", pool) (\n  (" + cpu + ")\n  * on (" + machine + ") group_right () max by (" +
				machine + ", pool) (" + host(budgetInfo(o, few)) + ")\n)", ""},
		},
		columns: []column{
			{label: "pool", title: "Pool", width: 220},
			{label: "Value #A", title: "Ports", width: 200, unit: share, thresholds: []float64{filling, full}, gauge: true},
			{label: "Value #B", title: "CPU", width: 200, unit: share, thresholds: []float64{2}, gauge: true},
			{label: o.ClusterLabel, title: "Cluster"},
		},
	}
}

// inAll is the share that all nodes behind a gateway hold of its limit on all flows together: the eight fullest. The
// limit, and which node is behind which gateway, hardly move. few are those that are read.
func inAll(o rules.Options, few worst) string {
	limits := atEnd(sel(o, metrics.BudgetAllPorts, few.clusters(o)))
	of := func(op, expr string) string {
		return by(o, op, "budget, gateway", "("+expr+")\n* "+on(o, agent+", budget")+" group_left (gateway) topk by ("+
			o.ClusterLabel+", "+agent+", budget) (1, "+atEnd(sel(o, metrics.BudgetInfo, `scope="shared"`,
			few.matcher(o)))+")")
	}
	share := func(held string) string {
		return of("sum", by(o, "max", agentBudget, held+"\nand "+on(o, agentBudget)+" "+limits)) + "\n/ " +
			on(o, "budget, gateway") + " " + of("max", by(o, "max", agentBudget, limits))
	}
	held := sel(o, metrics.AllPortsHeld, few.clusters(o))
	return share(held) + "\nand " + on(o, "budget, gateway") + "\ntopk(8, " + share(held+" @ end()") + ")"
}

// limitedGateways are the gateways that inAll is of. Each node takes its share of a limit that all of them tell.
func limitedGateways(o rules.Options) worst {
	held, limit := by(o, "max", agentBudget, sel(o, metrics.AllPortsHeld)), by(o, "max", agentBudget,
		sel(o, metrics.BudgetAllPorts))
	return worst{"limited_gateways", "gateway", "topk(8, " + by(o, "sum", "budget, gateway", held+" / "+limit+" * "+on(o,
		agent+", budget")+" group_left (gateway) "+budgetInfo(o, `scope="shared"`)) + ")"}
}

// The gateways, and at each the destinations, that were worst in the time range: the eight likeliest to run out, the
// eight that came closest to it, and the eight fullest. more are matchers of gateways, of these eight.
func likeliest(o rules.Options, more ...string) string {
	return "topk(8, " + by(o, "max", shared, "max_over_time("+ofGateway(o, records.GatewayProbability,
		append([]string{at(o.PageHorizon)}, more...)...)+"[$__range] @ end())") + ")"
}

func closest(o rules.Options, more ...string) string {
	return "bottomk(8, " + by(o, "max", shared, "min_over_time("+ofGateway(o, records.GatewayTime, more...)+
		"[$__range] @ end())") + " < +Inf)"
}

func fullest(o rules.Options, more ...string) string {
	return "topk(8, " + by(o, "max", shared, "max_over_time("+ofGateway(o, records.GatewayHeld, more...)+
		"[$__range] @ end())") + " / " + on(o, gateway) + " group_left () " + by(o, "max", gateway,
		ofGateway(o, records.GatewayPorts, more...)+" @ end()") + ")"
}

func likelyGateways(o rules.Options) worst { return worst{"likely_gateways", "gateway", likeliest(o)} }

func soonGateways(o rules.Options) worst { return worst{"soon_gateways", "gateway", closest(o)} }

func fullestGateways(o rules.Options) worst { return worst{"fullest_gateways", "gateway", fullest(o)} }

func fleetGateways(o rules.Options) []panel {
	t := o.Thresholds
	endangered := likeliest(o, likelyGateways(o).matcher(o))
	soon, crowded := soonGateways(o), fullestGateways(o)
	told := "{{destination}} {{protocol}} {{budget}} {{gateway}} {{" + o.ClusterLabel + "}}"
	likely := ofGateway(o, records.GatewayProbability, at(o.PageHorizon), likelyGateways(o).matcher(o))
	unseen := ofGateway(o, records.GatewayUnseen)
	ceiling := " / " + on(o, gateway) + " group_left () " + ofGateway(o, records.GatewayPorts)
	soonest, fullest := closest(o, soon.matcher(o)), fullest(o, crowded.matcher(o))
	const gateways = " Pool, Node and Job do not narrow it: it is recorded by gateway, every minute or two."
	return []panel{
		{
			id: alerts.PanelFleetGateway, title: "Will a shared gateway run out?", unit: share, min: ptr(0), max: ptr(1),
			thresholds: []float64{t.PageClear, t.Page}, none: "no gateway is shared, or: " + needsRules,
			description: "Probability that all nodes behind a gateway together reach its ceiling at a destination within " +
				o.PageHorizon + ", from the sum of their forecasts: the eight highest." + gateways,
			queries: []query{{likely + "\nand " + on(o, shared) + " " + endangered, told}},
		},
		{
			id: 61, coarse: true, title: "When does a gateway run out?", unit: period, min: ptr(0), worstIsLow: true,
			thresholds: []float64{300, 3600}, none: "Nothing runs out within the hour, or: " + needsRules,
			description: "Where the sum of the forecasts crosses the gateway's ceiling: the eight soonest. There is no line " +
				"while nothing runs out within the longest horizon, nor at 0 while its nodes hold less than the ceiling." +
				gateways,
			queries: []query{{
				"(" + leftBehind(o, atEnd, soonest, soon) + ") < +Inf\nand " + on(o, shared) + " " + soonest, told,
			}},
		},
		{
			id: 62, coarse: true, title: "How full are gateways, over all nodes?", unit: share, min: ptr(0),
			thresholds: []float64{filling, full}, limits: "may hide", none: "no gateway is shared, or: " + needsRules,
			description: "Ports held by all nodes behind a gateway for the eight fullest destinations, as a share of its " +
				"ceiling: what was recorded within two minutes, within six of nodes that hold little, and no more than the " +
				"fullest port spaces of all these nodes hold together now; and what a destination may hold beyond that on " +
				"nodes that do not show it." + gateways,
			queries: []query{
				{heldBehind(o, atEnd, fullest, crowded) + ceiling + "\nand " + on(o, shared) + " " + fullest, told},
				{
					unseen + ceiling + "\nand " + on(o, gateway) + " topk(8, max_over_time(" + unseen + "[$__range] @ end()))",
					"may hide {{protocol}} {{gateway}} {{" + o.ClusterLabel + "}}",
				},
			},
		},
		fleetTotal(o),
		{
			id: 63, width: 24, title: "How many flows open at a gateway?", unit: perSecond, min: ptr(0),
			none:        "no gateway is shared, or: " + needsRules,
			description: "Flows opened per second by all nodes behind a gateway: the eight highest." + gateways,
			queries: []query{{
				peaks(o, gateway, ofGateway(o, records.GatewayOpened)),
				"{{protocol}} {{budget}} {{gateway}} {{" + o.ClusterLabel + "}}",
			}},
		},
	}
}

// fleetTotal is for gateways with a limit on all their flows together.
func fleetTotal(o rules.Options) panel {
	total := inAll(o, limitedGateways(o))
	return panel{
		id: alerts.PanelFleetTotal, title: "How much of its limit on all flows does a gateway take?", unit: share,
		min: ptr(0), coarse: true, thresholds: []float64{pages.TotalClear, pages.TotalFull},
		none: "no gateway with a limit on all flows together",
		description: "Ports held by all nodes behind a gateway, for all destinations and both protocols, as a share of " +
			"what the gateway takes in all: the eight fullest. Azure's, Huawei's, Alibaba's and Tencent's have such a limit.",
		queries: []query{{total, "{{budget}} {{gateway}} {{" + o.ClusterLabel + "}}"}},
	}
}
