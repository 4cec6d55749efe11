package rules

import (
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// exhaustionExpected is the ticket: at the longer horizon the probability is mostly how
// full the budget is, so it is no page.
func (o Options) exhaustionExpected() Alert {
	t := o.Thresholds
	probability := o.perNode("max", o.m(metrics.LikelyExhaustion, horizonIs(o.TicketHorizon)), metrics.LabelHorizon)
	node := about(o.agent(metrics.LabelBudget, metrics.LabelProtocol))
	return Alert{
		Name:     "SnatExhaustionExpected",
		Severity: o.Warning,
		Expr: o.withBudget(o.hysteresis("SnatExhaustionExpected", probability, number(t.Ticket), number(t.TicketClear),
			o.agent(metrics.LabelBudget, metrics.LabelProtocol))),
		For:           10 * time.Minute,
		KeepFiringFor: 5 * time.Minute,
		Summary:       "SNAT ports are likely to run out within the ticket horizon.",
		Description: "On {{ $labels.instance }}, some port space of budget {{ $labels.budget }} ({{ $labels.model }}, {{ $labels.protocol }}) is exhausted within " + o.TicketHorizon +
			" with probability {{ $value | humanizePercentage }}.",
		Detail: node.ask("topk(1, "+node.of(metrics.ExhaustionProbability, horizonIs(o.TicketHorizon), named)+")", " The likeliest is "+answerLabel(metrics.LabelDestination)+".") +
			o.demand(node) + helps,
		Board: BoardNode, Panel: PanelNodeProbability,
	}
}

// demand is why ports run out: how many flows open and how long each holds its port, now and an hour ago. Hold times are read from the
// classic histogram and, where a server keeps the native one alone, from that.
func (o Options) demand(s subject) string {
	opens := func(offset string) string { return "sum(rate(" + s.of(metrics.FlowsOpened) + "[10m]" + offset + "))" }
	hold := func(offset string) string {
		of := func(series metrics.Name) string {
			return "sum(rate(" + s.of(metrics.HoldSeconds+series) + "[10m]" + offset + "))"
		}
		classic := of("_sum") + " / (" + of("_count") + " > 0)"
		if o.Engine == VictoriaMetrics { // keeps none
			return classic
		}
		return classic + " or histogram_sum(" + of("") + ") / (histogram_count(" + of("") + ") > 0)"
	}
	const ago = " offset 1h"
	return s.ask(opens(""), " "+roughly()+" flows a second open"+s.ask(opens(ago), " (an hour ago "+roughly()+")")+
		s.ask(hold(""), ", and those that ended held a port for "+answer(period)+s.ask(hold(ago), " (an hour ago "+answer(period)+")"))+".")
}
