package dashboards

import (
	"fmt"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules"
	"github.com/snatwatch/snatwatch/rules/alerts"
)

// node is one node's port spaces.
func node(o rules.Options) board {
	b := board{
		uid: alerts.BoardNode, title: "snatwatch / Node", one: true, starts: "destination",
		description: "One node's port spaces: fill and forecast, what would help, hold times, arrivals, failures and the " +
			"table's edge. Choose the node above.",
		rows: []row{
			{"Ports", nodePorts(o)},
			{"Hold times and arrivals", nodeFlows(o)},
			{"Failures and the table's edge", nodeFailures(o)},
		},
	}
	for _, r := range b.rows {
		for _, p := range r.panels {
			for i := range p.queries {
				p.queries[i].expr = ofOne(p.queries[i].expr)
			}
		}
	}
	return b
}

// named matches the port spaces that have series of their own.
const named = `destination!="other"`

// heldNow are the ports held of each of them.
func heldNow(o rules.Options) string { return sel(o, metrics.PortsHeld, named) }

// fillOf is what each of them holds as a share of its effective ceiling: of low source ports as agents tell it, as they
// are fewer than the budget's. of writes the series.
func fillOf(o rules.Options, of func(series string) string) string {
	return "(" + of(sel(o, metrics.LowPortsFill)) + " or " + on(o, space) + " " + of(heldNow(o)) + " / " +
		on(o, agentBudget) + " group_left () " + by(o, "max", agentBudget, sel(o, metrics.BudgetEffectivePorts)) + ")"
}

// ceilingOf is the effective ceiling of the port spaces that which keeps.
func ceilingOf(o rules.Options, which string) string {
	return "max(" + by(o, "max", space, heldNow(o)) + " / " + by(o, "max", space, sel(o, metrics.LowPortsFill)+" > 0") +
		"\nand " + on(o, space) + " " + which + ")\nor max(" + sel(o, metrics.BudgetEffectivePorts) + "\nand " +
		on(o, agentBudget) + " " + which + ")"
}

// peakFill is the fill of the n port spaces that were fullest in the time range. Those of each step would be other
// ones.
func peakFill(o rules.Options, n int) string {
	return fmt.Sprintf("topk(%d, %s)", n, fillOf(o, func(series string) string {
		return "max_over_time(" + series + "[$__range] @ end())"
	}))
}

// ofFullest keeps those n port spaces.
func ofFullest(o rules.Options, n int) string { return "\nand " + on(o, space) + " " + peakFill(o, n) }

// toldSpace is the legend of a port space.
func toldSpace(o rules.Options) string {
	return "{{destination}} {{protocol}} {{vip}} {{budget}} {{" + o.ClusterLabel + "}}"
}

func nodePorts(o rules.Options) []panel {
	t := o.Thresholds
	cluster := " {{" + o.ClusterLabel + "}}"
	within := []query{}
	for _, h := range metrics.HorizonValues() {
		within = append(within, query{by(o, "max", "", sel(o, metrics.ExhaustionProbabilityMax, at(h))), "within " +
			h + cluster})
	}
	urgency := sel(o, metrics.PageUrgency, at(o.PageHorizon))
	within = append(within, query{by(o, "max", "", urgency), "urgency of the page" + cluster})
	return []panel{
		{
			id: alerts.PanelNodeHeld, title: "How full is each destination's port space?", unit: share, min: ptr(0),
			thresholds: []float64{filling, full},
			description: "Ports held, live and cooling, of the eight port spaces that were fullest in the time range, as a " +
				"share of the effective ceiling. At 100 % new flows to that destination fail. The ports themselves stand " +
				"in the table below.",
			queries: []query{{fillOf(o, atStep) + ofFullest(o, 8), toldSpace(o)}},
		},
		{
			id: alerts.PanelNodeProbability, title: "How likely is exhaustion, and by when?", unit: share,
			thresholds: []float64{t.PageClear, t.Page}, min: ptr(0), max: ptr(1),
			description: "The highest probability over destinations that the effective ceiling is reached by each horizon. " +
				pageRaised(o) + "It is cleared when that probability has been below the orange line for a while.",
			queries: within,
		},
		nodeSpaces(o),
		nodeForecast(o),
		nodeTime(o),
		{
			id: 113, title: "Are ports live or cooling?", unit: countOf, min: ptr(0),
			description: "Ports of open flows, and ports waiting for their cool-down, over all destinations. Many cooling " +
				"ones mean many short flows: reuse connections.",
			queries: []query{
				{by(o, "sum", "protocol", sel(o, metrics.PortsLive)), "live {{protocol}}" + cluster},
				{by(o, "sum", "protocol", sel(o, metrics.PortsCooling)), "cooling {{protocol}}" + cluster},
			},
		},
		nodeMeasures(o),
		nodeOwners(o),
	}
}

// nodeSpaces is the table of the fullest port spaces.
func nodeSpaces(o rules.Options) panel {
	t := o.Thresholds
	held := heldNow(o)
	now := "\nand " + on(o, space) + " topk(10, " + fillOf(o, atStep) + ")"
	cell := func(expr string) query { return query{by(o, "max", space, expr+now), ""} }
	return panel{
		id: 115, kind: rowsOf, height: 10, title: "What does each destination hold, and when does it run out?",
		unit: countOf, sortBy: leftColumn,
		description: "The ten fullest port spaces: the median time that is left, the probability within " + o.PageHorizon +
			", fill of the effective ceiling, ports held, of them by open flows and by flows that ended and cool down, and " +
			"the change in a minute. Many cooling ones mean many short flows: reuse connections.",
		queries: []query{
			cell("clamp_max(" + sel(o, metrics.TimeToExhaustion, named) + ", " + pastHour + ")"),
			cell(sel(o, metrics.ExhaustionProbability, named, at(o.PageHorizon))),
			cell(fillOf(o, atStep)),
			cell(held),
			cell(sel(o, metrics.PortsLive, named)),
			cell(sel(o, metrics.PortsCooling, named)),
			cell(held + " - " + held + " offset 1m"),
		},
		columns: []column{
			{label: "destination", title: "Destination", width: 340},
			{
				label: "Value #A", title: leftColumn, width: 120, unit: period, thresholds: []float64{300, 3600},
				worstIsLow: true, mappings: timeLeftOfSpace,
			},
			{
				label: "Value #B", title: "Within " + o.PageHorizon, width: 100, unit: share,
				thresholds: []float64{t.PageClear, t.Page},
			},
			{label: "Value #C", title: fillColumn, width: 200, unit: share, thresholds: []float64{filling, full}, gauge: true},
			{label: "Value #D", title: "Held", width: 90},
			{label: "Value #E", title: "Live", width: 90},
			{label: "Value #F", title: "Cooling", width: 90},
			{label: "Value #G", title: "In a minute", width: 100},
			{label: "protocol", title: "Protocol", width: 90},
			{label: "vip", title: "VIP", width: 150},
			{label: "budget", title: "Budget", width: 120},
			{label: "instance", title: "Node", width: 260, links: nodeLinks("")[1:]},
			{label: o.ClusterLabel, title: "Cluster"},
		},
	}
}

// nodeForecast draws what was forecast of each moment beside what came.
func nodeForecast(o rules.Options) panel {
	ago := func(name metrics.Name) string {
		return sel(o, name, named, at(o.PageHorizon)) + " offset " + o.PageHorizon
	}
	fullest := ofFullest(o, 1)
	band := func(sign string) string {
		return "clamp_min(max((" + ago(metrics.ForecastPortsMean) + " " + sign + " 1.645 * sqrt(" +
			ago(metrics.ForecastPortsVariance) + "))" + fullest + "), 0)"
	}
	return panel{
		id: 111, title: "Did the forecast of " + o.PageHorizon + " before come true?", unit: countOf, min: ptr(0),
		bandLow: "low", bandHigh: "high", limits: "effective ceiling",
		description: "Ports held of the port space that was fullest in the time range, and the forecast that was " +
			"made of each moment " + o.PageHorizon + " before it, with the band that holds nine outcomes of ten. Where held " +
			"ports leave the band the forecast was wrong: trust it less.",
		queries: []query{
			{heldNow(o) + fullest, "held {{destination}}"},
			{ago(metrics.ForecastPortsMean) + fullest, "forecast {{destination}}"},
			{band("-"), "low"},
			{band("+"), "high"},
			{ceilingOf(o, peakFill(o, 1)), "effective ceiling"},
		},
	}
}

// nodeTime draws how long the port spaces last that came closest to their end.
func nodeTime(o rules.Options) panel {
	left := sel(o, metrics.TimeToExhaustion, named)
	return panel{
		id: 112, title: "When does it run out?", unit: period, min: ptr(0), worstIsLow: true,
		thresholds: []float64{300, 3600}, none: "Nothing runs out within the hour",
		description: "Median time to exhaustion of the eight port spaces that came closest in the time range. There is no " +
			"line while nothing runs out within the longest horizon.",
		queries: []query{{left + " < +Inf\nand " + on(o, space) + " bottomk(8, min_over_time(" + left +
			"[$__range] @ end()) < +Inf)", toldSpace(o)}},
	}
}

// nodeMeasures is what the node's page advises.
func nodeMeasures(o rules.Options) panel {
	return panel{
		id: 116, kind: rowsOf, width: 12, title: "What would help, by how many ports?", unit: countOf,
		sortBy: "Ports gained", none: "nothing is near its end, or: needs a newer agent",
		description: "What the node's page advises for budgets that are near their end: ports that each measure " +
			"adds to a port space.",
		queries: []query{{by(o, "max", agent+", budget, measure", sel(o, metrics.AdvicePorts)), ""}},
		columns: []column{
			{label: "measure", title: "Measure", width: 260},
			{label: "Value", title: "Ports gained", width: 120},
			{label: "budget", title: "Budget", width: 120},
			{label: "instance", title: "Node", width: 270, links: nodeLinks("")[1:]},
			{label: o.ClusterLabel, title: "Cluster"},
		},
	}
}

// nodeOwners says who holds the ports of the exported port spaces.
func nodeOwners(o rules.Options) panel {
	const owned = space + ", owner_kind, owner, owner_container"
	held := by(o, "max", owned, sel(o, metrics.OwnerPortsHeld, `owner!="other"`))
	workload := by(o, "max", agent+", owner_kind, owner, workload", sel(o, metrics.OwnerInfo))
	named := "(" + held + "\n* " + on(o, agent+", owner_kind, owner") + " group_left (workload) " + workload + ")\nor " +
		on(o, owned) + " " + held
	largest := "topk(20, " + named + ")"
	ofSpace := "(" + largest + ")\n/ " + on(o, space) + " group_left () " + by(o, "max", space, sel(o, metrics.PortsHeld))
	return panel{
		id: 117, kind: rowsOf, title: "Who holds the ports?", unit: countOf, sortBy: "Held",
		none: "no owner is known, or: needs a newer agent",
		description: "The twenty owners that hold the most ports of one destination, and their share of the ports that are " +
			"held there: pods, containers, systemd units, processes, or clients of a gateway. Unknown are flows that the " +
			"agent never saw open.",
		queries: []query{{largest, ""}, {ofSpace, ""}},
		columns: []column{
			{label: "owner", title: "Owner", width: 340},
			{label: "Value #A", title: "Held", width: 80},
			{label: "Value #B", title: "Share", width: 80, unit: share},
			{label: "destination", title: "Destination", width: 340},
			{label: "owner_container", title: "Container", width: 140},
			{label: "workload", title: "Workload", width: 140},
			{label: "owner_kind", title: "Kind", width: 90},
			{label: "protocol", title: "Protocol", width: 90},
			{label: "vip", title: "VIP", width: 150},
			{label: "budget", title: "Budget", width: 120},
			{label: "instance", title: "Node", width: 260, links: nodeLinks("")[1:]},
			{label: o.ClusterLabel, title: "Cluster"},
		},
	}
}

func nodeFlows(o rules.Options) []panel {
	cluster := " {{" + o.ClusterLabel + "}}"
	return []panel{
		{
			id: alerts.PanelNodeHoldTimes, kind: density, title: "How long are ports held?", unit: seconds,
			description: "Hold times (lifetime and cool-down) of ports released, as a heat map.",
			queries:     []query{{buckets(o, metrics.HoldSeconds), "{{le}}"}},
		},
		{
			id: 121, kind: density, title: "How long do flows live?", unit: seconds,
			description: "Lifetimes of flows that ended, open to close, as a heat map. When these grow, a destination has " +
				"become slow or connections leak.",
			queries: []query{{buckets(o, metrics.LifetimeSeconds), "{{le}}"}},
		},
		{
			id: 122, title: "How many flows open?", unit: perSecond, min: ptr(0),
			description: "Flows opened per second.",
			queries: []query{{
				by(o, "sum", "budget, protocol", rate(sel(o, metrics.FlowsOpened))),
				"{{budget}} {{protocol}}" + cluster,
			}},
		},
		{
			id: alerts.PanelNodeClosed, title: "How do flows end?", unit: perSecond, min: ptr(0),
			description: "Flows ended per second by reason. idle under TCP: the NAT forgot a flow that the " +
				"application still holds.",
			queries: []query{{
				by(o, "sum", "reason, protocol", rate(sel(o, metrics.FlowsClosed))),
				"{{reason}} {{protocol}}" + cluster,
			}},
		},
		{
			id: 124, kind: rowsOf, title: "Which owner opens the most flows, and how long do they live?", unit: perSecond,
			sortBy: "Opens", none: "no owner is known, or: needs a newer agent",
			description: "The ten owners that open the most flows a second, and how long their latest flows that ended had " +
				"lived. A leak or a slow caller is the one whose flows live long.",
			queries: []query{
				{opensOf(o), ""},
				{by(o, "max", ofOwner, sel(o, metrics.OwnerLifetimeSeconds)) + "\nand " + on(o, ofOwner) + " " + opensOf(o), ""},
			},
			columns: []column{
				{label: "owner", title: "Owner", width: 260},
				{label: "Value #A", title: "Opens", width: 110},
				{label: "Value #B", title: "Mean lifetime", width: 130, unit: seconds},
				{label: "owner_kind", title: "Kind", width: 90},
				{label: "protocol", title: "Protocol", width: 90},
				{label: "budget", title: "Budget", width: 120},
				{label: "instance", title: "Node", width: 260, links: nodeLinks("")[1:]},
				{label: o.ClusterLabel, title: "Cluster"},
			},
		},
	}
}

// ofOwner are the labels of one owner under one budget and protocol.
const ofOwner = agentBudget + ", owner_kind, owner"

// opensOf is how many flows the ten busiest owners open a second.
func opensOf(o rules.Options) string {
	return "topk(10, " + by(o, "max", ofOwner, rate(sel(o, metrics.OwnerFlowsOpened))) + ")"
}

func nodeFailures(o rules.Options) []panel {
	cluster := " {{" + o.ClusterLabel + "}}"
	return []panel{
		{
			id: alerts.PanelNodeFailures, title: "Do opens fail, and why?", unit: perSecond, min: ptr(0),
			none: "no sensor for failures on this node",
			description: "Flows per second that did not open, by cause. ports: for lack of ports; refused: answered by a RST; " +
				"unanswered: no answer although ports were left.",
			queries: []query{{
				by(o, "sum", "cause, protocol", rate(sel(o, metrics.OpenFailures))),
				"{{cause}} {{protocol}}" + cluster,
			}},
		},
		{
			id: 133, title: "How many flows wait for an answer?", unit: countOf, min: ptr(0),
			description: "Flows whose first packet went unanswered and was sent again. They rise some seconds " +
				"before opens fail.",
			queries: []query{{
				by(o, "sum", "budget, protocol", sel(o, metrics.OpeningStalled)),
				"{{budget}} {{protocol}}" + cluster,
			}},
		},
		{
			id: 131, width: 8, title: "Does the kernel drop new flows?", unit: "pps", min: ptr(0),
			none:        "conntrack is not read on this node",
			description: "insert_failed and drop of the kernel's conntrack, on machines that translate themselves.",
			queries: []query{
				{by(o, "sum", "", rate(sel(o, metrics.ConntrackInsertFailed))), "insert_failed" + cluster},
				{by(o, "sum", "", rate(sel(o, metrics.ConntrackDrop))), "drop" + cluster},
			},
		},
		{
			id: 134, width: 8, title: "How hard does the kernel search for a port?", unit: "ops", min: ptr(0),
			none: "conntrack is not read on this node",
			description: "Ports that the kernel's search found taken, per second. On machines that translate themselves it " +
				"rises steeply long before new flows are dropped.",
			queries: []query{{by(o, "sum", "", rate(sel(o, metrics.ConntrackFound))), "taken" + cluster}},
		},
		{
			id: 132, width: 8, title: "Is the conntrack table near its own limit?", unit: share, min: ptr(0),
			thresholds: []float64{0.75}, none: "conntrack is not read on this node",
			description: "Entries against the limit. Prometheus's node-mixin alerts on this at 75 % " +
				"(NodeHighNumberConntrackEntriesUsed).",
			queries: []query{{by(o, "max", "netns", sel(o, metrics.ConntrackEntries)+" / "+sel(o,
				metrics.ConntrackEntriesLimit)), "network namespace {{netns}}" + cluster}},
		},
		{
			id: alerts.PanelNodeAllowance, width: 24, title: "How many more connections will EC2 track?", unit: countOf,
			min: ptr(0), drops: "dropped of", none: "no interface of EC2's driver on this node, or one that does not tell",
			description: "What EC2's own connection tracking leaves to each interface of the instance, whatever its NAT. At 0 " +
				"it drops packets of new connections: those per second have the axis on the right.",
			queries: []query{
				{by(o, "min", "interface", sel(o, metrics.AllowanceAvailable)), "left to {{interface}}" + cluster},
				{by(o, "sum", "interface", rate(sel(o, metrics.AllowanceExceeded))), "dropped of {{interface}}" + cluster},
			},
		},
		nodeTier(o),
	}
}

// nodeTier is the table of a node's budgets and of what the next tier would give.
func nodeTier(o rules.Options) panel {
	t := o.Thresholds
	budget := func(op string, name metrics.Name, more ...string) query {
		return query{by(o, op, agent+", budget", sel(o, name, more...)), ""}
	}
	return panel{
		id: alerts.PanelNodeTier, kind: rowsOf, height: 5, title: "What is the budget, and what would the next tier give?",
		unit: countOf, sortBy: "Contradicted",
		description: "Ports in each port space now, nodes left before the share shrinks, and the ports after that; and " +
			"whether what is seen contradicts the budget: then its ports or its cool-down are wrong, and the " +
			"forecast with them.",
		queries: []query{
			budget("max", metrics.BudgetPorts, `protocol="tcp"`), budget("min", metrics.PoolNodesToNextTier),
			budget("max", metrics.NextTierPorts), budget("max", metrics.BudgetContradicted),
			budget("max", metrics.BudgetAllPorts),
		},
		columns: []column{
			{label: "budget", title: "Budget", width: 110},
			{label: "Value #A", title: "TCP ports", width: 90},
			{label: "Value #B", title: "Nodes to the edge", width: 155, thresholds: []float64{t.TierNodes}, worstIsLow: true},
			{label: "Value #C", title: "Ports after it", width: 130},
			{label: "Value #D", title: "Contradicted", width: 110, thresholds: []float64{1}, mappings: yesNo},
			{label: "Value #E", title: "Ports in all", width: 110},
			{label: "instance", title: "Node", width: 270, links: nodeLinks("")[1:]},
			{label: o.ClusterLabel, title: "Cluster"},
		},
	}
}
