package rules

import (
	"fmt"
	"strconv"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

const gatewayPage = "SnatGatewayExhaustionPredicted"

// gatewayExhaustionPredicted is the page for a budget that nodes share: no node
// alone sees it coming.
func (o Options) gatewayExhaustionPredicted() Alert {
	on := o.space()
	space := about(on)
	return Alert{
		Name:          gatewayPage,
		Severity:      o.Critical,
		Expr:          o.gatewayLevels(),
		KeepFiringFor: max(time.Minute, 2*o.FleetInterval), // bridges a missed evaluation
		Summary:       "The SNAT ports of a shared gateway run out within minutes.",
		Description: "All nodes behind gateway {{ $labels.gateway }} together (budget {{ $labels.budget }}) will soon hold every {{ $labels.protocol }} port" + to + ": " +
			"the probability within " + o.PageHorizon + " is {{ $value | humanizePercentage }}.",
		Detail: space.ask(space.of(GatewayHeld), " They hold "+answer(whole)+".") +
			space.ask(space.of(GatewayTime)+" > 0 < +Inf", " At this course they are gone in "+answer(period)+".") +
			space.ask("topk(1, "+space.of(metrics.PortsHeld)+")", " "+answerLabel("instance")+" holds the most, "+answer(whole)+".") +
			" More nodes do not help: the ports are shared. Another address on the gateway does where its model allows one.",
		Board: BoardFleet, Panel: PanelFleetGateway,
	}
}

// gatewayLevels is hysteresis with the probability written once: each time costs thousands of series. The level is lower for a
// port space whose page fires.
func (o Options) gatewayLevels() string {
	t, on := o.Thresholds, o.space()
	probability := o.probabilityBy(o.PageHorizon)
	if o.inline {
		return o.hysteresis(gatewayPage, probability, number(t.Page), number(t.PageClear), on)
	}
	firing := fmt.Sprintf("max by (%s) (ALERTS{alertname=%q, alertstate=\"firing\"})", on, gatewayPage)
	return fmt.Sprintf("%s\n>= on (%s) group_left ()\n(%s - %s * (%s or 0 * %s))", probability, on,
		number(t.Page), strconv.FormatFloat(t.Page-t.PageClear, 'g', 6, 64), firing, o.read(GatewayMean, on, horizonIs(o.PageHorizon)))
}
