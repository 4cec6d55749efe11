package tickets

import (
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
)

// exhaustionExpected is the ticket: at the longer horizon the probability is mostly how
// full the budget is, so it is no page.
func exhaustionExpected(o options.Options) alerts.Alert {
	t := o.Thresholds
	probability := o.PerNode("max", o.Metric(metrics.LikelyExhaustion, query.HorizonIs(o.TicketHorizon)),
		metrics.LabelHorizon)
	node := alerts.About(o.Agent(metrics.LabelBudget, metrics.LabelProtocol))
	likeliest := "topk(1, " + node.Of(metrics.ExhaustionProbability, query.HorizonIs(o.TicketHorizon), query.Named) + ")"
	return alerts.Alert{
		Name:     "SnatExhaustionExpected",
		Severity: o.Warning,
		Expr: o.WithBudget(alerts.Hysteresis(o.Scope, "SnatExhaustionExpected", probability, query.Number(t.Ticket),
			query.Number(t.TicketClear),
			o.Agent(metrics.LabelBudget, metrics.LabelProtocol))),
		For:           10 * time.Minute,
		KeepFiringFor: 5 * time.Minute,
		Summary:       "SNAT ports are likely to run out within the ticket horizon.",
		Description: "On {{ $labels.instance }}, budget {{ $labels.budget }} ({{ $labels.model }}, {{ " +
			"$labels.protocol }}) is likely to run out of ports to a destination within " + o.TicketHorizon +
			": the probability is {{ $value | humanizePercentage }}.",
		Detail: node.Ask(likeliest, " The likeliest is "+alerts.AnswerLabel(metrics.LabelDestination)+".") +
			node.Holders(" and on (vip, destination) "+likeliest, "of its ports") +
			demand(o, node) + alerts.Helps,
		Board: alerts.BoardNode, Panel: alerts.PanelNodeProbability,
	}
}

// demand is why ports run out: how many flows open and how long each holds its port, now and an hour ago. Hold times
// are read from the classic histogram and, where a server keeps the native one alone, from that.
func demand(o options.Options, s alerts.Subject) string {
	opens := func(offset string) string { return "sum(rate(" + s.Of(metrics.FlowsOpened) + "[10m]" + offset + "))" }
	hold := func(offset string) string {
		of := func(series metrics.Name) string {
			return "sum(rate(" + s.Of(metrics.HoldSeconds+series) + "[10m]" + offset + "))"
		}
		classic := of("_sum") + " / (" + of("_count") + " > 0)"
		if o.Engine == options.VictoriaMetrics { // keeps none
			return classic
		}
		return classic + " or histogram_sum(" + of("") + ") / (histogram_count(" + of("") + ") > 0)"
	}
	const ago = " offset 1h"
	return s.Ask(opens(""), " "+alerts.Roughly()+" flows a second open"+s.Ask(opens(ago),
		" (an hour ago "+alerts.Roughly()+")")+
		s.Ask(hold(""), ", and those that ended held a port for "+alerts.Answer(alerts.Period)+s.Ask(hold(ago),
			" (an hour ago "+alerts.Answer(alerts.Period)+")"))+".")
}
