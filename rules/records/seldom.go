package records

import (
	"fmt"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
)

// A fleet has a mean and a variance of each horizon, destination and node, and Prometheus takes 5 us for each series
// that a rule reads: 0.25 s for those of one horizon of 1000 nodes with 50 destinations. So means are added up in two
// parts (parts.go), of which the one that moves fast is of few series, and variances seldom, with the means that they
// are of.
//
// What is recorded is a sum of what agents tell, and never of what another rule records: some engines write results a
// while after the evaluation, and each link of a chain of rules then costs an interval. Pages and what boards show are
// worked out of the sums in one expression.

// Seldom are the nodes that hold ports of a destination, and at the page's horizon the variances and the means that
// they are of.
func Seldom(o options.Options) []Record {
	return append(Of(o, gatewayNodes),
		ahead(o, gatewaySeldom, metrics.ForecastPortsMean, o.PageHorizon),
		ahead(o, GatewayVariance, metrics.ForecastPortsVariance, o.PageHorizon))
}

// Far are the means from the page's horizon on and the variances beyond it, for boards alone.
func Far(o options.Options) []Record {
	records := []Record{ahead(o, gatewayFar, metrics.ForecastPortsMean, o.PageHorizon)}
	values := metrics.HorizonValues()
	for _, h := range values[pageIndex(o)+1:] {
		records = append(records, ahead(o, gatewayFar, metrics.ForecastPortsMean, h),
			ahead(o, GatewayVariance, metrics.ForecastPortsVariance, h))
	}
	return records
}

// ahead records the sum of forecasts at horizon h. A rule reads one horizon at a time: Prometheus sorts the series
// that a rule reads, and the more there are the more each of them costs.
func ahead(o options.Options, name string, of metrics.Name, h string) Record {
	return Record{Name: name, Expr: sumAhead(o, of, nil, query.HorizonIs(h)), Labels: atHorizon(h)}
}

// near is the mean at the horizons up to number last, none beyond the page's, by port space and horizon; far that at
// the horizons beyond the page's, as far off the mean there as it was when it was recorded.
func near(o options.Options, last int) string {
	return mean(o, query.HorizonsFrom(0, min(last, pageIndex(o))), metrics.LabelHorizon)
}

func far(o options.Options, last int) string {
	return meanBeyond(o, query.HorizonsFrom(pageIndex(o)+1, last), metrics.LabelHorizon)
}

// meanBeyond is the mean at horizons longer than the page's, by port space and more.
func meanBeyond(o options.Options, matcher string, more ...metrics.Label) string {
	join := " "
	if len(more) > 0 {
		join = " on (" + o.Space() + ") group_left () "
	}
	return fmt.Sprintf("clamp_min(\n  %s\n  -%s%s\n  +%s%s,\n  0\n)",
		readLast(o, gatewayFar, o.Space(more...), matcher), join, readLast(o, gatewayFar, o.Space(),
			query.HorizonIs(o.PageHorizon)),
		join, PageMean(o))
}

// meanAt is the mean at horizon i by port space.
func meanAt(o options.Options, i int) string {
	h := query.HorizonIs(metrics.HorizonValues()[i])
	if beyondPage(o, i) {
		return meanBeyond(o, h)
	}
	return mean(o, h)
}

// dispersion is variance in proportion to the mean, as it was seldom recorded, by some labels: a fleet that fills up
// within minutes is not taken for as sure of itself as it was.
func dispersion(o options.Options, mean, by, matcher string) string {
	return fmt.Sprintf("(%s / (%s > 0))", readLast(o, GatewayVariance, by, matcher), readLast(o, mean, by, matcher))
}

func pageIndex(o options.Options) int {
	values := metrics.HorizonValues()
	return slices.Index(values[:], o.PageHorizon)
}

// beyondPage says whether horizon i is longer than the page's.
func beyondPage(o options.Options, i int) bool { return i > pageIndex(o) }

// sumAhead adds up forecasts by port space and more.
func sumAhead(o options.Options, metric metrics.Name, more []metrics.Label, matchers ...string) string {
	return o.OverSpaces("sum", o.Metric(metric, append([]string{alone}, matchers...)...), more...)
}

// SeldomInterval is the interval of what moves slowly, FarInterval the interval of what only boards show of it.
func SeldomInterval(o options.Options) time.Duration { return 16 * o.FleetInterval }

// FarInterval is twice SeldomInterval.
func FarInterval(o options.Options) time.Duration { return 2 * SeldomInterval(o) }

// Read is a recorded series by some of its labels. It may stand twice, where two evaluators run the rules, and may
// carry a label that its evaluator stamps on all it records: neither is left.
func Read(o options.Options, name, by string, matchers ...string) string {
	if o.Inline {
		return Use(o, name, matchers...)
	}
	return "max by (" + by + ") (" + Use(o, name, matchers...) + ")"
}

// readLast is Read of what is recorded seldom, and stands when one evaluation is missed. Engines
// forget a series after five minutes.
func readLast(o options.Options, name, by string, matchers ...string) string {
	if o.Inline {
		return Use(o, name, matchers...)
	}
	return "max by (" + by + ") (last_over_time(" + Use(o, name, matchers...) + "[" +
		query.Duration(3*FarInterval(o)) + "]))"
}
