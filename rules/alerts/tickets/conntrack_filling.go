package tickets

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
)

// conntrackFilling: the conntrack table is nearly full, or fills up within ten minutes at the pace of the last ten. It
// is as much a ceiling as the ports are, and one for every flow of the machine.
func conntrackFilling(o options.Options) alerts.Alert {
	t := o.Thresholds
	by := o.Agent(metrics.LabelNetns)
	entries, limit := o.Metric(metrics.ConntrackEntries), o.Metric(metrics.ConntrackEntriesLimit)
	node := alerts.About(by)
	soon := query.Number(alerts.TableSoon.Seconds())
	return alerts.Alert{
		Name:     "SnatConntrackTableFilling",
		Severity: o.Warning,
		Expr: fmt.Sprintf("max by (%s) (\n  (%s / %s > %s)\n  and\n  (%s / %s > %s or "+
			"predict_linear(%s[10m], %s) > %s or %s < %s)\n)", by,
			entries, limit, query.Number(t.ConntrackTable/2), entries, limit, query.Number(t.ConntrackTable),
			entries, soon, limit, o.Metric(metrics.ConntrackTimeToFull), soon),
		For:           2 * time.Minute,
		KeepFiringFor: 5 * time.Minute,
		Summary:       "The conntrack table is about to be full: new connections of any kind will be dropped.",
		Description: "On {{ $labels.instance }}, the conntrack table of network namespace {{ $labels.netns }} is {{ " +
			"$value | humanizePercentage }} full: nearly full, or on its way to full within ten minutes.",
		Detail: node.Ask(node.Of(metrics.ConntrackEntries), " It holds "+alerts.Answer(alerts.Whole)+" entries"+
			node.Ask(node.Of(metrics.ConntrackEntriesLimit), " of "+alerts.Answer(alerts.Whole))+"."),
		Board: alerts.BoardNode, Panel: alerts.PanelNodeFailures,
	}
}
