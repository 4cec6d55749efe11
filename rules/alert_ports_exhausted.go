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
// space is at its ceiling. Agents tell of two: flows that stayed unanswered at the
// ceiling, and sockets that send their first packet again towards a port space at its ceiling. What takes more series to see
// is looked for less often; a server without recording rules has all of it in one.
func (o Options) portsExhausted() Alert {
	legs := []string{
		fmt.Sprintf("sum by (%s) (%s)", o.agent(metrics.LabelBudget, metrics.LabelProtocol), grew(o.m(metrics.OpenFailures, `cause="`+metrics.CausePorts+`"`), "2m")),
		o.m(metrics.StalledAtCeiling) + " > 0",
	}
	if o.inline {
		legs = append(append(legs, o.atCeiling()...), o.unansweredShared())
	}
	return o.exhausted(legs...)
}

// portsExhaustedUnsure is SnatPortsExhausted where the fullest port space is at its ceiling and something fails: where an
// agent does not tell at which port space, sockets that send their first packet again, and where this machine does the
// translating the kernel's insert_failed.
func (o Options) portsExhaustedUnsure() Alert { return o.exhausted(o.atCeiling()...).seenAt("ceiling") }

func (o Options) atCeiling() []string {
	full := o.m(metrics.BusiestPortsHeld) + "\n>=\n" + o.m(metrics.BudgetEffectivePorts)
	return []string{
		fmt.Sprintf("(%s)\nand\n%s > 0\nunless on (%s)\n%s", full, o.m(metrics.OpeningStalled),
			o.agent(metrics.LabelBudget, metrics.LabelProtocol), o.m(metrics.StalledAtCeiling)),
		fmt.Sprintf("(%s)\nand on (%s)\n%s\nand on (%s)\n%s",
			full, o.agent(metrics.LabelBudget), o.m(metrics.BudgetInfo, translatedHere), o.agent(), grew(o.m(metrics.ConntrackInsertFailed), "2m")),
	}
}

// portsExhaustedShared is SnatPortsExhausted where flows stay unanswered while all nodes together hold the ports of a
// shared gateway: no node alone sees it full.
func (o Options) portsExhaustedShared() Alert {
	return o.exhausted(o.unansweredShared()).seenAt("gateway")
}

// seenAt labels an alert with where its cause was seen, if not at the port space itself: rules of one name and the same
// labels look like one written twice.
func (a Alert) seenAt(where string) Alert {
	a.Labels = map[string]string{"evidence": where}
	return a
}

func (o Options) unansweredShared() string {
	gateway := o.gateway()
	return fmt.Sprintf("(sum by (%s) (%s))\n* on (%s) group_left (gateway) %s\nand on (%s)\n(%s >= on (%s) group_left () %s)",
		o.agent(metrics.LabelBudget, metrics.LabelProtocol), grew(o.m(metrics.OpenFailures, `cause="`+metrics.CauseUnanswered+`"`), "2m"),
		o.agent(metrics.LabelBudget), o.BudgetInfo(`scope="shared"`), gateway,
		o.read(GatewayHeld, o.space()), gateway, o.read(GatewayPorts, gateway))
}

// grew is what of a counter has grown within a range: not what has begun within it. A counter that is first seen at 9 has
// increased by 9 for VictoriaMetrics, and not at all for Prometheus; a line through what was seen is level for both.
// A restart of the agent hides what grew within the range before it.
func grew(counter, within string) string { return "deriv(" + counter + "[" + within + "]) > 0" }

func (o Options) exhausted(legs ...string) Alert {
	each := o.agent(metrics.LabelBudget, metrics.LabelProtocol)
	for i, l := range legs {
		legs[i] = "0 * (" + l + ") + 1"
	}
	node, budget, shared := about(each), about(o.agent(metrics.LabelBudget)), about(o.gateway())
	return Alert{
		Name:          "SnatPortsExhausted",
		Severity:      o.Critical,
		Expr:          o.withBudget(fmt.Sprintf("max by (%s) (\n%s\n)", each, indent(strings.Join(legs, "\nor\n")))),
		KeepFiringFor: bridge,
		Summary:       "SNAT ports are exhausted and connections fail.",
		Description: "On {{ $labels.instance }}, new {{ $labels.protocol }} flows fail because budget {{ $labels.budget }} ({{ $labels.model }}) has no SNAT port left " +
			"for the destination that holds the most. Established flows go on.",
		Detail: node.ask("topk(1, "+node.of(metrics.PortsHeld, `destination!="other"`)+") and on () "+budget.of(metrics.BudgetInfo, `scope="node"`),
			" That is "+answerDestination()+" with "+answer(whole)+" ports held"+
				node.ask(node.of(metrics.BudgetEffectivePorts), "; the effective ceiling is "+answer(whole))+".") +
			shared.ask("topk(1, "+shared.of(GatewayHeld)+")",
				" That is "+answerDestination()+" with "+answer(whole)+" ports held by all nodes behind gateway "+answerLabel(metrics.LabelGateway)+
					shared.ask(shared.of(GatewayPorts), "; their effective ceiling is "+answer(whole))+".") +
			node.holders(" and on (vip, destination) topk(1, "+node.of(metrics.PortsHeld, `destination!="other"`)+")") +
			node.ask(increased(node.of(metrics.OpenFailures, `cause="`+metrics.CausePorts+`"`), "2m"), " "+answer(whole)+" flows failed so in two minutes.") +
			helps,
		Board: BoardNode, Panel: PanelNodeHeld,
	}
}

// increased is by how much a counter grew within a range, where it did. A counter that begins within it
// counts from there: see grew.
func increased(counter, within string) string {
	over := counter + "[" + within + "]"
	return fmt.Sprintf("sum(increase(%s) and max_over_time(%s) > min_over_time(%s)) > 0", over, over, over)
}

// bridge holds a page over a gap of 100 s in what is scraped, at an evaluation every 15 s.
const bridge = 2 * time.Minute
