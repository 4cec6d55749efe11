package tickets

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
)

// budgetUnseen: an agent has a budget and tells no ports held of it. It leaves them out where its source cannot see the
// flows that hold them: nothing held would look the same as nothing seen.
func budgetUnseen(o options.Options) alerts.Alert {
	by := o.Agent(metrics.LabelBudget)
	return alerts.Alert{
		Name:     "SnatBudgetUnseen",
		Severity: o.Warning,
		Expr: fmt.Sprintf("max by (%s, gateway, model, pool, scope) (%s)\nunless on (%s)\n%s", by,
			o.Metric(metrics.BudgetInfo), by, o.Metric(metrics.BusiestPortsHeld)),
		For:     10 * time.Minute,
		Summary: "The agent cannot see the flows of a SNAT budget.",
		Description: "On {{ $labels.instance }}, no source sees the flows that hold ports of budget {{ $labels.budget }} " +
			"({{ $labels.model }}): no page for it can be raised there. " +
			"The agent lacks rights, or runs where these flows do not pass.",
		Board: alerts.BoardAgent, Panel: alerts.PanelAgentExact,
	}
}
