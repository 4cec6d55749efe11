package dashboards

import (
	"fmt"
	"strings"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules"
)

func ptr(f float64) *float64 { return &f }

// suffix turns a histogram's selector into that of one of its series.
func suffix(selector string, name metrics.Name, s string) string {
	return strings.Replace(selector, string(name), string(name)+s, 1)
}

// node is one node's port spaces.
func node(o rules.Options) board {
	t := o.Thresholds
	space := "{{instance}} {{vip}} {{destination}} {{protocol}}"
	busiest := func(n int, name metrics.Name, more ...string) string {
		return fmt.Sprintf("topk(%d, %s)", n, sel(o, name, more...))
	}
	fullest := fmt.Sprintf("topk(1, %s)", sel(o, metrics.ForecastPortsMean, at(o.PageHorizon)))
	band := func(sign string) string {
		return fmt.Sprintf("clamp_min(max((%s %s 1.645 * sqrt(%s))\nand\n%s), 0)",
			sel(o, metrics.ForecastPortsMean, at(o.PageHorizon)), sign, sel(o, metrics.ForecastPortsVariance, at(o.PageHorizon)), fullest)
	}
	return board{
		uid: rules.BoardNode, title: "snatwatch / Node",
		description: "One node's port spaces: held against the budget, the forecast, hold times, arrivals, failures and the table's edge. Choose the node above.",
		rows: []row{
			{"Ports", []panel{
				{
					id: rules.PanelNodeHeld, title: "How many ports does each destination hold, against the budget?", unit: "short", min: ptr(0),
					description: "Held ports (live and cooling) of the ten fullest port spaces, the effective ceiling and the nominal budget. At the ceiling new flows to that destination fail.",
					queries: []query{
						{expr: busiest(10, metrics.PortsHeld, `destination!="other"`), legend: space},
						{expr: by("max", "budget, protocol", sel(o, metrics.BudgetEffectivePorts)), legend: "effective ceiling {{budget}} {{protocol}}"},
						{expr: by("max", "budget, protocol", sel(o, metrics.BudgetPorts)), legend: "budget {{budget}} {{protocol}}"},
					},
				},
				{
					id: rules.PanelNodeProbability, title: "How likely is exhaustion, and when?", unit: "percentunit", thresholds: []float64{t.PageClear, t.Page}, min: ptr(0), max: ptr(1),
					description: "The highest probability over destinations that the effective ceiling is reached by each horizon. The page is raised at the red line (at " + o.PageHorizon + ") and cleared below the orange one.",
					queries:     []query{{expr: by("max", "horizon, protocol", sel(o, metrics.ExhaustionProbabilityMax)), legend: "{{horizon}} {{protocol}}"}},
				},
				{
					id: 111, title: "Where will the fullest port space be in " + o.PageHorizon + "?", unit: "short", min: ptr(0), bandLow: "low", bandHigh: "high",
					description: "Forecast of held ports of the port space with the highest forecast, with the band that holds nine outcomes of ten. It speaks of the time one horizon after each point.",
					queries: []query{
						{expr: fullest, legend: "forecast {{destination}}"},
						{expr: band("-"), legend: "low"},
						{expr: band("+"), legend: "high"},
						{expr: "max(" + sel(o, metrics.BudgetEffectivePorts) + ")", legend: "effective ceiling"},
					},
				},
				{
					id: 112, title: "When does it run out?", unit: "s", min: ptr(0), worstIsLow: true, thresholds: []float64{300, 3600},
					description: "Median time to exhaustion of the port spaces that have one within the longest horizon.",
					queries:     []query{{expr: "bottomk(10, " + sel(o, metrics.TimeToExhaustion) + " < +Inf)", legend: space}},
				},
				{
					id: 113, title: "Are ports live or cooling?", unit: "short", min: ptr(0),
					description: "Ports of open flows, and ports waiting for their cool-down. Many cooling ones mean many short flows: reuse connections.",
					queries: []query{
						{expr: by("sum", "protocol", sel(o, metrics.PortsLive)), legend: "live {{protocol}}"},
						{expr: by("sum", "protocol", sel(o, metrics.PortsCooling)), legend: "cooling {{protocol}}"},
					},
				},
				{
					id: 114, title: "How full is the fullest port space?", unit: "short", min: ptr(0),
					description: "Held ports of the fullest port space by protocol, beside the largest of those that are not shown one by one.",
					queries: []query{
						{expr: by("max", "budget, protocol", sel(o, metrics.BusiestPortsHeld)), legend: "fullest {{budget}} {{protocol}}"},
						{expr: by("max", "budget, protocol", sel(o, metrics.FoldedPortsHeldMax)), legend: "fullest not shown {{budget}} {{protocol}}"},
					},
				},
			}},
			{"Hold times and arrivals", []panel{
				{
					id: rules.PanelNodeHoldTimes, kind: density, title: "How long are ports held?", unit: "s",
					description: "Hold times (lifetime and cool-down) of ports released, as a heat map.",
					queries:     []query{{expr: by("sum", "le", rate(bucket(o, metrics.HoldSeconds))), legend: "{{le}}"}},
				},
				{
					id: 121, kind: density, title: "How long do flows live?", unit: "s",
					description: "Lifetimes of flows that ended, open to close, as a heat map. When these grow, a destination has become slow or connections leak.",
					queries:     []query{{expr: by("sum", "le", rate(bucket(o, metrics.LifetimeSeconds))), legend: "{{le}}"}},
				},
				{
					id: 122, title: "How many flows open?", unit: "reqps", min: ptr(0),
					description: "Flows opened per second.",
					queries:     []query{{expr: by("sum", "budget, protocol", rate(sel(o, metrics.FlowsOpened))), legend: "{{budget}} {{protocol}}"}},
				},
				{
					id: rules.PanelNodeClosed, title: "How do flows end?", unit: "reqps", min: ptr(0),
					description: "Flows ended per second by reason. idle under TCP: the NAT forgot a flow that the application still holds.",
					queries:     []query{{expr: by("sum", "reason, protocol", rate(sel(o, metrics.FlowsClosed))), legend: "{{reason}} {{protocol}}"}},
				},
			}},
			{"Failures and the table's edge", []panel{
				{
					id: rules.PanelNodeFailures, title: "Do opens fail, and why?", unit: "reqps", min: ptr(0),
					description: "Flows per second that did not open, by cause. ports: for lack of ports; refused: answered by a RST; unanswered: no answer although ports were left.",
					queries:     []query{{expr: by("sum", "cause, protocol", rate(sel(o, metrics.OpenFailures))), legend: "{{cause}} {{protocol}}"}},
				},
				{
					id: 133, title: "How many flows wait for an answer?", unit: "short", min: ptr(0),
					description: "Flows whose first packet went unanswered and was sent again. They rise some seconds before opens fail.",
					queries:     []query{{expr: by("sum", "budget, protocol", sel(o, metrics.OpeningStalled)), legend: "{{budget}} {{protocol}}"}},
				},
				{
					id: 131, title: "Does the kernel drop new flows?", unit: "pps", min: ptr(0),
					description: "insert_failed and drop of the kernel's conntrack, on machines that translate themselves.",
					queries: []query{
						{expr: by("sum", "instance", rate(sel(o, metrics.ConntrackInsertFailed))), legend: "insert_failed {{instance}}"},
						{expr: by("sum", "instance", rate(sel(o, metrics.ConntrackDrop))), legend: "drop {{instance}}"},
					},
				},
				{
					id: 134, title: "How hard does the kernel search for a port?", unit: "ops", min: ptr(0),
					description: "Ports that the kernel's search found taken, per second. On machines that translate themselves it rises steeply long before new flows are dropped.",
					queries:     []query{{expr: by("sum", "instance", rate(sel(o, metrics.ConntrackFound))), legend: "{{instance}}"}},
				},
				{
					id: 132, title: "Is the conntrack table near its own limit?", unit: "percentunit", min: ptr(0), thresholds: []float64{0.75},
					description: "Entries against the limit. Prometheus's node-mixin alerts on this at 75 % (NodeHighNumberConntrackEntriesUsed).",
					queries:     []query{{expr: sel(o, metrics.ConntrackEntries) + "\n/\n" + sel(o, metrics.ConntrackEntriesLimit), legend: "{{instance}} {{netns}}"}},
				},
				{
					id: rules.PanelNodeTier, kind: rowsOf, width: 12, title: "What is the budget, and what would the next tier give?", unit: "short",
					description: "Ports in each port space now, nodes left before the share shrinks, and the ports after that.",
					queries: []query{
						{expr: by("max", "instance, budget", sel(o, metrics.BudgetPorts, `protocol="tcp"`)), instant: true},
						{expr: by("min", "instance, budget", sel(o, metrics.PoolNodesToNextTier)), instant: true},
						{expr: by("max", "instance, budget", sel(o, metrics.NextTierPorts)), instant: true},
						{expr: by("max", "instance, budget", sel(o, metrics.BudgetContradicted)), instant: true},
					},
					columns: []column{{label: "instance", title: "Node"}, {label: "budget", title: "Budget"}, {label: "Value #A", title: "TCP ports"}, {label: "Value #B", title: "Nodes to the edge", thresholds: []float64{t.TierNodes}, worstIsLow: true}, {label: "Value #C", title: "Ports after it"}, {label: "Value #D", title: "Contradicted", thresholds: []float64{1}}},
				},
			}},
		},
	}
}
