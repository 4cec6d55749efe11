package rules

import (
	"fmt"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// translatedHere matches the models whose ports this machine's kernel gives: of no other does its insert_failed tell.
const translatedHere = `model="linux"`

// portsExhausted is the page for what is failing now: opens fail and their port
// space is at its ceiling. What can tell of the failure: flows that stayed unanswered at the
// ceiling, sockets that send their first packet again, where this machine does the
// translating the kernel's insert_failed, and flows unanswered while all nodes together
// hold the ports of a shared gateway.
func (o Options) portsExhausted() Alert {
	agent, each := o.agent(), o.agent(metrics.LabelBudget, metrics.LabelProtocol)
	gateway := o.gateway()
	failed := func(cause string) string {
		return fmt.Sprintf("sum by (%s) (increase(%s[2m])) > 0", each, o.m(metrics.OpenFailures, `cause="`+cause+`"`))
	}
	full := o.use(NodeFill) + " >= 1"
	legs := []string{
		failed(metrics.CausePorts),
		fmt.Sprintf("(%s)\nand\n%s > 0", full, o.m(metrics.OpeningStalled)),
		fmt.Sprintf("(%s)\nand on (%s)\n%s\nand on (%s)\nsum by (%s) (increase(%s[2m])) > 0",
			full, o.agent(metrics.LabelBudget), o.m(metrics.BudgetInfo, translatedHere), agent, agent, o.m(metrics.ConntrackInsertFailed)),
		// No node alone sees a shared gateway full.
		fmt.Sprintf("(%s)\n* on (%s) group_left (gateway) %s\nand on (%s)\n(%s >= on (%s) group_left () %s)",
			failed(metrics.CauseUnanswered), o.agent(metrics.LabelBudget), o.BudgetInfo(`scope="shared"`), gateway, o.use(GatewayHeld), gateway, o.use(GatewayPorts)),
	}
	for i, l := range legs {
		legs[i] = "0 * (" + l + ") + 1"
	}
	node, budget, shared := about(each), about(o.agent(metrics.LabelBudget)), about(gateway)
	return Alert{
		Name:          "SnatPortsExhausted",
		Severity:      o.Critical,
		Expr:          o.withBudget(fmt.Sprintf("max by (%s) (\n%s\n)", each, indent(strings.Join(legs, "\nor\n")))),
		KeepFiringFor: time.Minute,
		Summary:       "SNAT ports are exhausted and connections fail.",
		Description: "On {{ $labels.instance }}, new {{ $labels.protocol }} flows fail because budget {{ $labels.budget }} ({{ $labels.model }}) has no SNAT port left " +
			"for the destination that holds the most. Established flows go on.",
		Detail: node.ask("topk(1, "+node.of(metrics.PortsHeld, `destination!="other"`)+") and on () "+budget.of(metrics.BudgetInfo, `scope="node"`),
			" That is "+answerDestination()+" with "+answer(whole)+" ports held"+
				node.ask(node.of(metrics.BudgetEffectivePorts), "; the effective ceiling is "+answer(whole))+".") +
			shared.ask("topk(1, "+shared.of(GatewayHeld)+")",
				" That is "+answerDestination()+" with "+answer(whole)+" ports held by all nodes behind gateway "+answerLabel(metrics.LabelGateway)+
					shared.ask(shared.of(GatewayPorts), "; their effective ceiling is "+answer(whole))+".") +
			node.ask("sum(increase("+node.of(metrics.OpenFailures, `cause="`+metrics.CausePorts+`"`)+"[2m])) > 0", " "+answer(whole)+" flows failed so in two minutes.") +
			helps,
		Board: BoardNode, Panel: PanelNodeHeld,
	}
}
