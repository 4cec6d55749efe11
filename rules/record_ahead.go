package rules

import (
	"fmt"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// A fleet has a mean and a variance of each horizon, destination and node, and Prometheus takes 10 us for
// each series that a rule reads: 0.5 s for those of one horizon of 1000 nodes with 50 destinations. So every
// FleetInterval rules read only what the page needs, the ports held and the means up to its horizon; seldom they
// read the rest, and record how the rest relates to what is read often. In between it moves with that.

// meanRecords are the means at every horizon: added up to the page's, since a fleet may fill and settle within minutes,
// and from there as far off it as the last sum was.
func (o Options) meanRecords() []Record {
	var records []Record
	for i, h := range metrics.HorizonValues() {
		expr := o.sumAt(metrics.ForecastPortsMean, h)
		if o.beyondPage(i) {
			expr = fmt.Sprintf("clamp_min(\n  %s\n  + max without (horizon) (%s),\n  0\n)", o.meanAt(o.PageHorizon), o.useLast(gatewayBend, horizonIs(h)))
		}
		records = append(records, Record{Name: GatewayMean, Expr: expr, Labels: atHorizon(h)})
	}
	return records
}

// seldomRecords are the nodes that hold ports of a destination, how far means beyond the page's horizon are
// off the one at it, variances, and variances in proportion to means.
func (o Options) seldomRecords() []Record {
	records := o.records(gatewayNodes)
	for i, h := range metrics.HorizonValues() {
		add := func(name, expr string) {
			records = append(records, Record{Name: name, Expr: expr, Labels: atHorizon(h)})
		}
		mean := o.meanAt(h)
		if o.beyondPage(i) {
			add(gatewayBend, o.sumAt(metrics.ForecastPortsMean, h)+"\n-\n"+o.meanAt(o.PageHorizon))
			mean = o.meanAt(o.PageHorizon) + " + max without (horizon) (" + o.use(gatewayBend, horizonIs(h)) + ")"
		}
		add(GatewayVariance, o.sumAt(metrics.ForecastPortsVariance, h))
		add(gatewayDispersion, fmt.Sprintf("max without (horizon) (%s)\n/\n(%s > 0)", o.use(GatewayVariance, horizonIs(h)), mean))
	}
	return records
}

// variance is the sum of variances, as it was seldom recorded but in proportion to the mean: a fleet that fills up
// within minutes is not taken for as sure of itself as it was.
func (o Options) variance(matchers ...string) string {
	if o.inline {
		return o.use(GatewayVariance, matchers...)
	}
	return o.useLast(gatewayDispersion, matchers...) + " * " + o.use(GatewayMean, matchers...)
}

func horizonIs(h string) string { return fmt.Sprintf("horizon=%q", h) }

// beyondPage says whether horizon i is longer than the page's.
func (o Options) beyondPage(i int) bool {
	values := metrics.HorizonValues()
	return i > slices.Index(values[:], o.PageHorizon)
}

// meanAt is the mean at horizon h without its label.
func (o Options) meanAt(h string) string {
	return fmt.Sprintf("max without (horizon) (%s)", o.use(GatewayMean, horizonIs(h)))
}

// gateway lists the labels of what nodes share of a budget in one protocol.
func (o Options) gateway(more ...metrics.Label) string {
	return o.labels(append([]metrics.Label{metrics.LabelBudget, metrics.LabelGateway, metrics.LabelProtocol}, more...)...)
}

// space lists the labels of a port space that nodes share.
func (o Options) space(more ...metrics.Label) string {
	return o.gateway(append([]metrics.Label{metrics.LabelVIP, metrics.LabelDestination}, more...)...)
}

// sumAt adds up forecasts at horizon h. A rule reads one horizon at a time: Prometheus sorts the series that a rule
// reads, and the more there are the more each of them costs.
func (o Options) sumAt(metric metrics.Name, h string) string {
	return o.sumAhead(metric, nil, horizonIs(h))
}

// sumAhead adds up forecasts by port space and more.
func (o Options) sumAhead(metric metrics.Name, more []metrics.Label, matchers ...string) string {
	return o.overSpaces("sum", o.m(metric, append([]string{alone}, matchers...)...), more...)
}

// seldom is the interval of what moves slowly.
func (o Options) seldom() time.Duration { return 8 * o.FleetInterval }

// useLast is use of what is recorded seldom, and stands when one evaluation is missed. Prometheus itself forgets a
// recorded series after five minutes.
func (o Options) useLast(name string, matchers ...string) string {
	if o.inline {
		return o.use(name, matchers...)
	}
	return "last_over_time(" + o.use(name, matchers...) + "[" + duration(3*o.seldom()) + "])"
}
