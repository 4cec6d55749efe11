package pages

import (
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
		Expr: alerts.Hysteresis(o.Scope, name, GatewayTotal(o), query.Number(TotalFull), query.Number(TotalClear),
			on),
		// A server that just restarted has read all nodes before it pages.
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
