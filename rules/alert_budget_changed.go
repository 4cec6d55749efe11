package rules

import (
	"fmt"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// budgetChanged: the ports a node may hold are not what they were; a tier was crossed, or a config
// or a NAT rule changed. What was not there ten minutes ago has not changed: VictoriaMetrics takes a number
// to differ from none, unless the comparison before has taken that away.
func (o Options) budgetChanged() Alert {
	node := about(o.agent(metrics.LabelBudget, metrics.LabelProtocol))
	return Alert{
		Name:        "SnatBudgetChanged",
		Severity:    o.Info,
		Expr:        o.withBudget(fmt.Sprintf("%s\n!=\n(%s offset 10m > 0)", o.m(metrics.BudgetPorts), o.m(metrics.BudgetPorts))),
		Summary:     "A node's SNAT budget has changed.",
		Description: "On {{ $labels.instance }}, budget {{ $labels.budget }} ({{ $labels.model }}) is now {{ $value | " + whole + " }} {{ $labels.protocol }} ports in each port space; ten minutes ago it was another number.",
		Detail: node.ask(node.of(metrics.BudgetPorts)+" offset 10m", " It was "+answer(whole)+".") +
			node.ask(node.of(metrics.BusiestPortsHeld), " The fullest port space holds "+answer(whole)+"."),
		Board: BoardNode, Panel: PanelNodeTier,
	}
}
