package dashboards

import (
	"fmt"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules"
)

// overview is where the on-call lands: what runs out first, when, and what fails now.
func overview(o rules.Options) board {
	t := o.Thresholds
	failures := by("sum", "cause", rate(sel(o, metrics.OpenFailures)))
	agent := o.ClusterLabel + ", job, instance, budget"
	pool := " * on (" + agent + ") group_left (pool) " + budgetInfo(o)
	fromPool := func(op, expr string) string { return by(op, "pool, budget, protocol", expr+pool) }
	// The ten are chosen first and joined then: a fleet has many thousands of port spaces.
	first := "topk(10, " + sel(o, metrics.ExhaustionProbability, at(o.PageHorizon)) + ")"
	ofFirst := func(expr string) string {
		return by("max", "pool, instance, budget, protocol, vip, destination", "("+expr+")"+pool)
	}
	and := " and on (" + agent + ", protocol, vip, destination) " + first
	held := sel(o, metrics.PortsHeld, `destination!="other"`) + and
	ceiling := " / on (" + agent + ", protocol) group_left () " + by("max", agent+", protocol", sel(o, metrics.BudgetEffectivePorts))
	// What nodes share no node alone sees run out.
	gateway := o.ClusterLabel + ", budget, gateway, protocol"
	within := ofGateway(o, rules.GatewayProbability, at(o.PageHorizon))
	full := "(" + ofGateway(o, rules.GatewayHeld) + " >= on (" + gateway + ") group_left () " + ofGateway(o, rules.GatewayPorts) + ")"
	ofFirstShared := func(expr string) string {
		return by("max", "budget, gateway, protocol, vip, destination", expr)
	}
	andShared := " and on (" + gateway + ", vip, destination) topk(10, " + within + ")"
	// The columns of a table of what runs out first: whose it is, then the port space, when, and how full.
	soonest := func(whose ...column) []column {
		return append(
			whose,
			column{label: "budget", title: "Budget"},
			column{label: "protocol", title: "Protocol"},
			column{label: "vip", title: "VIP"},
			column{label: "destination", title: "Destination"},
			column{label: "Value #A", title: "Within " + o.PageHorizon, unit: "percentunit", thresholds: []float64{t.PageClear, t.Page}},
			column{label: "Value #B", title: "Time left", unit: "s", thresholds: []float64{300, 3600}, worstIsLow: true},
			column{label: "Value #C", title: "Ports held"},
			column{label: "Value #D", title: "Full", unit: "percentunit", thresholds: []float64{1}},
		)
	}
	return board{
		uid: "snatwatch-overview", title: "snatwatch / Overview",
		description: "Which pool, which node, which gateway and which destination runs out of SNAT ports first, when, and is anything failing now?",
		rows: []row{
			{"Now", []panel{
				{
					id: 11, kind: number, title: "How likely is exhaustion soon?", unit: "percentunit", thresholds: []float64{t.PageClear, t.Page},
					description: "The highest probability over all nodes and destinations, and over all shared gateways and destinations, that the effective ceiling is reached within " + o.PageHorizon + ". The page is raised at the red threshold.",
					queries: []query{
						{expr: "max(" + sel(o, metrics.ExhaustionProbabilityMax, at(o.PageHorizon)) + ")", legend: "a node, within " + o.PageHorizon},
						{expr: "max(" + within + ")", legend: "a gateway, within " + o.PageHorizon},
					},
				},
				{
					id: 12, kind: number, title: "When does the first run out?", unit: "s", worstIsLow: true, thresholds: []float64{300, 3600},
					description: "The shortest median time to exhaustion over all nodes and destinations, and over all shared gateways and destinations; none when no horizon reaches it.",
					queries: []query{
						{expr: "min(" + sel(o, metrics.TimeToExhaustion) + ") < +Inf", legend: "a node"},
						{expr: "min(" + ofGateway(o, rules.GatewayTime) + ") < +Inf", legend: "a gateway"},
					},
				},
				{
					id: 13, kind: number, title: "Are opens failing for lack of ports?", unit: "reqps", thresholds: []float64{0.001},
					description: "Flows per second that stayed unanswered while their port space was at its effective ceiling, on their node or over all nodes behind a shared gateway. Any is too many.",
					queries: []query{
						{expr: "sum(" + rate(sel(o, metrics.OpenFailures, `cause="`+metrics.CausePorts+`"`)) + ")", legend: "at a node's ceiling"},
						{expr: "sum(" + rate(sel(o, metrics.OpenFailures, `cause="`+metrics.CauseUnanswered+`"`)) + " * on (" + agent + ") group_left (gateway) " + budgetInfo(o, `scope="shared"`) +
							" and on (" + gateway + ") " + full + ") or vector(0)", legend: "at a gateway's ceiling"},
					},
				},
				{
					id: 14, kind: number, title: "How many nodes and gateways are at their ceiling?", unit: "short", thresholds: []float64{1},
					description: "Nodes whose fullest port space holds as many ports as the effective ceiling allows, and shared gateways of which all nodes together hold as many to a destination.",
					queries: []query{
						{expr: "count(" + by("count", o.ClusterLabel+", instance", ofNode(o, rules.NodeFill)+" >= 1") + ") or vector(0)", legend: "nodes"},
						{expr: "count(" + by("count", o.ClusterLabel+", gateway", full) + ") or vector(0)", legend: "gateways"},
					},
				},
			}},
			{"Which", []panel{
				{
					id: 21, kind: rowsOf, title: "Which destination runs out first, and when?", unit: "short",
					description: "The ten destinations most likely to be exhausted within " + o.PageHorizon + ", by node and pool: the probability, the median time that is left, held ports and their share of the effective ceiling. A node leads to its board.",
					queries: []query{
						{expr: ofFirst(first), instant: true},
						{expr: ofFirst(sel(o, metrics.TimeToExhaustion) + " < +Inf" + and), instant: true},
						{expr: ofFirst(held), instant: true},
						{expr: ofFirst("(" + held + ")" + ceiling), instant: true},
					},
					columns: soonest(column{label: "pool", title: "Pool"}, column{label: "instance", title: "Node", board: rules.BoardNode}),
				},
				{
					id: 24, kind: rowsOf, title: "Which gateway runs out first, and when?", unit: "short",
					description: "The ten destinations most likely to be exhausted within " + o.PageHorizon + " over all nodes behind a shared gateway: the probability, the median time that is left, ports held by all nodes and their share of the effective ceiling.",
					queries: []query{
						{expr: ofFirstShared("topk(10, " + within + ")"), instant: true},
						{expr: ofFirstShared(ofGateway(o, rules.GatewayTime) + " < +Inf" + andShared), instant: true},
						{expr: ofFirstShared(ofGateway(o, rules.GatewayHeld) + andShared), instant: true},
						{expr: ofFirstShared("(" + ofGateway(o, rules.GatewayHeld) + andShared + ") / on (" + gateway + ") group_left () " + ofGateway(o, rules.GatewayPorts)), instant: true},
					},
					columns: soonest(column{label: "gateway", title: "Gateway"}),
				},
				{
					id: 22, title: "Which pool's fullest node fills up?", unit: "percentunit", thresholds: []float64{1}, min: ptr(0),
					description: "Fill of the fullest port space of the most loaded node of each pool, against the effective ceiling.",
					queries:     []query{{expr: fromPool("max", ofNode(o, rules.NodeFill)), legend: "{{pool}} {{budget}} {{protocol}}"}},
				},
				{
					id: 23, title: "Which nodes are fullest?", unit: "percentunit", thresholds: []float64{1}, min: ptr(0),
					description: "Fill of the fullest port space of the ten fullest nodes, against the effective ceiling.",
					queries:     []query{{expr: "topk(10, " + ofNode(o, rules.NodeFill) + ")", legend: "{{instance}} {{budget}} {{protocol}}"}},
				},
			}},
			{"Why", []panel{
				{
					id: 31, title: "Do opens fail, and why?", unit: "reqps", min: ptr(0),
					description: "Flows per second that did not open. ports: for lack of ports; refused: answered by a RST; unanswered: no answer although ports were left.",
					queries:     []query{{expr: failures, legend: "{{cause}}"}},
				},
				{
					id: 32, title: "Do more flows arrive?", unit: "reqps", min: ptr(0),
					description: "Flows opened per second by pool.",
					queries:     []query{{expr: fromPool("sum", rate(sel(o, metrics.FlowsOpened))), legend: "{{pool}} {{budget}} {{protocol}}"}},
				},
				{
					id: 33, title: "Are ports held longer?", unit: "s", min: ptr(0),
					description: "Mean hold time (lifetime and cool-down) of ports released in the interval, by budget.",
					queries: []query{{expr: fmt.Sprintf("%s\n/\n%s",
						by("sum", "budget, protocol", rate(suffix(sel(o, metrics.HoldSeconds), metrics.HoldSeconds, "_sum"))),
						by("sum", "budget, protocol", rate(suffix(sel(o, metrics.HoldSeconds), metrics.HoldSeconds, "_count")))), legend: "{{budget}} {{protocol}}"}},
				},
				{
					id: 34, title: "Can the sensors be trusted?", unit: "short", worstIsLow: true, thresholds: []float64{1}, min: ptr(0), max: ptr(1),
					description: "1 where the ledger of every namespace of a node is exact; the lowest ten.",
					queries:     []query{{expr: "bottomk(10, " + by("min", "instance", sel(o, metrics.LedgerExact)) + ")", legend: "{{instance}}"}},
				},
			}},
		},
	}
}
