package rules

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// destinationDominates: one destination holds most of what is held, and much of its
// port space. What helps then helps there: reuse, pooling, another address of it.
func (o Options) destinationDominates() Alert {
	t := o.Thresholds
	by := o.agent(metrics.LabelBudget, metrics.LabelProtocol)
	return Alert{
		Name:     "SnatDestinationDominates",
		Severity: o.Info,
		Expr: o.withBudget(fmt.Sprintf("(%s > on (%s) group_left () %s * %s)\n/ on (%s) group_left ()\nmax by (%s) (%s)\n> %s",
			o.m(metrics.DominantPortsHeld, `destination!="`+anyDestination+`"`), by, number(t.DominatesShare), o.perNode("sum", o.m(metrics.AllPortsHeld)), by, by, o.m(metrics.BudgetEffectivePorts), number(t.Dominates))),
		For:     15 * time.Minute,
		Summary: "One destination holds most of a node's SNAT ports.",
		Description: "On {{ $labels.instance }}, {{ $labels.destination }} fills {{ $value | humanizePercentage }} of its {{ $labels.protocol }} port space in budget {{ $labels.budget }} " +
			"and holds most of all ports held.",
		Board: BoardNode, Panel: PanelNodeHeld,
	}
}
