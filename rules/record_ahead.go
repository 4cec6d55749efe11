package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// A fleet has a mean and a variance of each horizon, destination and node, and Prometheus takes 10 us for
// each series that a rule reads: 0.5 s for those of one horizon of 1000 nodes with 50 destinations. So every
// FleetInterval a rule reads only what the page needs most, the means at its horizon; half as often the ports held and
// the means before that horizon; and seldom the rest, with the means at the page's horizon once more beside it.
// In between the rest moves with those means.
//
// What is recorded is a sum of what agents tell, and never of what another rule records: some engines write results a
// while after the evaluation, and each link of a chain of rules then costs an interval. Pages and what boards show are
// worked out of the sums in one expression.

// seldomRecords are the nodes that hold ports of a destination, variances from the page's horizon on, and the means that
// they are of.
func (o Options) seldomRecords() []Record {
	records := o.records(gatewayNodes)
	values := metrics.HorizonValues()
	for _, h := range values[o.pageIndex():] {
		for _, r := range []struct {
			name string
			of   metrics.Name
		}{{gatewaySeldom, metrics.ForecastPortsMean}, {GatewayVariance, metrics.ForecastPortsVariance}} {
			records = append(records, Record{Name: r.name, Expr: o.sumAt(r.of, h), Labels: atHorizon(h)})
		}
	}
	return records
}

// near is the mean at the horizons up to number last, none beyond the page's, by port space and horizon; far that at the
// horizons beyond the page's, as far off the mean there as it was when it was recorded.
func (o Options) near(last int) string {
	return o.read(GatewayMean, o.space(metrics.LabelHorizon), horizonsFrom(0, min(last, o.pageIndex())))
}

func (o Options) far(last int) string {
	return o.meanBeyond(horizonsFrom(o.pageIndex()+1, last), metrics.LabelHorizon)
}

// meanBeyond is the mean at horizons longer than the page's, by port space and more.
func (o Options) meanBeyond(matcher string, more ...metrics.Label) string {
	join := " "
	if len(more) > 0 {
		join = " on (" + o.space() + ") group_left () "
	}
	return fmt.Sprintf("clamp_min(\n  %s\n  -%s%s\n  +%s%s,\n  0\n)",
		o.readLast(gatewaySeldom, o.space(more...), matcher), join, o.readLast(gatewaySeldom, o.space(), horizonIs(o.PageHorizon)),
		join, o.read(GatewayMean, o.space(), horizonIs(o.PageHorizon)))
}

// meanAt is the mean at horizon i by port space.
func (o Options) meanAt(i int) string {
	h := horizonIs(metrics.HorizonValues()[i])
	if o.beyondPage(i) {
		return o.meanBeyond(h)
	}
	return o.read(GatewayMean, o.space(), h)
}

// dispersion is variance in proportion to the mean, as it was seldom recorded, by some labels: a fleet that fills up within
// minutes is not taken for as sure of itself as it was.
func (o Options) dispersion(by, matcher string) string {
	return fmt.Sprintf("(%s / (%s > 0))", o.readLast(GatewayVariance, by, matcher), o.readLast(gatewaySeldom, by, matcher))
}

func horizonIs(h string) string { return fmt.Sprintf("horizon=%q", h) }

// horizonsFrom matches the horizons from number first to number last.
func horizonsFrom(first, last int) string {
	values := metrics.HorizonValues()
	if first == last {
		return horizonIs(values[first])
	}
	return fmt.Sprintf("horizon=~%q", strings.Join(values[first:last+1], "|"))
}

func (o Options) pageIndex() int {
	values := metrics.HorizonValues()
	return slices.Index(values[:], o.PageHorizon)
}

// beyondPage says whether horizon i is longer than the page's.
func (o Options) beyondPage(i int) bool { return i > o.pageIndex() }

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

// read is a recorded series by some of its labels. It may stand twice, where two evaluators run the rules, and may
// carry a label that its evaluator stamps on all it records: neither is left.
func (o Options) read(name, by string, matchers ...string) string {
	if o.inline {
		return o.use(name, matchers...)
	}
	return "max by (" + by + ") (" + o.use(name, matchers...) + ")"
}

// readLast is read of what is recorded seldom, and stands when one evaluation is missed. Engines
// forget a series after five minutes.
func (o Options) readLast(name, by string, matchers ...string) string {
	if o.inline {
		return o.use(name, matchers...)
	}
	return "max by (" + by + ") (last_over_time(" + o.use(name, matchers...) + "[" + duration(3*o.seldom()) + "]))"
}
