package pages

import (
	"fmt"
	"strings"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
	"github.com/snatwatch/snatwatch/rules/records"
)

// translatedHere matches the models whose ports this machine's kernel gives: of no other does its insert_failed tell.
const translatedHere = `model="linux"`

// portsExhausted is the page for what is failing now: opens fail and their port space is at its ceiling. Agents tell of
// two: flows that stayed unanswered at the ceiling, and sockets that send their first packet again towards a port space
// at its ceiling. What takes more series to see is looked for less often; a server without recording rules has all of
// it in one.
func portsExhausted(o options.Options) alerts.Alert {
	legs := []string{
		fmt.Sprintf("sum by (%s) (%s)", o.Agent(metrics.LabelBudget, metrics.LabelProtocol),
			query.Grew(o.Metric(metrics.OpenFailures, `cause="`+metrics.CausePorts+`"`), "2m")),
		o.Metric(metrics.StalledAtCeiling) + " > 0",
	}
	if o.Inline {
		legs = append(append(legs, atCeiling(o)...), unansweredShared(o))
	}
	return exhausted(o, legs...)
}

// portsExhaustedUnsure is SnatPortsExhausted where the fullest port space is at its ceiling and something fails: where
// an agent does not tell at which port space, sockets that send their first packet again, and where this machine does
// the translating the kernel's insert_failed.
func portsExhaustedUnsure(o options.Options) alerts.Alert {
	return exhausted(o, atCeiling(o)...).SeenAt("ceiling")
}

func atCeiling(o options.Options) []string {
	held, space := o.Metric(metrics.BusiestPortsHeld), o.Agent(metrics.LabelBudget, metrics.LabelProtocol)
	return []string{fmt.Sprintf("(%s >= %s or %s >= 1)\nand on (%s) (\n  %s > 0\n  unless on (%s)\n  %s\n  or\n  "+
		"%s\n  and on (%s)\n  %s\n  and on (%s)\n  %s\n)", held, o.Metric(metrics.BudgetEffectivePorts),
		o.Metric(metrics.LowPortsFill), space,
		o.Metric(metrics.OpeningStalled), space, o.Metric(metrics.StalledAtCeiling),
		held, o.Agent(metrics.LabelBudget), o.Metric(metrics.BudgetInfo, translatedHere), o.Agent(),
		query.Grew(o.Metric(metrics.ConntrackInsertFailed), "2m"))}
}

// portsExhaustedShared is SnatPortsExhausted where flows stay unanswered while all nodes together hold the ports of a
// shared gateway: no node alone sees it full.
func portsExhaustedShared(o options.Options) alerts.Alert {
	return exhausted(o, unansweredShared(o)).SeenAt("gateway")
}

func unansweredShared(o options.Options) string {
	gateway := o.Gateway()
	return fmt.Sprintf("(sum by (%s) (%s))\n* on (%s) group_left (gateway) %s\nand on (%s)\n(%s >= on "+
		"(%s) group_left () %s)",
		o.Agent(metrics.LabelBudget, metrics.LabelProtocol),
		query.Grew(o.Metric(metrics.OpenFailures, `cause="`+metrics.CauseUnanswered+`"`), "2m"),
		o.Agent(metrics.LabelBudget), o.BudgetInfo(`scope="shared"`), gateway,
		records.Held(o), gateway, records.Read(o, records.GatewayPorts, gateway))
}

// fullest is what port spaces hold that are full: those of low source ports, which have fewer ports than the budget's
// others, or else all of them.
func fullest(node alerts.Subject) string {
	held := node.Of(metrics.PortsHeld, `destination!="other"`)
	return "(" + held + " and on (vip, destination) " + node.Of(metrics.LowPortsFill) + " >= 1 or on () " + held + ")"
}

func exhausted(o options.Options, legs ...string) alerts.Alert {
	each := o.Agent(metrics.LabelBudget, metrics.LabelProtocol)
	for i, l := range legs {
		legs[i] = "0 * (" + l + ") + 1"
	}
	node, budget, shared := alerts.About(each), alerts.About(o.Agent(metrics.LabelBudget)), alerts.About(o.Gateway())
	return alerts.Alert{
		Name:          "SnatPortsExhausted",
		Severity:      o.Critical,
		Expr:          o.WithBudget(fmt.Sprintf("max by (%s) (\n%s\n)", each, query.Indent(strings.Join(legs, "\nor\n")))),
		KeepFiringFor: alerts.Bridge,
		Summary:       "SNAT ports are exhausted and connections fail.",
		Description: "On {{ $labels.instance }}, new {{ $labels.protocol }} flows fail: budget {{ $labels.budget }} " +
			"({{ $labels.model }}) has no SNAT port left for its busiest destination.",
		Detail: node.Ask("topk(1, "+fullest(node)+") and on () "+budget.Of(metrics.BudgetInfo, `scope="node"`),
			" That is "+alerts.AnswerDestination()+" with "+alerts.Answer(alerts.Whole)+" ports held"+
				node.Ask("max(max by (vip, destination) ("+fullest(node)+") / max by (vip, destination) ("+
					node.Of(metrics.LowPortsFill)+" >= 1)) or on () "+node.Of(metrics.BudgetEffectivePorts),
					"; the effective ceiling is "+alerts.Answer(alerts.Whole))+".") +
			shared.Ask("topk(1, "+shared.Of(records.GatewayHeld)+")",
				" That is "+alerts.AnswerDestination()+" with "+alerts.Answer(alerts.Whole)+
					" ports held by all nodes behind gateway "+
					alerts.AnswerLabel(metrics.LabelGateway)+
					shared.Ask(shared.Of(records.GatewayPorts), "; their effective ceiling is "+alerts.Answer(alerts.Whole))+".") +
			node.Holders(" and on (vip, destination) topk(1, "+fullest(node)+")", "of them") +
			node.Ask(query.Increased(node.Of(metrics.OpenFailures, `cause="`+metrics.CausePorts+`"`), "2m"),
				" Attempts to open a flow that found no port in two minutes: "+alerts.Answer(alerts.Whole)+".") +
			" Established flows go on." + alerts.Helps,
		Board: alerts.BoardNode, Panel: alerts.PanelNodeHeld,
	}
}
