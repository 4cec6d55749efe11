package rules

import (
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// exhaustionPredicted is the page: minutes are left. No "for": the forecast has waited
// already. It is raised and cleared at different levels by a self-join with its own
// state; keep_firing_for makes one page of a load that comes near its ceiling again and again.
func (o Options) exhaustionPredicted() Alert {
	t := o.Thresholds
	probability := o.m(metrics.LikelyExhaustion, horizonIs(o.PageHorizon))
	on := o.agent(metrics.LabelBudget, metrics.LabelProtocol, metrics.LabelVIP, metrics.LabelDestination)
	space, node := about(on), about(o.agent(metrics.LabelBudget, metrics.LabelProtocol))
	return Alert{
		Name:          "SnatExhaustionPredicted",
		Severity:      o.Critical,
		Expr:          o.withBudget(o.hysteresis("SnatExhaustionPredicted", probability, number(t.Page), number(t.PageClear), on)),
		KeepFiringFor: detector.PageKeep,
		Summary:       "SNAT ports to a destination run out within minutes.",
		Description: "On {{ $labels.instance }}, new {{ $labels.protocol }} flows" + to + "{{ with $labels.vip }} by way of VIP {{ . }}{{ end }} will soon find no SNAT port: " +
			"the probability that budget {{ $labels.budget }} ({{ $labels.model }}) is exhausted within " + o.PageHorizon + " is {{ $value | humanizePercentage }}.",
		Detail: space.ask(space.of(metrics.PortsHeld), " It holds "+answer(whole)+" ports"+
			node.ask(node.of(metrics.BudgetEffectivePorts), "; the effective ceiling is "+answer(whole))+".") +
			space.holders("") +
			space.ask(space.of(metrics.TimeToExhaustion)+" > 0 < +Inf", " At this course they are gone in "+answer(period)+".") +
			helps,
		Board: BoardNode, Panel: PanelNodeProbability,
	}
}
