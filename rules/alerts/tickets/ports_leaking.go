package tickets

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
	"github.com/snatwatch/snatwatch/rules/records"
)

// portsLeaking: ports are held ever longer while no more flows arrive. The mean hold
// time is Little's: held over opened per second, so flows that never end count too.
func portsLeaking(o options.Options) alerts.Alert {
	t := o.Thresholds
	by := o.Agent(metrics.LabelBudget, metrics.LabelProtocol)
	held := func(offset string) string { return records.LastTenMinutes(o, records.NodeHeld, offset) }
	opened := func(offset string) string { return records.LastTenMinutes(o, records.NodeOpened, offset) }
	rising := fmt.Sprintf("(%s / %s > %s)", held(""), held(" offset 1h"), query.Number(t.LeakGrowth))
	arrivals := fmt.Sprintf("(%s / %s < %s > 0)", opened(""), opened(" offset 1h"), query.Number(t.LeakArrivals))
	grown := fmt.Sprintf("%s\n/\n%s\n> %s", rising, arrivals, query.Number(t.LeakGrowth))
	node := alerts.About(by)
	// A destination that was not there an hour ago has grown from nothing.
	now := node.Of(metrics.PortsHeld, query.Named)
	growth := now + " - (" + now + " offset 1h or 0 * " + now + ")"
	owned := func(offset string) string {
		return "sum by (owner_kind, owner) (" + node.Of(metrics.OwnerPortsHeld, `owner_kind!~"unknown|other"`) + offset + ")"
	}
	more := owned("") + " - (" + owned(" offset 1h") + " or 0 * " + owned("") + ")"
	return alerts.Alert{
		Name:     "SnatPortsLeaking",
		Severity: o.Warning,
		Expr:     o.WithBudget(fmt.Sprintf("%s\nand on (%s) %s > 0.1", grown, by, records.Define(o, records.NodeFill))),
		For:      15 * time.Minute,
		Summary:  "SNAT ports are held longer and longer while no more flows arrive.",
		Description: "On {{ $labels.instance }}, a {{ $labels.protocol }} port of budget {{ $labels.budget }} is held {{ " +
			"$value | printf `%.1f` }} times as long as an hour ago, at no more arrivals: " +
			"connections leak, or a destination has become slow.",
		Detail: node.Ask("topk(1, ("+growth+") > 0)",
			" "+alerts.AnswerLabel(metrics.LabelDestination)+" grew the most, by "+alerts.Answer(alerts.Whole)+" ports.") +
			node.Ask("topk(1, ("+more+") > 0)", " "+alerts.AnswerLabel(metrics.LabelOwner)+" ("+
				alerts.AnswerLabel(metrics.LabelOwnerKind)+") holds "+alerts.Answer(alerts.Whole)+" more than an hour ago."),
		Board: alerts.BoardNode, Panel: alerts.PanelNodeHoldTimes,
	}
}
