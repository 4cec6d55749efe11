package pages

import (
	"fmt"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
	"github.com/snatwatch/snatwatch/rules/records"
)

// exhaustionPredicted is the page: minutes are left. No "for": the urgency has waited
// already. It is raised by that and cleared by the probability, by a self-join with its own
// state, and stays for a while where ports remain scarce; keep_firing_for bridges a few missed scrapes.
// An agent of before the urgency is asked for its probability.
func exhaustionPredicted(o options.Options) alerts.Alert {
	t := o.Thresholds
	probability := o.Metric(metrics.LikelyExhaustion, query.HorizonIs(o.PageHorizon))
	urgent := o.Metric(metrics.PageUrgency, query.HorizonIs(o.PageHorizon)) + " or " + probability
	told := "the probability that budget {{ $labels.budget }} ({{ $labels.model }}) is exhausted within " + o.PageHorizon
	if o.Inline { // Grafana's value is the urgency
		told = "the urgency is {{ $value | humanizePercentage }}, made of " + told
	} else {
		told += " is {{ $value | humanizePercentage }}"
	}
	on := o.Agent(metrics.LabelBudget, metrics.LabelProtocol, metrics.LabelVIP, metrics.LabelDestination)
	space, node := alerts.About(on), alerts.About(o.Agent(metrics.LabelBudget, metrics.LabelProtocol))
	return alerts.Alert{
		Name:     "SnatExhaustionPredicted",
		Severity: o.Critical,
		Expr: o.WithBudget(alerts.HysteresisWhile(o.Scope, "SnatExhaustionPredicted", urgent, probability,
			query.Number(t.Page), query.Number(t.PageClear), scarce(o, probability), on)),
		KeepFiringFor: alerts.Bridge,
		Summary:       "SNAT ports to a destination run out within minutes.",
		Description: "On {{ $labels.instance }}, new {{ $labels.protocol }} flows" + alerts.To +
			"{{ with $labels.vip }} by way of VIP {{ . }}{{ end }} will soon find no SNAT port: " + told + ".",
		Detail: space.Ask(space.Of(metrics.PortsHeld), " "+alerts.Answer(alerts.Whole)+" ports are held there"+
			space.Ask("max("+space.Of(metrics.PortsHeld)+") / max("+space.Of(metrics.LowPortsFill)+") or on () "+
				node.Of(metrics.BudgetEffectivePorts), "; the effective ceiling is "+alerts.Answer(alerts.Whole))+".") +
			space.Holders("", "of them") +
			space.Ask(space.Of(metrics.TimeToExhaustion)+" > 0 < +Inf",
				" As likely as not the ports are gone within "+alerts.Answer(alerts.Period)+".") +
			alerts.Helps,
		Board: alerts.BoardNode, Panel: alerts.PanelNodeProbability,
	}
}

// scarce says where the probability was not below the level that clears the page for a while, and ports are scarce
// still in the fullest port space of the budget. Its value is that level.
func scarce(o options.Options, probability string) string {
	level, on := query.Number(o.Thresholds.PageClear), o.Agent(metrics.LabelBudget, metrics.LabelProtocol)
	return fmt.Sprintf("clamp_max(max_over_time(%s[%.0fm]) >= %s, %s)\nand on (%s)\n%s", probability,
		alerts.ScarceKeep.Minutes(), level, level, on, records.Use(o, records.NodeScarce))
}
