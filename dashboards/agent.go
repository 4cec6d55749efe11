package dashboards

import (
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules"
)

// agent is about the sensor itself.
func agent(o rules.Options) board {
	t := o.Thresholds
	per := "{{instance}} {{netns}}"
	return board{
		uid: rules.BoardAgent, title: "snatwatch / Agent",
		description: "Is the sensor well: does every agent see all flows, in time, at little cost, and do its forecasts come true?",
		rows: []row{
			{"Sight", []panel{
				{
					id: rules.PanelAgentExact, title: "Is the ledger exact?", unit: "short", min: ptr(0), max: ptr(1), worstIsLow: true, thresholds: []float64{1},
					description: "1 where a complete dump was taken since the kernel last dropped events.",
					queries: []query{
						{expr: by("min", "instance, netns", sel(o, metrics.LedgerExact)), legend: per},
						{expr: "1 - " + by("max", "instance", sel(o, metrics.WarmingUp)), legend: "warmed up {{instance}}"},
						{expr: by("min", "instance", sel(o, metrics.ConfigReloadSuccess)), legend: "config good {{instance}}"},
					},
				},
				{
					id: 71, title: "How old is what we see?", unit: "s", min: ptr(0), thresholds: []float64{t.StaleSeconds},
					description: "Age of the snapshot behind the metrics when they were scraped. The alert is raised above the red line.",
					queries:     []query{{expr: "timestamp(" + sel(o, metrics.SnapshotTimestamp) + ") - " + sel(o, metrics.SnapshotTimestamp), legend: "snapshot {{instance}}"}},
				},
				{
					id: 72, title: "Are events lost?", unit: "cps", min: ptr(0),
					description: "Overruns (the kernel dropped events), dumps that repaired them, and messages that could not be decoded, per second.",
					queries: []query{
						{expr: by("sum", "instance", rate(sel(o, metrics.EventsLost))), legend: "overruns {{instance}}"},
						{expr: by("sum", "instance", rate(sel(o, metrics.Resyncs))), legend: "repaired {{instance}}"},
						{expr: by("sum", "instance", rate(sel(o, metrics.DecodeErrors))), legend: "not decoded {{instance}}"},
					},
				},
				{
					id: 73, kind: rowsOf, width: 12, noValue: true, title: "Which source does each agent read?", unit: "short",
					description: "Where the flows of each network namespace are seen, and how.",
					queries:     []query{{expr: by("max", "instance, netns, source, strategy", sel(o, metrics.SourceInfo)), instant: true}},
					columns:     []column{{label: "instance", title: "Node"}, {label: "netns", title: "Network namespace"}, {label: "source", title: "Source"}, {label: "strategy", title: "Strategy"}},
				},
				{
					id: 74, title: "Is anything folded or uncounted?", unit: "short", min: ptr(0),
					description: "Port spaces counted one by one and together, and flows of other protocols, which hold no port of a budget.",
					queries: []query{
						{expr: by("sum", "instance", sel(o, metrics.DestinationsTracked)), legend: "tracked {{instance}}"},
						{expr: by("sum", "instance", sel(o, metrics.DestinationsFolded)), legend: "folded {{instance}}"},
						{expr: by("sum", "instance", sel(o, metrics.OtherProtocols)), legend: "other protocols {{instance}}"},
					},
				},
				{
					id: rules.PanelAgentBrier, title: "Do the forecasts come true?", unit: "short", min: ptr(0), max: ptr(1), thresholds: []float64{t.Brier},
					description: "Brier score of past probabilities: 0 is perfect, 0.25 is a coin.",
					queries:     []query{{expr: by("max", "budget, horizon", sel(o, metrics.ForecastBrierScore)), legend: "{{budget}} {{horizon}}"}},
				},
			}},
			{"Cost", []panel{
				{
					id: 81, title: "How much CPU does it take?", unit: "percentunit", min: ptr(0),
					description: "CPU of the agent's process, in cores; and 1 where it needs more than its budget to stay exact.",
					queries: []query{
						{expr: "rate(process_cpu_seconds_total{" + o.ClusterLabel + `=~"$cluster", job=~"$job", instance=~"$instance"}[$__rate_interval])` + "\nand on (" + o.ClusterLabel + ", job, instance)\n" + sel(o, metrics.AgentBuildInfo), legend: "CPU {{instance}}"},
						{expr: by("max", "instance", sel(o, metrics.CPUBudgetExceeded)), legend: "over budget {{instance}}"},
					},
				},
				{
					id: 82, title: "How long does a dump take?", unit: "s", min: ptr(0),
					description: "The last complete dump of each namespace.",
					queries:     []query{{expr: by("max", "instance, netns", sel(o, metrics.DumpSeconds)), legend: per}},
				},
				{
					id: 83, title: "How much does the ledger hold?", unit: "short", min: ptr(0),
					description: "Flows in the ledger, ended ones that still cool down included.",
					queries:     []query{{expr: by("sum", "instance", sel(o, metrics.LedgerFlows)), legend: "{{instance}}"}},
				},
				{
					id: 84, title: "When was a config last loaded?", unit: "s", min: ptr(0),
					description: "Seconds since the last load; a reload keeps the ledger.",
					queries:     []query{{expr: "time() - " + sel(o, metrics.ConfigReloadTimestamp), legend: "{{instance}}"}},
				},
			}},
		},
	}
}
