package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// gatewayRecords add up the nodes behind a shared gateway, destination by
// destination. Means and variances add; the budget does not (max).
func (o Options) gatewayRecords() []Record {
	records := append(o.records(gatewayScrapes, GatewayPorts, GatewayHeld, GatewayUnseen, GatewayOpened), o.meanRecords()...)
	records = append(records, o.records(gatewayDeviations, gatewayAt)...)
	for i, h := range metrics.HorizonValues() {
		records = append(records, Record{Name: GatewayProbability, Expr: o.byHorizon(i), Labels: atHorizon(h)})
	}
	return append(records, o.records(GatewayTime)...)
}

func atHorizon(h string) map[string]string { return map[string]string{string(metrics.LabelHorizon): h} }

// What is told of each destination carries its gateway where nodes share it.
const alone = `gateway!=""`

func (o Options) defineGateway(name string, matchers ...string) string {
	some := `destination!="other"`
	held := o.m(metrics.PortsHeld, alone, some)
	// What is told of each agent is joined to its gateway.
	joined := func(expr string) string { return o.joined(metrics.LabelGateway, expr, `scope="shared"`) }
	shared := func(op, expr string) string { return o.over(op, joined(expr), o.gateway()) }
	switch name {
	case gatewayScrapes: // how often a node is told: twice where two jobs scrape it
		nodes := o.m(metrics.BudgetEffectivePorts)
		return fmt.Sprintf("count by (%s) (%s)\n/\n(%s > 0)", o.gateway(), joined(nodes), shared("count", nodes))
	case GatewayPorts:
		return shared("max", o.m(metrics.BudgetEffectivePorts))
	case GatewayHeld:
		return o.overSpaces("sum", held)
	case GatewayUnseen: // what a destination may hold beyond GatewayHeld on nodes that do not export it
		return shared("sum", o.m(metrics.FoldedPortsHeldMax))
	case GatewayOpened:
		return shared("sum", "rate("+o.m(metrics.FlowsOpened)+"[5m])")
	case GatewayMean:
		return o.sumAhead(metrics.ForecastPortsMean, []metrics.Label{metrics.LabelHorizon}, matchers...)
	case GatewayVariance:
		return o.sumAhead(metrics.ForecastPortsVariance, []metrics.Label{metrics.LabelHorizon}, matchers...)
	case gatewayNodes:
		return o.overSpaces("count", held)
	case gatewayDeviations:
		return o.deviations(matchers...)
	case gatewayAt:
		return o.normalTail(matchers...)
	case GatewayTime:
		return o.medianTime()
	}
	panic("rules: no record is called " + name)
}

// byHorizon is the probability by a horizon: at it or at an earlier one.
func (o Options) byHorizon(i int) string {
	values, op := metrics.HorizonValues(), "="
	if i > 0 {
		op = "=~"
	}
	return "max without (horizon) (" + o.use(gatewayAt, fmt.Sprintf(`horizon%s"%s"`, op, strings.Join(values[:i+1], "|"))) + ")"
}

// probabilityBy is the probability by horizon h, recorded or written out.
func (o Options) probabilityBy(h string) string {
	if values := metrics.HorizonValues(); o.inline {
		return fmt.Sprintf("label_replace(%s, \"horizon\", %q, \"\", \"\")", o.byHorizon(slices.Index(values[:], h)), h)
	}
	return o.use(GatewayProbability, horizonIs(h))
}

// normalTail is P(N > ceiling) for a normal N. PromQL has no normal CDF: the
// logistic form 1/(1+exp(-(1.5976 x + 0.070566 x^3))) is within 0.00015 of it
// (Bowling et al. 2009, J. Ind. Eng. Manag. 2(1)).
func (o Options) normalTail(matchers ...string) string {
	x := o.use(gatewayDeviations, matchers...)
	return "1 / (1 + exp(\n  1.5976 * " + strings.TrimLeft(indent(x), " ") + "\n  + 0.070566 * " + strings.TrimLeft(indent(x), " ") + " ^ 3\n))"
}

// deviations is how many standard deviations the ceiling is above the mean. The variance of the sum of n
// nodes whose forecasts are pairwise correlated by r is at most 1+r(n-1) times the sum of
// variances, and just that when they are equal: from 1 (independent) to n (in step). Until variances
// of a new destination are recorded, its variance is its mean, as that of ports taken one by one. One port
// of variance is added so that a certain forecast divides by no zero.
func (o Options) deviations(matchers ...string) string {
	r := o.Thresholds.Correlation
	mean := o.use(GatewayMean, matchers...)
	variance := fmt.Sprintf("(\n      %s * on (%s) group_left () (1 + %g * (%s - 1))\n      or\n      %s\n    )",
		o.variance(matchers...), o.space(), r, o.useLast(gatewayNodes), mean)
	return fmt.Sprintf("clamp(\n  (%s - on (%s) group_right () %s)\n  / sqrt(\n    %s\n    + 1\n  ),\n  -8, 8\n)",
		o.use(GatewayPorts), o.gateway(), mean, variance)
}

// medianTime finds where the mean crosses the ceiling, straight between two horizons: 0 when it
// is passed now, +Inf when no horizon passes it.
func (o Options) medianTime() string {
	on := " on (" + o.gateway() + ") group_left () "
	held, ports := o.use(GatewayHeld), o.use(GatewayPorts)
	at := []string{held}
	seconds := []float64{0}
	values := metrics.HorizonValues()
	for i, h := range detector.Horizons() {
		at = append(at, o.meanAt(values[i]))
		seconds = append(seconds, float64(h/time.Second))
	}
	terms := []string{fmt.Sprintf("0 * (%s >=%s%s)", held, on, ports)}
	for i := 1; i < len(at); i++ {
		terms = append(terms, fmt.Sprintf("%g + %g * (\n  -(%s <%s%s) +%s%s\n) / (\n  (%s >=%s%s) - %s\n)",
			seconds[i-1], seconds[i]-seconds[i-1], at[i-1], on, ports, on, ports, at[i], on, ports, at[i-1]))
	}
	terms = append(terms, "Inf + 0 * "+held)
	return strings.Join(terms, "\nor\n")
}
