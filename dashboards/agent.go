package dashboards

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules"
	"github.com/snatwatch/snatwatch/rules/alerts"
)

// agents is about the sensors themselves. Of a thousand nodes it shows those that are not well, and of the rest how
// they are spread.
func agents(o rules.Options) board {
	return board{
		uid: alerts.BoardAgent, title: "snatwatch / Agent",
		description: "Are the sensors well: does every agent see all flows, in time, at little cost, and do its " +
			"forecasts come true?",
		worst: []worst{silent(o)},
		rows: []row{
			{"Sight", []panel{
				agentCounts(o), agentExceptions(o), agentAge(o), agentFolded(o), agentLosses(o), agentBrier(o), agentSources(o),
				agentBuilds(o),
			}},
			{"Cost", agentCost(o)},
		},
	}
}

// snapshotAge is how old the snapshot was when it was scraped.
func snapshotAge(o rules.Options) string {
	return "timestamp(" + sel(o, metrics.SnapshotTimestamp) + ") - " + sel(o, metrics.SnapshotTimestamp)
}

// ofAgents keeps the series of agents that have a budget of a chosen pool.
func ofAgents(o rules.Options, expr string) string { return ofChosenPools(o, agent, expr) }

// trouble is one way in which an agent is not well: the agents it is so of, and of how many it is known.
type trouble struct{ name, of, known string }

func troubles(o rules.Options) []trouble {
	flag := func(name metrics.Name, bad string) trouble {
		return trouble{of: ofAgents(o, by(o, "max", agent, sel(o, name)+" == bool "+bad)+" > 0"), known: ofAgents(o, sel(o,
			name))}
	}
	down := trouble{"down", by(o, "max", agent, "1 - ("+agentsDown(o)+")"), ofTarget(o, "up")}
	inexact := flag(metrics.LedgerExact, "0")
	inexact.name = "inexact"
	old := trouble{
		"old numbers", ofAgents(o, by(o, "max", agent, snapshotAge(o))+fmt.Sprintf(" > %g", o.Thresholds.StaleSeconds)),
		ofAgents(o, sel(o, metrics.SnapshotTimestamp)),
	}
	refused := flag(metrics.ConfigReloadSuccess, "0")
	refused.name = "config refused"
	stale := flag(metrics.PoolStale, "1")
	stale.name = "pool size stale"
	warming := flag(metrics.WarmingUp, "1")
	warming.name = "warming up"
	cpu := flag(metrics.CPUBudgetExceeded, "1")
	cpu.name = "over CPU budget"
	grown := func(name string, of, known metrics.Name) trouble {
		return trouble{name, ofAgents(o, "round("+by(o, "sum", agent, "increase("+sel(o, of)+"[1h])")+") > 0"), ofAgents(o,
			sel(o, known))}
	}
	return []trouble{
		down, inexact, old, refused, stale, warming, cpu, grown("events lost", metrics.EventsLost, metrics.LedgerExact),
		grown("not decoded", metrics.DecodeErrors, metrics.SourceInfo), grown("mismatches", metrics.LedgerMismatches,
			metrics.LedgerExact),
	}
}

func agentCounts(o rules.Options) panel {
	p := panel{
		id: 70, kind: number, width: 24, height: 4, title: "How many agents are not well, and in what way?", unit: countOf,
		thresholds: []float64{1}, none: "no agent answers",
		description: "Agents of the last day whose target does not answer; whose ledger is inexact; whose snapshot was old " +
			"when it was scraped; whose last config was refused; whose watched pool size is stale; that have not watched for " +
			"as long as a cool-down yet; that need more CPU than their budget; and that within an hour lost events, could not " +
			"decode messages or had other flows than a complete dump showed. Which: the table below.",
	}
	for _, t := range troubles(o) {
		p.queries = append(p.queries, query{counted(t.of, t.known), t.name})
	}
	return p
}

func agentExceptions(o rules.Options) panel {
	p := panel{
		id: alerts.PanelAgentExact, kind: rowsOf, height: 12, title: "Which agents are not well?", unit: countOf,
		none: "all are well",
		description: "Agents that are down, inexact (no complete dump since the kernel last dropped events), late, or work " +
			"from a config or a pool size that is not the latest: at most five of each kind, and how many there are stands " +
			"above. Pool and Node do not narrow those that are down.",
		columns: []column{{label: "instance", title: "Node", width: 270, links: nodeLinks("Cluster")}},
	}
	flagged := []dashboard.ValueMapping{mapNull(shownAs("", "transparent")), mapAbove(0, shownAs("yes", "red"))}
	for i, t := range troubles(o) {
		p.queries = append(p.queries, query{"topk(5, " + t.of + ")", ""})
		c := column{label: "Value #" + refID(i), title: t.name, width: 140, thresholds: []float64{0}, mappings: flagged}
		switch t.name {
		case "old numbers":
			c.unit, c.mappings = period, flagged[:1]
		case "events lost", "not decoded", "mismatches":
			c.unit, c.mappings = countOf, flagged[:1]
		}
		p.columns = append(p.columns, c)
	}
	p.columns = append(p.columns, column{label: o.ClusterLabel, title: "Cluster"})
	return p
}

// spread is how a value of now is spread over agents.
func spread(expr string) []query {
	return []query{
		{"max(" + expr + ")", "highest"},
		{"quantile(0.99, " + expr + ")", "99 of 100 below"},
		{"quantile(0.5, " + expr + ")", "median"},
	}
}

func agentAge(o rules.Options) panel {
	return panel{
		id: 71, kind: number, width: 12, height: 5, title: "How old is what agents tell?", unit: period,
		thresholds: []float64{o.Thresholds.StaleSeconds},
		description: "Age of the snapshot behind the metrics when they were last scraped. The alert is raised at " +
			"the red threshold.",
		queries: spread(ofAgents(o, snapshotAge(o))),
	}
}

func agentLosses(o rules.Options) panel {
	total := func(name metrics.Name) string { return "sum(" + ofAgents(o, rate(sel(o, name))) + ")" }
	return panel{
		id: 72, coarse: true, title: "Are events lost?", unit: "cps", min: ptr(0),
		description: "Overruns (the kernel dropped events), dumps that repaired them, and messages that could not be " +
			"decoded, per second over all agents. Who lost most stands in the table above.",
		queries: []query{
			{total(metrics.EventsLost), "overruns"},
			{total(metrics.Resyncs), "repaired"},
			{total(metrics.DecodeErrors), "not decoded"},
		},
	}
}

func agentSources(o rules.Options) panel {
	return panel{
		id: 73, kind: rowsOf, width: 12, title: "Which sources are read, by how many agents?", unit: countOf,
		sortBy: "Agents",
		description: "Where the flows of network namespaces are seen, and how. What one agent reads, and why, " +
			"stands on its page.",
		queries: []query{{by(o, "count", "source, strategy", ofAgents(o, by(o, "max", agent+", source, strategy",
			sel(o, metrics.SourceInfo)))), ""}},
		columns: []column{
			{label: "source", title: "Source", width: 150},
			{label: "strategy", title: "Strategy", width: 150},
			{label: "Value", title: "Agents", width: 120},
			{label: o.ClusterLabel, title: "Cluster"},
		},
	}
}

func agentBuilds(o rules.Options) panel {
	return panel{
		id: 75, kind: rowsOf, width: 12, title: "Which versions run, and since when?", unit: countOf, sortBy: "Agents",
		description: "Builds of the agent, how many run each, and how long ago the config was loaded that is in force the " +
			"longest; a reload keeps the ledger.",
		queries: []query{
			{by(o, "count", "version, revision", ofAgents(o, sel(o, metrics.AgentBuildInfo))), ""},
			{by(o, "max", "version, revision", ofAgents(o, "time() - "+sel(o, metrics.ConfigReloadTimestamp))+" * "+on(o, agent)+
				" group_left (version, revision) topk by ("+o.ClusterLabel+", "+agent+") (1, "+sel(o,
				metrics.AgentBuildInfo)+")"), ""},
		},
		columns: []column{
			{label: "version", title: "Version", width: 130},
			{label: "revision", title: "Revision", width: 130},
			{label: "Value #A", title: "Agents", width: 90},
			{label: "Value #B", title: "Oldest config", width: 130, unit: period},
			{label: o.ClusterLabel, title: "Cluster"},
		},
	}
}

func agentFolded(o rules.Options) panel {
	return panel{
		id: 74, kind: number, width: 12, height: 5, title: "Is anything folded or uncounted?", unit: countOf,
		description: "The most that an agent has: port spaces of a budget counted one by one, and together; and flows of " +
			"other protocols, which hold no port of a budget.",
		queries: []query{
			{"max(" + inPools(o, metrics.DestinationsTracked) + ")", "tracked"},
			{"max(" + inPools(o, metrics.DestinationsFolded) + ")", "folded"},
			{"max(" + ofAgents(o, sel(o, metrics.OtherProtocols)) + ")", "other protocols"},
		},
	}
}

func agentBrier(o rules.Options) panel {
	var queries []query
	for _, h := range metrics.HorizonValues() {
		queries = append(queries, query{"max(" + inPools(o, metrics.ForecastBrierScore, at(h)) + ")", "within " + h})
	}
	return panel{
		id: alerts.PanelAgentBrier, coarse: true, title: "Do the forecasts come true?", unit: "none", min: ptr(0),
		max: ptr(1), thresholds: []float64{o.Thresholds.Brier},
		description: "Brier score of past probabilities, of the agent and budget with the highest: 0 is perfect, 0.25 is a " +
			"coin. A wrong cool-down in the config raises it, and so do bursts that come without a warning, which no forecast " +
			"sees: is the budget contradicted, too?",
		queries: queries,
	}
}

func agentCost(o rules.Options) []panel {
	// Other programs of the job have a process, too.
	process := ofAgents(o, "rate(process_cpu_seconds_total{"+o.ClusterLabel+
		`=~"$cluster", job=~"$job", instance=~"$instance"}[5m])`+
		" and "+on(o, agent)+" "+sel(o, metrics.AgentBuildInfo))
	flows := ofAgents(o, by(o, "sum", agent, sel(o, metrics.LedgerFlows)))
	most := "\nand " + on(o, agent) + " topk(10, " + process + ")"
	return []panel{
		{
			id: 81, kind: number, width: 12, height: 5, title: "How much CPU do agents take?", unit: share,
			description: "CPU of the agents' processes in five minutes, in shares of a core.",
			queries:     spread(process),
		},
		{
			id: 83, kind: number, width: 12, height: 5, title: "How many flows do ledgers hold?", unit: countOf,
			description: "Flows in the ledger, ended ones that still cool down included.",
			queries:     spread(flows),
		},
		{
			id: 84, kind: rowsOf, title: "Which agents take the most CPU, and for what?", unit: countOf, sortBy: "CPU",
			description: "The ten agents whose process took the most CPU in five minutes, in shares of a core, with the flows " +
				"that their ledger holds and the longest of the last complete dumps.",
			queries: []query{
				{by(o, "max", agent, process+most), ""},
				{flows + most, ""},
				{by(o, "max", agent, sel(o, metrics.DumpSeconds)) + most, ""},
			},
			columns: []column{
				{label: "instance", title: "Node", width: 300, links: nodeLinks("Cluster")},
				{label: "Value #A", title: "CPU", width: 120, unit: share},
				{label: "Value #B", title: "Flows", width: 120},
				{label: "Value #C", title: "Dump", width: 120, unit: seconds},
				{label: o.ClusterLabel, title: "Cluster"},
			},
		},
		{
			id: 82, coarse: true, title: "How long does a dump take?", unit: seconds, min: ptr(0),
			description: "The last complete dump of each namespace: the longest over all agents, and half of them below.",
			queries: []query{spread(ofAgents(o, sel(o, metrics.DumpSeconds)))[0], spread(ofAgents(o, sel(o,
				metrics.DumpSeconds)))[2]},
		},
		{
			id: 85, coarse: true, title: "Do more flows have to be counted?", unit: countOf, min: ptr(0),
			description: "Flows in the ledger of the agent that has most.",
			queries:     spread(ofAgents(o, sel(o, metrics.LedgerFlows)))[:1],
		},
	}
}
