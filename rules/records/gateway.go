package records

import (
	"fmt"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
)

// Page is what moves fast of the means up to the page's horizon, Half of what nodes behind a gateway hold; Half and
// Quarter add up the rest. Half also has what each node reports once. Means and variances add; the budget does not
// (max).
func Page(o options.Options) []Record {
	excess := o.Metric(metrics.ExcessForecastPortsMean, query.HorizonsFrom(0, pageIndex(o)))
	return []Record{{
		Name: gatewayMeanPart, Expr: o.OverSpaces("sum", excess, metrics.LabelHorizon), Labels: part(partExcess, ""),
	}}
}

// Half is recorded half as often as Page.
func Half(o options.Options) []Record {
	return append(Of(o, GatewayPorts, GatewayUnseen, GatewayOpened),
		meanRest(o, o.PageHorizon),
		Record{
			Name: gatewayHeldPart, Expr: o.OverSpaces("sum", o.Metric(metrics.ExcessPortsHeld)),
			Labels: part(partExcess, ""),
		})
}

// Quarter is recorded a quarter as often as Page.
func Quarter(o options.Options) []Record {
	records := []Record{{
		Name: gatewayHeldPart, Expr: rest(o, heldBehind(o), o.Metric(metrics.ExcessPortsHeld)), Labels: part(partRest, ""),
	}}
	values := metrics.HorizonValues()
	for _, h := range values[:pageIndex(o)] {
		records = append(records, meanRest(o, h))
	}
	return records
}

// Ahead is what boards show of a gateway, each worked out of the sums alone; Probability is what they show of
// deviations, which take too many series to be worked out again for each.
func Ahead(o options.Options) []Record {
	records := []Record{{Name: GatewayHeld, Expr: Held(o)}}
	for i, h := range metrics.HorizonValues() {
		records = append(records, Record{Name: GatewayMean, Expr: meanAt(o, i), Labels: atHorizon(h)})
	}
	return append(records, Record{Name: gatewayDeviations, Expr: deviations(o, detector.NumHorizons-1)},
		Record{Name: GatewayTime, Expr: medianTime(o)})
}

// Probability is the probability that follows from deviations, at and by each horizon.
func Probability(o options.Options) []Record {
	records := []Record{{Name: gatewayAt, Expr: normalTail(Read(o, gatewayDeviations, o.Space(metrics.LabelHorizon)))}}
	for i, h := range metrics.HorizonValues() {
		closest := fmt.Sprintf("min by (%s) (%s)", o.Space(), Use(o, gatewayDeviations, query.HorizonsFrom(0, i)))
		records = append(records, Record{Name: GatewayProbability, Expr: normalTail(closest), Labels: atHorizon(h)})
	}
	return records
}

func atHorizon(h string) map[string]string { return map[string]string{string(metrics.LabelHorizon): h} }

// What agents report of each destination carries its gateway where nodes share it.
const alone = `gateway!=""`

func heldBehind(o options.Options) string {
	return o.Metric(metrics.PortsHeld, alone, `destination!="other"`)
}

func defineGateway(o options.Options, name string, matchers ...string) string {
	// What each agent reports of itself is joined to its gateway.
	shared := func(op, expr string) string {
		return query.Over(op, o.Joined(metrics.LabelGateway, expr, `scope="shared"`), o.Gateway())
	}
	switch name {
	case GatewayPorts:
		return shared("max", o.Metric(metrics.BudgetEffectivePorts))
	case GatewayHeld:
		return o.OverSpaces("sum", heldBehind(o))
	case GatewayUnseen: // what a destination may hold beyond GatewayHeld on nodes that do not export it
		return shared("sum", o.Metric(metrics.FoldedPortsHeldMax))
	case GatewayOpened:
		return shared("sum", "rate("+o.Metric(metrics.FlowsOpened)+"[5m])")
	case GatewayMean, gatewaySeldom, gatewayFar:
		return sumAhead(o, metrics.ForecastPortsMean, []metrics.Label{metrics.LabelHorizon}, matchers...)
	case GatewayVariance:
		return sumAhead(o, metrics.ForecastPortsVariance, []metrics.Label{metrics.LabelHorizon}, matchers...)
	case gatewayNodes:
		return o.OverSpaces("count", heldBehind(o))
	}
	panic("rules: no record is called " + name)
}

// byHorizon is the probability by horizon i: at it or at an earlier one.
func byHorizon(o options.Options, i int) string {
	return normalTail("min by (" + o.Space() + ") (\n" + query.Indent(deviations(o, i)) + "\n)")
}

// ProbabilityBy is byHorizon with the label of horizon h.
func ProbabilityBy(o options.Options, h string) string {
	for i, v := range metrics.HorizonValues() {
		if v == h {
			return fmt.Sprintf("label_replace(\n%s,\n  \"horizon\", %q, \"\", \"\"\n)", query.Indent(byHorizon(o, i)), h)
		}
	}
	panic("rules: no horizon is called " + h)
}

// normalTail is P(N > ceiling) for a normal N. PromQL has no normal CDF: the
// logistic form 1/(1+exp(-(1.5976 x + 0.070566 x^3))) is within 0.00015 of it
// (Bowling et al. 2009, J. Ind. Eng. Manag. 2(1)). Since 3 sinh(u) + 4 sinh(u)^3 = sinh(3u), the cubic is
// tailScale * sinh(3 asinh(x / tailWidth)): so what x is made of is written, and read, once.
func normalTail(deviations string) string {
	x := strings.TrimLeft(query.Indent(deviations), " ")
	return fmt.Sprintf("1 / (1 + exp(%.6f * sinh(3 * asinh(\n  %s\n  / %.6f\n))))", tailScale, x, tailWidth)
}

// Width = sqrt(4*1.5976 / (3*0.070566)) and scale = 1.5976*width/3 in standard deviations.
const (
	tailWidth = 5.494215
	tailScale = 2.925853
)

// deviations is how many standard deviations the ceiling is above the mean, at the horizons up to number last. The
// variance of the sum of n nodes whose forecasts are pairwise correlated by r is at most 1+r(n-1) times the sum of
// variances, and just that when they are equal: from 1 (independent) to n (in step). Before the page's horizon
// variances are as large a part of means as at it. Until variances
// of a new destination are recorded, its variance is its mean, as the variance of ports taken one by one is. One port
// of variance is added so that a certain forecast divides by no zero.
func deviations(o options.Options, last int) string {
	by, page := o.Space(metrics.LabelHorizon), pageIndex(o)
	join := "\n* on (" + o.Space() + ") group_left () "
	mean := near(o, last)
	var variance string
	if o.Inline {
		variance = Use(o, GatewayVariance, query.HorizonsFrom(0, last))
	} else {
		variance = mean + join + dispersion(o, gatewaySeldom, o.Space(), query.HorizonIs(o.PageHorizon))
	}
	inStep := join + fmt.Sprintf("(1 + %g * (%s - 1))", o.Thresholds.Correlation, readLast(o, gatewayNodes, o.Space()))
	variance += inStep
	if last > page {
		far := far(o, last)
		variance += "\nor\n" + far + "\n* " + dispersion(o, gatewayFar, by, query.HorizonsFrom(page+1, last)) + inStep
		mean = "(\n" + query.Indent(mean+"\nor\n"+far) + "\n)"
	}
	return fmt.Sprintf("clamp(\n  (%s - on (%s) group_right () %s)\n  / sqrt(\n    (\n%s\n      or\n%s\n    )\n    + "+
		"1\n  ),\n  -8, 8\n)",
		Read(o, GatewayPorts, o.Gateway()), o.Gateway(), strings.TrimLeft(query.Indent(mean), " "),
		query.Indent(query.Indent(query.Indent(variance))), query.Indent(query.Indent(query.Indent(mean))))
}

// medianTime finds where the mean crosses the ceiling, straight between two horizons: 0 when it
// is passed now, +Inf when no horizon passes it.
func medianTime(o options.Options) string {
	on := " on (" + o.Gateway() + ") group_left () "
	held, ports := Held(o), Read(o, GatewayPorts, o.Gateway())
	at := []string{held}
	seconds := []float64{0}
	for i, h := range detector.Horizons() {
		at = append(at, meanAt(o, i))
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
