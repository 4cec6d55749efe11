package pages

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
)

// The fill of a gateway's limit on all flows together at which the page is raised, and below which it clears.
const (
	TotalFull  = 0.9
	TotalClear = 0.8
)

// gatewayTotalFilling is the page for the limit that some gateways put on all flows together, whatever their
// destination: no port space shows that it is near.
func gatewayTotalFilling(o options.Options) alerts.Alert {
	const name = "SnatGatewayTotalFilling"
	on := o.Labels(metrics.LabelBudget, metrics.LabelGateway)
	total := alerts.About(on)
	return alerts.Alert{
		Name:     name,
		Severity: o.Critical,
		Expr:     totalLevels(o, name, on),
		// Two readings, as a level has waited for nothing: a forecast has, and needs one. While a server that just started
		// has not read all nodes yet, it is too low, and pages nothing.
		For:           time.Minute,
		KeepFiringFor: max(time.Minute, 2*o.FleetInterval),
		Summary:       "A shared gateway is near its limit on all flows together.",
		Description: "All nodes behind gateway {{ $labels.gateway }} together (budget {{ $labels.budget }}) hold " +
			"{{ $value | humanizePercentage }} of the flows that the gateway takes in all. At the limit new flows fail on " +
			"every node, whatever their destination.",
		Detail: total.Ask("topk(1, sum by (instance) ("+string(metrics.AllPortsHeld)+" and on (instance, budget) "+
			total.Of(metrics.BudgetInfo)+"))",
			" "+alerts.AnswerLabel("instance")+" holds the most, "+alerts.Answer(alerts.Whole)+".") +
			" Another address does not raise this limit: shorter holds and another gateway do.",
		Board: alerts.BoardFleet, Panel: alerts.PanelFleetTotal,
	}
}

// totalLevels is alerts.Hysteresis with the fill written once: the level is lower for a gateway whose page fires.
func totalLevels(o options.Options, name, on string) string {
	if o.Inline {
		return alerts.Hysteresis(o.Scope, name, GatewayTotal(o), query.Number(TotalFull), query.Number(TotalClear), on)
	}
	firing := fmt.Sprintf("max by (%s) (ALERTS{alertname=%q, alertstate=\"firing\"})", on, name)
	return fmt.Sprintf("%s\n>= on (%s) group_left ()\n(%g - %g * (%s or 0 * max by (%s) (%s)))", GatewayTotal(o), on,
		TotalFull, TotalFull-TotalClear, firing, on, o.Metric(metrics.BudgetInfo, `scope="shared"`))
}

// GatewayTotal is how much of the limit on all flows together, of both protocols, all nodes behind a gateway hold.
func GatewayTotal(o options.Options) string {
	of := func(op, expr string) string {
		return query.Over(op, o.Joined(metrics.LabelGateway, expr, `scope="shared"`), o.Labels(metrics.LabelBudget,
			metrics.LabelGateway, metrics.LabelProtocol))
	}
	by := o.Labels(metrics.LabelBudget, metrics.LabelGateway)
	limit, held := o.Metric(metrics.BudgetAllPorts), o.Metric(metrics.AllPortsHeld)
	return "sum by (" + by + ") (" + of("sum", "("+held+"\nand\n"+limit+")") + ")\n/\nmax by (" + by + ") (" +
		of("max", limit) + ")"
}
