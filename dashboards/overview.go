package dashboards

import (
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/records"
)

// overview is where the on-call lands: what runs out first, when, and what fails now.
func overview(o rules.Options) board {
	cluster := "{{" + o.ClusterLabel + "}}"
	return board{
		uid: "snatwatch-overview", title: "snatwatch / Overview",
		description: "Which node, which gateway and which destination runs out of SNAT ports first, when, and is " +
			"anything failing now?",
		starts: o.ClusterLabel,
		worst:  append(worstNow(o), fullestPools(o), fullestNodes(o), failingClusters(o), slowClusters(o)),
		rows: []row{
			{"Now", append(headline(o), first(o))},
			{"Which, and why", []panel{
				{
					id: 22, title: "Which pool's fullest node fills up?", unit: share, thresholds: []float64{filling, full},
					min: ptr(0), coarse: true,
					description: "Fill of the fullest port space of the most loaded node of each pool, against the effective " +
						"ceiling: the eight fullest.",
					queries: []query{{
						peaksOfPools(o, fullestPools(o), "max", fillOfNodes(o)),
						"{{budget}} {{protocol}} {{pool}} " + cluster,
					}},
				},
				{
					id: 23, title: "Which nodes are fullest?", unit: share, thresholds: []float64{filling, full}, min: ptr(0),
					description: "Fill of the fullest port space of the eight nodes that were fullest in the time range, against " +
						"the effective ceiling.",
					queries: []query{{fillOfFullest(o), "{{budget}} {{protocol}} {{instance}} " + cluster}},
				},
				{
					id: 31, coarse: true, title: "Do opens fail, and why?", unit: perSecond, min: ptr(0),
					none: "no agent has a sensor for failures",
					description: "Flows per second that did not open. ports: for lack of ports; refused: answered by a RST; " +
						"unanswered: no answer although ports were left. The eight that are highest now.",
					queries: []query{{highest(o, "cause", failures(o, failingClusters(o).clusters(o))), "{{cause}} " + cluster}},
				},
				{
					id: 32, title: "Do more flows arrive?", unit: perSecond, min: ptr(0), none: needsRules,
					description: "Flows opened per second by pool: the eight that opened most. It is recorded every four minutes; " +
						"Node and Job do not narrow it.",
					queries: []query{{
						peaks(o, "pool, budget, protocol", ofPool(o, records.PoolOpened)),
						"{{budget}} {{protocol}} {{pool}} " + cluster,
					}},
				},
				{
					id: 33, coarse: true, width: 24, title: "Are ports held longer?", unit: period, min: ptr(0),
					description: "Mean hold time (lifetime and cool-down) of ports released in the interval, by budget: the " +
						"eight that are longest now. When it grows while no more flows arrive, a destination has become slow or " +
						"connections leak.",
					queries: []query{{
						highest(o, "budget, protocol", holdTimes(o, slowClusters(o).clusters(o))),
						"{{budget}} {{protocol}} " + cluster,
					}},
				},
			}},
		},
	}
}

// worstNow are those that headline and first are of.
func worstNow(o rules.Options) []worst {
	return []worst{silent(o), fullGateways(o), worstNodes(o), worstGateways(o)}
}

// failures are the flows per second that do not open, by cluster and cause, and holdTimes the mean hold times by
// cluster and budget. more are matchers. What they return is given a window of time.
func failures(o rules.Options, more ...string) func(window string) string {
	return func(window string) string {
		return sumOfPools(o, "cause", func(pools string) string {
			return "rate(" + sel(o, metrics.OpenFailures, append([]string{pools}, more...)...) + window + ")"
		})
	}
}

func holdTimes(o rules.Options, more ...string) func(window string) string {
	return func(window string) string { return mean(o, "budget, protocol", metrics.HoldSeconds, window, more...) }
}

// failingClusters and slowClusters are those of what is highest now: of a graph's eight lines, and four more, as the
// graph has another window of time. To read each node at every step takes twice as long as to read it once.
func failingClusters(o rules.Options) worst {
	return worst{"failing_clusters", "", "topk(12, " + failures(o)("[2m]") + ")"}
}

func slowClusters(o rules.Options) worst {
	return worst{"slow_clusters", "", "topk(12, " + holdTimes(o)("[2m]") + ")"}
}

// fillOfNodes is the fill of the fullest port space of each node, in the clusters of fullestPools.
func fillOfNodes(o rules.Options) func(of, still func(series string) string) string {
	clusters := fullestPools(o).clusters(o)
	return func(of, still func(series string) string) string {
		return of(sel(o, metrics.BusiestPortsHeld, clusters)) + " / " + on(o, agentBudget) + " group_left () " +
			by(o, "max", agentBudget, still(sel(o, metrics.BudgetEffectivePorts, clusters))) + " or " +
			of(sel(o, metrics.LowPortsFill, clusters))
	}
}

// fullestPools are those whose fullest node was fullest, as recorded in the time range, or is now.
func fullestPools(o rules.Options) worst {
	return worst{"fullest_pools", "pool", "topk(8, " + by(o, "max", pool, "max_over_time("+ofPool(o, records.PoolFill)+
		"[$__range])") + ")\nor\ntopk(8, " + ofPoolNow(o, "max", fillOfNode(o, atStep, atStep)) + ")"}
}

// fullestNodes are the eight nodes that were fullest in the time range.
func fullestNodes(o rules.Options) worst {
	return worst{"fullest_nodes", "instance", fullestOf(o)}
}

func fullestOf(o rules.Options, more ...string) string {
	peak := func(series string) string { return "max_over_time(" + series + "[$__range] @ end())" }
	end := func(series string) string { return series + " @ end()" }
	return "topk(8, " + ofChosenPools(o, agent+", budget", fillOfNode(o, peak, end, more...)) + ")"
}

// fillOfFullest draws the fill of the eight fullest nodes.
func fillOfFullest(o rules.Options) string {
	names := fullestNodes(o).matcher(o)
	return fillOfNode(o, atStep, atStep, names) + "\nand " + on(o, agentBudget) + " " + fullestOf(o, names)
}

// headline are the numbers of now, for a glance.
func headline(o rules.Options) []panel {
	t := o.Thresholds
	failed := failedForPorts(o)
	fullGateway := fullBehind(o)
	exact := sel(o, metrics.LedgerExact)
	return []panel{
		{
			id: 11, kind: number, width: 4, title: "Is exhaustion likely?", unit: share,
			thresholds: []float64{t.PageClear, t.Page},
			description: "The highest probability over all nodes and destinations, and over all shared gateways and " +
				"destinations, that the effective ceiling is reached within " + o.PageHorizon +
				". The page is raised near the red threshold.",
			queries: []query{
				{"max(" + inPools(o, metrics.ExhaustionProbabilityMax, at(o.PageHorizon)) + ")", "a node"},
				{"max(" + behind(o, ofGateway(o, records.GatewayProbability, at(o.PageHorizon))) + ")", "a gateway"},
			},
		},
		{
			id: 12, kind: number, width: 5, title: "When does the first run out?", unit: period, worstIsLow: true,
			thresholds: []float64{300, 3600},
			mappings:   timeLeft, none: "needs a newer agent",
			description: "The shortest median time to exhaustion over all nodes and destinations, and over all shared " +
				"gateways and destinations.",
			queries: []query{
				{"clamp_max(min(" + inPools(o, metrics.SoonestExhaustion) + "), " + pastHour + ")", "a node"},
				{"clamp_max(min(" + behind(o, "("+leftOfAll(o)+")") + "), " + pastHour + ")", "a gateway"},
			},
		},
		failing(o),
		{
			id: 14, kind: number, width: 4, title: "What is full now?", unit: countOf, thresholds: []float64{1},
			none: "needs a newer agent",
			description: "Nodes that failed to open flows for lack of ports within two minutes or whose fullest port space is " +
				"98 % of the effective ceiling, and shared gateways of which all nodes together hold as much to a destination.",
			queries: []query{
				{"sum(" + by(o, "max", "instance", ofChosenPools(o, agent+", budget", "("+nodeFull(o)+"\nor\n(increase("+
					failed+"[2m]) > bool 0))")) + ")", "nodes"},
				{
					counted(by(o, "count", "gateway", behind(o, fullGateway)), behind(o, ofGateway(o, records.GatewayPorts))),
					"gateways",
				},
			},
		},
		{
			id: 15, kind: number, width: 5, title: "Can the agents be trusted?", unit: countOf, thresholds: []float64{1},
			none: "no agent answers",
			description: "Agents of the last day whose target does not answer; agents whose ledger is inexact; and agents " +
				"that have not watched for as long as a cool-down yet. Which: the board of agents. Pool and Node do " +
				"not narrow the first.",
			queries: []query{
				{counted(agentsDown(o), ofTarget(o, "up")), "down"},
				{"sum(" + ofChosenPools(o, agent, by(o, "max", agent, exact+" == bool 0")) + ")", "inexact"},
				{"sum(" + ofChosenPools(o, agent, by(o, "max", agent, sel(o, metrics.WarmingUp))) + ")", "warming up"},
			},
		},
	}
}

// failedForPorts are the opens that failed because ports had run out.
func failedForPorts(o rules.Options) string {
	return sel(o, metrics.OpenFailures, `cause="`+metrics.CausePorts+`"`)
}

// failing counts opens that fail because ports have run out.
func failing(o rules.Options) panel {
	failed := failedForPorts(o)
	unanswered := "rate(" + sel(o, metrics.OpenFailures, `cause="`+metrics.CauseUnanswered+`"`,
		fullGateways(o).clusters(o)) + "[2m])"
	fullGateway := fullBehind(o)
	return panel{
		id: 13, kind: number, width: 6, title: "Do opens fail for lack of ports?", unit: perSecond,
		thresholds: []float64{0.001}, none: "no agent has a sensor for it",
		description: "Flows per second that stayed unanswered while their port space was at its effective ceiling, on " +
			"their node, and how many there were in an hour; and over all nodes behind a full gateway. Any is too many.",
		queries: []query{
			{"sum(" + ofChosenPools(o, agent+", budget", "rate("+failed+"[2m])") + ")", "now"},
			{"sum(" + ofChosenPools(o, agent+", budget", "increase("+failed+"[1h])") + ")", inAnHour},
			{
				"sum(" + unanswered + " * " + on(o, agent+", budget") + " group_left (gateway) " +
					budgetInfo(o, `scope="shared"`, fullGateways(o).matcher(o)) +
					"\nand " + on(o, gateway) + " " + fullGateway + ")\nor\n0 * count(" +
					behind(o, ofGateway(o, records.GatewayPorts)) + ")", "now, at a gateway",
			},
		},
		units: map[string]string{inAnHour: countOf},
	}
}

const inAnHour = "in an hour"

// sinceRelief stands for a time that was 0 when it was recorded and is not any more. It sorts below what runs out
// within the hour and above what does not.
const sinceRelief = "3600.2"

// recordedFull are the destinations of which all nodes behind a gateway held what it has when they were recorded. more
// are matchers of gateways.
func recordedFull(o rules.Options, more ...string) string {
	return ofGateway(o, records.GatewayHeld, more...) + " >= " + on(o, gateway) + " group_left () " + fmt.Sprint(full) +
		" * " + ofGateway(o, records.GatewayPorts, more...)
}

// fullGateways are those that were full when they were recorded: which of them are so now is asked of their nodes.
func fullGateways(o rules.Options) worst { return worst{"full_gateways", "gateway", recordedFull(o)} }

// fullBehind are the destinations of which all nodes behind a gateway hold what it has: as recorded, and as their
// fullest port spaces are now.
func fullBehind(o rules.Options) string {
	few := fullGateways(o)
	return "((" + recordedFull(o, few.matcher(o)) + ")\nunless " + on(o, gateway) + " (" + mostBehind(o, atStep, "", few) +
		" < " + on(o, gateway) + " " + fmt.Sprint(full) + " * " + ofGateway(o, records.GatewayPorts, few.matcher(o)) + "))"
}

// leftOfAll is leftBehind of all gateways. Only those that were full when they were recorded can have been relieved.
func leftOfAll(o rules.Options) string {
	return ofGateway(o, records.GatewayTime) + " > 0\nor\n" + leftBehind(o, atStep, "", fullGateways(o))
}

// nodeFull is 1 of a node's budget whose fullest port space is full, and 0 of any other.
func nodeFull(o rules.Options) string {
	return fmt.Sprintf("(%s >= bool %g)", fillOfNode(o, atStep, atStep), full)
}

// silent are the targets that do not answer.
func silent(o rules.Options) worst { return worst{"silent", "instance", ofTarget(o, "up") + " == 0"} }

// agentsDown are targets that do not answer and were agents at one of some moments within a day: who has been up for
// twice as long as down was so at one of them. All of the day would be read at 200 times the cost.
func agentsDown(o rules.Options) string {
	info := ofTarget(o, string(metrics.AgentBuildInfo), silent(o).matcher(o))
	var was []string
	for _, ago := range []string{"5m", "15m", "45m", "2h", "6h", "18h", "1d"} {
		was = append(was, info+" offset "+ago)
	}
	return ofTarget(o, "up", silent(o).matcher(o)) + " == 0\nand " + on(o, agent) + " (\n  " +
		strings.Join(was, "\n  or\n  ") + "\n)"
}

// worstOf are the fifteen nodes that are most likely to run out, and the fullest of those that are as likely, and the
// five destinations at gateways. One selector reads all three series of a node.
func worstOf(o rules.Options, nodes, gateways []string) (ofNodes, ofGateways string) {
	ofNodes = "topk(15, " + ofChosenPools(o, agent+", budget", by(o, "sum", agentBudget, ofNode(o, "", append([]string{
		fmt.Sprintf(`__name__=~"%s|%s"`, metrics.ExhaustionProbabilityMax, records.NodeFill),
		fmt.Sprintf(`horizon=~"%s|%s|"`, o.PageHorizon, o.TicketHorizon),
	}, nodes...)...))) + ")"
	of := func(name string, more ...string) string {
		return by(o, "max", shared, ofGateway(o, name, append(more, gateways...)...))
	}
	ofGateways = fmt.Sprintf("topk(5, %s + %s + %s)", of(records.GatewayProbability, at(o.PageHorizon)),
		of(records.GatewayProbability, at(o.TicketHorizon)), behind(o, of(records.GatewayHeld)+" / "+on(o, gateway)+
			" group_left () "+by(o, "max", gateway, ofGateway(o, records.GatewayPorts, gateways...)), gateways...))
	return ofNodes, ofGateways
}

// The nodes and gateways that first is of.
func worstNodes(o rules.Options) worst {
	expr, _ := worstOf(o, nil, nil)
	return worst{"worst_nodes", "instance", expr}
}

func worstGateways(o rules.Options) worst {
	_, expr := worstOf(o, nil, nil)
	return worst{"worst_gateways", "gateway", expr}
}

// first is the table of what runs out first, nodes and gateways alike.
func first(o rules.Options) panel {
	return panel{
		id: 21, kind: rowsOf, height: 17, title: "What runs out first, and what helps?", unit: countOf, sortBy: leftColumn,
		description: "The fifteen nodes and five gateways most likely to run out of ports, and the fullest of those that " +
			"are as likely: the destination that runs out first and the median time that is left, the probability within " +
			o.PageHorizon +
			", fill and ports held of the fullest port space and their change in a minute; who holds the most ports to " +
			"the destination, and how many; and of what the node's page advises, what gains the most ports. A node leads " +
			"to its board, its page and the runbook. Times and probabilities of gateways are recorded every minute or two: " +
			"relieved is a gateway that was full then, and whose nodes hold less than its ceiling now.",
		queries: firstQueries(o), columns: firstColumns(o),
	}
}

// firstQueries are the columns' values: rows of a table join where their labels are equal.
func firstQueries(o rules.Options) []query {
	nodes, gateways := worstNodes(o).matcher(o), worstGateways(o).matcher(o)
	sel := func(name metrics.Name, more ...string) string { return sel(o, name, append(more, nodes)...) }
	node := func(name metrics.Name, more ...string) string { return by(o, "max", agentBudget, sel(name, more...)) }
	likely := func(horizon string) string { return node(metrics.ExhaustionProbabilityMax, at(horizon)) }
	worst, worstShared := worstOf(o, []string{nodes}, []string{gateways})
	worst, worstShared = "\nand "+on(o, agentBudget)+" "+worst, "\nand "+on(o, shared)+" "+worstShared
	of := func(name string, more ...string) string {
		return by(o, "max", shared, ofGateway(o, name, append(more, gateways)...))
	}
	heldShared := by(o, "max", shared, heldBehind(o, atStep, "", worstGateways(o)))
	perCeiling := " / " + on(o, gateway) + " group_left () " + by(o, "max", gateway,
		ofGateway(o, records.GatewayPorts, gateways))
	// Rows of a table join where their labels are equal, so each column names the destination that runs out first,
	// but of agents that do not tell it.
	soonest := "bottomk by (" + o.ClusterLabel + ", " + agentBudget + ") (1, " +
		by(o, "max", space, sel(metrics.SoonestExhaustion)) + ")"
	named := "\n* " + on(o, agentBudget) + " group_left (vip, destination) ((" + soonest + " >= bool 0) or " +
		on(o, agentBudget) + " (" + node(metrics.BusiestPortsHeld) + " >= bool 0))"
	both := func(ofNode, ofGateway string) query {
		return query{"((" + ofNode + ")" + worst + ")" + named + "\nor\n(" + ofGateway + ")" + worstShared, ""}
	}
	leftShared := by(o, "max", shared, leftBehind(o, atStep, "", worstGateways(o))+"\nor\n"+
		ofGateway(o, records.GatewayTime, gateways)+" + "+sinceRelief)
	clamp := func(expr string) string { return "clamp_max(" + expr + ", " + pastHour + ")" }
	held := node(metrics.BusiestPortsHeld)
	minuteAgo := func(expr string) string { return expr + " offset 1m" }
	return []query{
		{clamp(soonest) + worst + "\nor\n" + clamp(leftShared) + worstShared, ""},
		both(likely(o.PageHorizon), of(records.GatewayProbability, at(o.PageHorizon))),
		both(fillOfNode(o, atStep, atStep, nodes), heldShared+perCeiling),
		both(held, heldShared),
		both(held+" - "+by(o, "max", agentBudget, minuteAgo(sel(metrics.BusiestPortsHeld))),
			of(records.GatewayHeld)+" - "+by(o, "max", shared, minuteAgo(ofGateway(o, records.GatewayHeld, gateways)))),
		{by(o, "max", agent+", budget, measure", "topk by ("+o.ClusterLabel+", "+agent+", budget) (1, "+
			sel(metrics.AdvicePorts)+")") +
			strings.Replace(worst, on(o, agentBudget), on(o, agent+", budget"), 1), ""},
		{by(o, "max", space+", owner", "topk by ("+o.ClusterLabel+", "+agentBudget+") (1, "+
			sel(metrics.SoonestOwnerHeld)+")") + worst, ""},
	}
}

func firstColumns(o rules.Options) []column {
	t := o.Thresholds
	return []column{
		{label: "instance", title: "Node", width: 260, mappings: notKnown, links: append(nodeLinks("Cluster"),
			link{"The runbook", o.RunbookURL + "SnatExhaustionPredicted.md"})},
		{label: "destination", title: "Destination", width: 310},
		{
			label: "Value #A", title: leftColumn, width: 95, unit: period, thresholds: []float64{300, 3600},
			worstIsLow: true,
			mappings: append([]dashboard.ValueMapping{mapValue(sinceRelief, shownAs("relieved", "transparent"))},
				timeLeft...),
		},
		{
			label: "Value #B", title: "Within " + o.PageHorizon, width: 90, unit: share,
			thresholds: []float64{t.PageClear, t.Page},
		},
		{label: "Value #C", title: fillColumn, width: 100, unit: share, thresholds: []float64{filling, full}, gauge: true},
		{label: "Value #D", title: "Held", width: 65, unit: countOf},
		{label: "gateway", title: "Gateway", width: 70, mappings: notKnown, links: []link{{
			"The fleet's board", "/d/" + alerts.BoardFleet + "?${datasource:queryparam}&${__url_time_range}",
		}}},
		{
			label: "Value #E", title: "In a minute", width: 100, unit: countOf,
			mappings: []dashboard.ValueMapping{mapNull(shownAs("–", "transparent"))},
		},
		{label: "owner", title: "Most held by", width: 160, mappings: notKnown},
		{
			label: "Value #G", title: "Of them", width: 70, unit: countOf,
			mappings: []dashboard.ValueMapping{mapNull(shownAs("–", "transparent"))},
		},
		{label: "measure", title: "What helps most", width: 140, mappings: notKnown},
		{
			label: "Value #F", title: "Ports gained", width: 110, unit: countOf,
			mappings: []dashboard.ValueMapping{mapNull(shownAs("–", "transparent"))},
		},
		{label: o.ClusterLabel, title: "Cluster", width: 75},
		{label: "budget", title: "Budget", width: 70},
		{label: "protocol", title: "Protocol", width: 75},
		{label: "vip", title: "VIP"},
	}
}
