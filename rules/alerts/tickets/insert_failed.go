package tickets

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
)

// insertFailed: conntrack cannot insert flows though no port space is near its ceiling. Two flows took the same port at
// the same moment: the kernel picks the next free port and checks it only when the first packet leaves. Without
// random ports in the SNAT rule every flow looks for one from the same place.
func insertFailed(o options.Options) alerts.Alert {
	agent := o.Agent()
	// A slope as query.Grew takes it, so that what was lost before the counter was first seen does not count.
	rate := fmt.Sprintf("sum by (%s) (deriv(%s[10m]))", agent, o.Metric(metrics.ConntrackInsertFailed))
	near := fmt.Sprintf("%s\n>\n%[2]s * %[3]s\nor\n%[4]s > %[2]s", o.Metric(metrics.BusiestPortsHeld),
		query.Number(o.Thresholds.Dominates), o.Metric(metrics.BudgetEffectivePorts), o.Metric(metrics.LowPortsFill))
	table := fmt.Sprintf("%s > %s * %s", o.Metric(metrics.ConntrackEntries), query.Number(o.Thresholds.ConntrackTable),
		o.Metric(metrics.ConntrackEntriesLimit))
	return alerts.Alert{
		Name:     "SnatInsertFailed",
		Severity: o.Warning,
		Expr: fmt.Sprintf("%s > %s\nunless on (%s)\n(%s)\nunless on (%s)\n(%s)", rate,
			query.Number(o.Thresholds.InsertFailedRate),
			agent, near, agent, table),
		For:           10 * time.Minute,
		KeepFiringFor: 10 * time.Minute,
		Summary:       "New connections are lost in conntrack, and not for lack of SNAT ports.",
		Description: "On {{ $labels.instance }}, conntrack fails to insert {{ $value | printf `%.2f` }} new flows a second " +
			"while ports are left: two flows take the same port at once. " +
			"Each loses its first packet, which costs it a second. Random ports in the SNAT rule make it " +
			"rare (nft: fully-random; iptables: --random-fully).",
		Board: alerts.BoardNode, Panel: alerts.PanelNodeFailures,
	}
}
