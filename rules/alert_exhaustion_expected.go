package rules

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// exhaustionExpected is the ticket: at the longer horizon the probability is mostly how
// full the budget is, so it is no page.
func (o Options) exhaustionExpected() Alert {
	t := o.Thresholds
	probability := o.use(NodeProbability, fmt.Sprintf(`horizon="%s"`, o.TicketHorizon))
	return Alert{
		Name:     "SnatExhaustionExpected",
		Severity: o.Warning,
		Expr: o.withBudget(o.hysteresis("SnatExhaustionExpected", probability, number(t.Ticket), number(t.TicketClear),
			o.agent(metrics.LabelBudget, metrics.LabelProtocol))),
		For:           10 * time.Minute,
		KeepFiringFor: 5 * time.Minute,
		Summary:       "SNAT ports are likely to run out within the ticket horizon.",
		Description: "On {{ $labels.instance }}, some port space of budget {{ $labels.budget }} ({{ $labels.model }}, {{ $labels.protocol }}) is exhausted within " + o.TicketHorizon +
			" with probability {{ $value | humanizePercentage }}.",
		Board: BoardNode, Panel: PanelNodeProbability,
	}
}
