package rules

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// portsLeaking: ports are held ever longer while no more flows arrive. The mean hold
// time is Little's: held over opened per second, so flows that never end count too.
func (o Options) portsLeaking() Alert {
	t := o.Thresholds
	by := o.agent(metrics.LabelBudget, metrics.LabelProtocol)
	at := func(name, offset string) string {
		if o.inline {
			return "(" + o.tenMinutes(name, offset) + ")"
		}
		return "max by (" + by + ") (" + o.use(name) + offset + ")"
	}
	held := func(offset string) string { return at(nodeHeld, offset) }
	opened := func(offset string) string { return at(nodeOpened, offset) }
	grown := fmt.Sprintf("(%s / (%s > 0))\n/\n(%s / (%s > 0))\n> %s",
		held(""), opened(""), held(" offset 1h"), opened(" offset 1h"), number(t.LeakGrowth))
	arrivals := fmt.Sprintf("%s\n< %s * %s", opened(""), number(t.LeakArrivals), opened(" offset 1h"))
	rising := fmt.Sprintf("%s > %s * %s", held(""), number(t.LeakGrowth), held(" offset 1h"))
	node := about(by)
	// A destination that was not there an hour ago has grown from nothing.
	now := node.of(metrics.PortsHeld, named)
	growth := now + " - (" + now + " offset 1h or 0 * " + now + ")"
	return Alert{
		Name:     "SnatPortsLeaking",
		Severity: o.Warning,
		Expr:     o.withBudget(fmt.Sprintf("%s\nand (%s)\nand (%s)\nand on (%s) %s > 0.1", grown, arrivals, rising, by, o.define(NodeFill))),
		For:      15 * time.Minute,
		Summary:  "SNAT ports are held longer and longer while no more flows arrive.",
		Description: "On {{ $labels.instance }}, a {{ $labels.protocol }} port of budget {{ $labels.budget }} is held {{ $value | printf `%.1f` }} times as long as an hour ago, at no more arrivals: " +
			"connections leak, or a destination has become slow.",
		Detail: node.ask("topk(1, ("+growth+") > 0)",
			" "+answerLabel(metrics.LabelDestination)+" grew the most, by "+answer(whole)+" ports."),
		Board: BoardNode, Panel: PanelNodeHoldTimes,
	}
}

// tenMinutes is what was held and opened on a node in the ten minutes up to an offset: recorded, as the alert asks for
// it several times.
func (o Options) tenMinutes(name, offset string) string {
	if name == nodeHeld {
		return o.perNode("sum", "avg_over_time("+o.m(metrics.AllPortsHeld)+"[10m]"+offset+")")
	}
	return o.perNode("sum", "rate("+o.m(metrics.FlowsOpened)+"[10m]"+offset+")")
}
