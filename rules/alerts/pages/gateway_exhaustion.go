package pages

import (
	"fmt"
	"strconv"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
	"github.com/snatwatch/snatwatch/rules/records"
)

// GatewayExhaustion is the name of the page that is evaluated with the rules of the fleet.
const GatewayExhaustion = "SnatGatewayExhaustionPredicted"

// gatewayExhaustionPredicted is the page for a budget that nodes share: no node
// alone sees it coming.
func gatewayExhaustionPredicted(o options.Options) alerts.Alert {
	on := o.Space()
	space := alerts.About(on)
	return alerts.Alert{
		Name:          GatewayExhaustion,
		Severity:      o.Critical,
		Expr:          gatewayLevels(o),
		KeepFiringFor: max(time.Minute, 2*o.FleetInterval), // bridges a missed evaluation
		Summary:       "The SNAT ports of a shared gateway run out within minutes.",
		Description: "All nodes behind gateway {{ $labels.gateway }} together (budget {{ $labels.budget }}) will soon hold " +
			"every {{ $labels.protocol }} port" + alerts.To + ": " +
			"the probability within " + o.PageHorizon + " is {{ $value | humanizePercentage }}.",
		Detail: space.Ask(space.Of(records.GatewayHeld), " They hold "+alerts.Answer(alerts.Whole)+".") +
			space.Ask(space.Of(records.GatewayTime)+" > 0 < +Inf",
				" As likely as not the ports are gone within "+alerts.Answer(alerts.Period)+".") +
			space.Ask("topk(1, "+space.Of(metrics.PortsHeld)+")",
				" "+alerts.AnswerLabel("instance")+" holds the most, "+alerts.Answer(alerts.Whole)+".") +
			" More nodes do not help: the ports are shared. Another address on the gateway does where its model allows one.",
		Board: alerts.BoardFleet, Panel: alerts.PanelFleetGateway,
	}
}

// gatewayLevels is alerts.Hysteresis with the probability written once: each time costs thousands of series. The level
// is lower for a port space whose page fires.
func gatewayLevels(o options.Options) string {
	t, on := o.Thresholds, o.Space()
	probability := records.ProbabilityBy(o, o.PageHorizon)
	if o.Inline {
		return alerts.Hysteresis(o.Scope, GatewayExhaustion, probability, query.Number(t.Page), query.Number(t.PageClear), on)
	}
	firing := fmt.Sprintf("max by (%s) (ALERTS{alertname=%q, alertstate=\"firing\"})", on, GatewayExhaustion)
	return fmt.Sprintf("%s\n>= on (%s) group_left ()\n(%s - %s * (%s or 0 * %s))", probability, on,
		query.Number(t.Page), strconv.FormatFloat(t.Page-t.PageClear, 'g', 6, 64), firing,
		records.PageMean(o))
}
