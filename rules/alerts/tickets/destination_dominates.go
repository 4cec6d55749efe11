package tickets

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
)

// destinationDominates: one destination holds most of what is held, and much of its
// port space. What helps then helps there: reuse, pooling, another address of it.
func destinationDominates(o options.Options) alerts.Alert {
	t := o.Thresholds
	by := o.Agent(metrics.LabelBudget, metrics.LabelProtocol)
	space := alerts.About(o.Agent(metrics.LabelBudget, metrics.LabelProtocol, metrics.LabelDestination))
	return alerts.Alert{
		Name:     "SnatDestinationDominates",
		Severity: o.Info,
		Expr: o.WithBudget(fmt.Sprintf("(%s > on (%s) group_left () %s * %s)\n/ on (%s) group_left ()\nmax "+
			"by (%s) (%s)\n> %s",
			o.Metric(metrics.DominantPortsHeld, `destination!="`+query.AnyDestination+`"`), by, query.Number(t.DominatesShare),
			o.PerNode("sum", o.Metric(metrics.AllPortsHeld)), by, by, o.Metric(metrics.BudgetEffectivePorts),
			query.Number(t.Dominates))),
		For:     15 * time.Minute,
		Summary: "One destination holds most of a node's SNAT ports.",
		Description: "On {{ $labels.instance }}, {{ $labels.destination }} fills {{ $value | humanizePercentage }} of its " +
			"{{ $labels.protocol }} port space in budget {{ $labels.budget }} " +
			"and holds most of all ports held.",
		Detail: space.Holders("", "of them"),
		Board:  alerts.BoardNode, Panel: alerts.PanelNodeHeld,
	}
}
