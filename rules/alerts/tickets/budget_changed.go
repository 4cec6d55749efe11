package tickets

import (
	"fmt"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
)

// budgetChanged: the ports a node may hold are not what they were; a tier was crossed, or a config
// or a NAT rule changed. What was not there ten minutes ago has not changed: VictoriaMetrics takes a number
// to differ from none, unless the comparison before has taken that away.
func budgetChanged(o options.Options) alerts.Alert {
	node := alerts.About(o.Agent(metrics.LabelBudget, metrics.LabelProtocol))
	return alerts.Alert{
		Name:     "SnatBudgetChanged",
		Severity: o.Info,
		Expr: o.WithBudget(fmt.Sprintf("%s\n!=\n(%s offset 10m > 0)", o.Metric(metrics.BudgetPorts),
			o.Metric(metrics.BudgetPorts))),
		Summary: "A node's SNAT budget has changed.",
		Description: "On {{ $labels.instance }}, budget {{ $labels.budget }} ({{ $labels.model }}) is now {{ $value | " +
			alerts.Whole + " }} {{ $labels.protocol }} ports in each port space; ten minutes ago it was another number.",
		Detail: node.Ask(node.Of(metrics.BudgetPorts)+" offset 10m", " It was "+alerts.Answer(alerts.Whole)+".") +
			node.Ask(node.Of(metrics.BusiestPortsHeld), " The fullest port space holds "+alerts.Answer(alerts.Whole)+"."),
		Board: alerts.BoardNode, Panel: alerts.PanelNodeTier,
	}
}
