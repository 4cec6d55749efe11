package tickets

import (
	"fmt"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
)

// agentBlind: the agent runs and does not see. It mutes no other alert: half an eye is
// better than none.
func agentBlind(o options.Options) alerts.Alert {
	by := o.Agent()
	one := func(expr string) string { return "(max by (" + by + ") (" + expr + ") > bool 0) > 0" }
	it := alerts.About(by)
	stale := query.Number(o.Thresholds.StaleSeconds)
	// By now the snapshot is older, by up to a scrape interval.
	age := "timestamp(" + it.Of(metrics.SnapshotTimestamp) + ") - " + it.Of(metrics.SnapshotTimestamp)
	return alerts.Alert{
		Name:     "SnatAgentBlind",
		Severity: o.Warning,
		Expr: strings.Join([]string{
			one(o.Metric(metrics.LedgerExact) + " == bool 0"),
			one(o.Metric(metrics.SnapshotAge) + " > bool " + stale),
			one(standsStill(o, by)),
			one(query.Grew(o.Metric(metrics.EventsLost), "10m")),
			one(query.Grew(o.Metric(metrics.DecodeErrors), "10m")),
			one(o.Metric(metrics.PoolStale)),
			one(o.Metric(metrics.ConfigReloadSuccess) + " == bool 0"),
		}, "\nor\n"),
		For:           10 * time.Minute,
		KeepFiringFor: 5 * time.Minute,
		Summary:       "The agent does not see all flows, or works from old numbers.",
		Description: "The agent on {{ $labels.instance }} is up but its ledger is inexact, its snapshot old, events are " +
			"lost or not understood, its pool size is stale, or its config was refused: " +
			"port counts there may be wrong.",
		Detail: it.Ask(it.Of(metrics.LedgerExact)+" == 0",
			" Not exact: network namespace "+alerts.AnswerLabel(metrics.LabelNetns)+".") +
			it.Ask("("+it.Of(metrics.SnapshotAge)+" or "+age+") > "+stale,
				" The snapshot is "+alerts.Answer(alerts.Period)+" old.") +
			it.Ask(query.Increased(it.Of(metrics.EventsLost), "10m"), " The kernel dropped events.") +
			it.Ask(query.Increased(it.Of(metrics.DecodeErrors), "10m"), " Kernel messages were not understood.") +
			it.Ask(it.Of(metrics.PoolStale)+" == 1",
				" The size of the pool of budget "+alerts.AnswerLabel(metrics.LabelBudget)+" is stale.") +
			it.Ask(it.Of(metrics.ConfigReloadSuccess)+" == 0", " The config was refused, the one before stands."),
		Board: alerts.BoardAgent, Panel: alerts.PanelAgentExact,
	}
}

// standsStill is for agents that do not tell how old their snapshot is: its timestamp is the same at two scrapes or
// more. How far that is from the server's time says nothing: the clocks may differ.
func standsStill(o options.Options, by string) string {
	over := o.Metric(metrics.SnapshotTimestamp) + "[2m]"
	return fmt.Sprintf("changes(%s) == bool 0 and count_over_time(%s) > 1 and %s > 0 unless on (%s) %s",
		over, over, o.Metric(metrics.SnapshotTimestamp), by, o.Metric(metrics.SnapshotAge))
}
