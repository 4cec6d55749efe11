package rules

import (
	"fmt"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// agentBlind: the agent runs and does not see. It mutes no other alert: half an eye is
// better than none.
func (o Options) agentBlind() Alert {
	by := o.agent()
	one := func(expr string) string { return "(max by (" + by + ") (" + expr + ") > bool 0) > 0" }
	it := about(by)
	stale := number(o.Thresholds.StaleSeconds)
	// By now the snapshot is older, by up to a scrape interval.
	age := "timestamp(" + it.of(metrics.SnapshotTimestamp) + ") - " + it.of(metrics.SnapshotTimestamp)
	return Alert{
		Name:     "SnatAgentBlind",
		Severity: o.Warning,
		Expr: strings.Join([]string{
			one(o.m(metrics.LedgerExact) + " == bool 0"),
			one(o.m(metrics.SnapshotAge) + " > bool " + stale),
			one(o.standsStill(by)),
			one(grew(o.m(metrics.EventsLost), "10m")),
			one(grew(o.m(metrics.DecodeErrors), "10m")),
			one(o.m(metrics.PoolStale)),
			one(o.m(metrics.ConfigReloadSuccess) + " == bool 0"),
		}, "\nor\n"),
		For:           10 * time.Minute,
		KeepFiringFor: 5 * time.Minute,
		Summary:       "The agent does not see all flows, or works from old numbers.",
		Description: "The agent on {{ $labels.instance }} is up but its ledger is inexact, its snapshot old, events are lost or not understood, its pool size is stale, or its config was refused: " +
			"port counts there may be wrong.",
		Detail: it.ask(it.of(metrics.LedgerExact)+" == 0", " Not exact: network namespace "+answerLabel(metrics.LabelNetns)+".") +
			it.ask("("+it.of(metrics.SnapshotAge)+" or "+age+") > "+stale, " The snapshot is "+answer(period)+" old.") +
			it.ask(increased(it.of(metrics.EventsLost), "10m"), " The kernel dropped events.") +
			it.ask(increased(it.of(metrics.DecodeErrors), "10m"), " Kernel messages were not understood.") +
			it.ask(it.of(metrics.PoolStale)+" == 1", " The size of the pool of budget "+answerLabel(metrics.LabelBudget)+" is stale.") +
			it.ask(it.of(metrics.ConfigReloadSuccess)+" == 0", " The config was refused, the one before stands."),
		Board: BoardAgent, Panel: PanelAgentExact,
	}
}

// standsStill is for agents that do not tell how old their snapshot is: its timestamp is the same at two scrapes or more. How
// far that is from the server's time says nothing: the clocks may differ.
func (o Options) standsStill(by string) string {
	over := o.m(metrics.SnapshotTimestamp) + "[2m]"
	return fmt.Sprintf("changes(%s) == bool 0 and count_over_time(%s) > 1 and %s > 0 unless on (%s) %s",
		over, over, o.m(metrics.SnapshotTimestamp), by, o.m(metrics.SnapshotAge))
}
