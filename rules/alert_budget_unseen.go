package rules

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// budgetUnseen: an agent has a budget and tells no ports held of it. It leaves them out where its source cannot see the flows
// that hold them: nothing would be told from none.
func (o Options) budgetUnseen() Alert {
	by := o.agent(metrics.LabelBudget)
	return Alert{
		Name:     "SnatBudgetUnseen",
		Severity: o.Warning,
		Expr:     fmt.Sprintf("max by (%s, gateway, model, pool, scope) (%s)\nunless on (%s)\n%s", by, o.m(metrics.BudgetInfo), by, o.m(metrics.BusiestPortsHeld)),
		For:      10 * time.Minute,
		Summary:  "The agent cannot see the flows of a SNAT budget.",
		Description: "On {{ $labels.instance }}, no source sees the flows that hold ports of budget {{ $labels.budget }} ({{ $labels.model }}): no page for it can be raised there. " +
			"The agent lacks rights, or runs where these flows do not pass.",
		Board: BoardAgent, Panel: PanelAgentExact,
	}
}
