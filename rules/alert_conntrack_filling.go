package rules

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// conntrackFilling: the conntrack table is nearly full, or fills up within ten minutes at the pace of the last ten. It is as
// much a ceiling as the ports are, and one for every flow of the machine.
func (o Options) conntrackFilling() Alert {
	t := o.Thresholds
	by := o.agent(metrics.LabelNetns)
	entries, limit := o.m(metrics.ConntrackEntries), o.m(metrics.ConntrackEntriesLimit)
	node := about(by)
	return Alert{
		Name:     "SnatConntrackTableFilling",
		Severity: o.Warning,
		Expr: fmt.Sprintf("max by (%s) (\n  (%s / %s > %s)\n  and\n  (%s / %s > %s or predict_linear(%s[10m], 600) > %s)\n)", by,
			entries, limit, number(t.ConntrackTable/2), entries, limit, number(t.ConntrackTable), entries, limit),
		For:           2 * time.Minute,
		KeepFiringFor: 5 * time.Minute,
		Summary:       "The conntrack table is about to be full: new connections of any kind will be dropped.",
		Description:   "On {{ $labels.instance }}, the conntrack table of network namespace {{ $labels.netns }} is {{ $value | humanizePercentage }} full, or will be within ten minutes.",
		Detail: node.ask(node.of(metrics.ConntrackEntries), " It holds "+answer(whole)+" entries"+
			node.ask(node.of(metrics.ConntrackEntriesLimit), " of "+answer(whole))+"."),
		Board: BoardNode, Panel: PanelNodeFailures,
	}
}
