package rules

import (
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
	// How old the snapshot was when it was scraped: by now it is older by up to a scrape interval.
	age := func(timestamp string) string { return "timestamp(" + timestamp + ") - " + timestamp }
	stale := number(o.Thresholds.StaleSeconds)
	return Alert{
		Name:     "SnatAgentBlind",
		Severity: o.Warning,
		Expr: strings.Join([]string{
			one(o.m(metrics.LedgerExact) + " == bool 0"),
			one(age(o.m(metrics.SnapshotTimestamp)) + " > bool " + stale),
			one("increase(" + o.m(metrics.EventsLost) + "[10m])"),
			one("increase(" + o.m(metrics.DecodeErrors) + "[10m])"),
			one(o.m(metrics.PoolStale)),
			one(o.m(metrics.ConfigReloadSuccess) + " == bool 0"),
		}, "\nor\n"),
		For:           10 * time.Minute,
		KeepFiringFor: 5 * time.Minute,
		Summary:       "The agent does not see all flows, or works from old numbers.",
		Description: "The agent on {{ $labels.instance }} is up but its ledger is inexact, its snapshot old, events are lost or not understood, its pool size is stale, or its config was refused: " +
			"port counts there may be wrong.",
		Detail: it.ask(it.of(metrics.LedgerExact)+" == 0", " Not exact: network namespace "+answerLabel(metrics.LabelNetns)+".") +
			it.ask(age(it.of(metrics.SnapshotTimestamp))+" > "+stale, " The snapshot is "+answer(period)+" old.") +
			it.ask("sum(increase("+it.of(metrics.EventsLost)+"[10m])) > 0", " The kernel dropped events.") +
			it.ask("sum(increase("+it.of(metrics.DecodeErrors)+"[10m])) > 0", " Kernel messages were not understood.") +
			it.ask(it.of(metrics.PoolStale)+" == 1", " The size of the pool of budget "+answerLabel(metrics.LabelBudget)+" is stale.") +
			it.ask(it.of(metrics.ConfigReloadSuccess)+" == 0", " The config was refused, the one before stands."),
		Board: BoardAgent, Panel: PanelAgentExact,
	}
}
