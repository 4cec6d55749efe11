package pages

import (
	"fmt"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
)

// allowanceExceeded is the page for EC2's own connection tracking, a budget beside all others: it drops new connections
// of an instance, or will within minutes as its connections grow now.
func allowanceExceeded(o options.Options) alerts.Alert {
	by := o.Agent(metrics.LabelInterface)
	node := alerts.About(by)
	return alerts.Alert{
		Name:     "SnatConntrackAllowanceExceeded",
		Severity: o.Critical,
		Expr: fmt.Sprintf("max by (%s) (\n  0 * (%s) + 1\n  or\n  0 * (%s < 300) + 1\n)", by,
			query.Grew(o.Metric(metrics.AllowanceExceeded), "2m"), o.Metric(metrics.AllowanceTimeToExhaustion)),
		KeepFiringFor: alerts.Bridge,
		Summary:       "EC2 tracks no more connections of an instance.",
		Description: "On {{ $labels.instance }}, EC2's own connection tracking of {{ $labels.interface }} is used up or " +
			"will be within 5 minutes: packets of new connections are dropped outside the instance, in and out. " +
			"SNAT ports may be left: more of them do not help. What the node sees: http://{{ $labels.instance }}/.",
		Detail: node.Ask(node.Of(metrics.AllowanceAvailable), " "+alerts.Answer(alerts.Whole)+" more connections can be "+
			"tracked.") + node.Ask(query.Increased(node.Of(metrics.AllowanceExceeded), "2m"),
			" "+alerts.Answer(alerts.Whole)+" packets were dropped in two minutes."),
		Board: alerts.BoardNode, Panel: alerts.PanelNodeAllowance,
	}
}
