package rules

import (
	"fmt"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// pageRecords add up the nodes behind a shared gateway, destination by destination, at the page's horizon; halfRecords
// before it. Means and variances add; the budget does not (max).
func (o Options) pageRecords() []Record { return o.meanRecords(o.pageIndex(), o.pageIndex()+1) }

func (o Options) halfRecords() []Record {
	return append(o.records(GatewayPorts, GatewayHeld, GatewayUnseen, GatewayOpened), o.meanRecords(0, o.pageIndex())...)
}

// meanRecords are the means at the horizons from number first to before number end.
func (o Options) meanRecords(first, end int) []Record {
	var records []Record
	values := metrics.HorizonValues()
	for _, h := range values[first:end] {
		records = append(records, Record{Name: GatewayMean, Expr: o.sumAt(metrics.ForecastPortsMean, h), Labels: atHorizon(h)})
	}
	return records
}

// aheadRecords are what boards show of a gateway, each worked out of the sums alone; probabilityRecords what they show of
// deviations, which take too many series to be worked out again for each.
func (o Options) aheadRecords() []Record {
	last := detector.NumHorizons - 1
	var records []Record
	for i, h := range metrics.HorizonValues() {
		if o.beyondPage(i) {
			records = append(records, Record{Name: GatewayMean, Expr: o.meanBeyond(horizonIs(h)), Labels: atHorizon(h)})
		}
	}
	return append(records, Record{Name: gatewayDeviations, Expr: o.deviations(last)}, Record{Name: GatewayTime, Expr: o.medianTime()})
}

func (o Options) probabilityRecords() []Record {
	records := []Record{{Name: gatewayAt, Expr: normalTail(o.read(gatewayDeviations, o.space(metrics.LabelHorizon)))}}
	for i, h := range metrics.HorizonValues() {
		closest := fmt.Sprintf("min by (%s) (%s)", o.space(), o.use(gatewayDeviations, horizonsFrom(0, i)))
		records = append(records, Record{Name: GatewayProbability, Expr: normalTail(closest), Labels: atHorizon(h)})
	}
	return records
}

func atHorizon(h string) map[string]string { return map[string]string{string(metrics.LabelHorizon): h} }

// What is told of each destination carries its gateway where nodes share it.
const alone = `gateway!=""`

func (o Options) defineGateway(name string, matchers ...string) string {
	some := `destination!="other"`
	held := o.m(metrics.PortsHeld, alone, some)
	// What is told of each agent is joined to its gateway.
	shared := func(op, expr string) string {
		return o.over(op, o.joined(metrics.LabelGateway, expr, `scope="shared"`), o.gateway())
	}
	switch name {
	case GatewayPorts:
		return shared("max", o.m(metrics.BudgetEffectivePorts))
	case GatewayHeld:
		return o.overSpaces("sum", held)
	case GatewayUnseen: // what a destination may hold beyond GatewayHeld on nodes that do not export it
		return shared("sum", o.m(metrics.FoldedPortsHeldMax))
	case GatewayOpened:
		return shared("sum", "rate("+o.m(metrics.FlowsOpened)+"[5m])")
	case GatewayMean, gatewaySeldom:
		return o.sumAhead(metrics.ForecastPortsMean, []metrics.Label{metrics.LabelHorizon}, matchers...)
	case GatewayVariance:
		return o.sumAhead(metrics.ForecastPortsVariance, []metrics.Label{metrics.LabelHorizon}, matchers...)
	case gatewayNodes:
		return o.overSpaces("count", held)
	}
	panic("rules: no record is called " + name)
}

// byHorizon is the probability by horizon i: at it or at an earlier one.
func (o Options) byHorizon(i int) string {
	return normalTail("min by (" + o.space() + ") (\n" + indent(o.deviations(i)) + "\n)")
}

// probabilityBy is byHorizon with the label of horizon h.
func (o Options) probabilityBy(h string) string {
	for i, v := range metrics.HorizonValues() {
		if v == h {
			return fmt.Sprintf("label_replace(\n%s,\n  \"horizon\", %q, \"\", \"\"\n)", indent(o.byHorizon(i)), h)
		}
	}
	panic("rules: no horizon is called " + h)
}

// normalTail is P(N > ceiling) for a normal N. PromQL has no normal CDF: the
// logistic form 1/(1+exp(-(1.5976 x + 0.070566 x^3))) is within 0.00015 of it
// (Bowling et al. 2009, J. Ind. Eng. Manag. 2(1)).
func normalTail(deviations string) string {
	x := strings.TrimLeft(indent(deviations), " ")
	return "1 / (1 + exp(\n  1.5976 * " + x + "\n  + 0.070566 * " + x + " ^ 3\n))"
}

// deviations is how many standard deviations the ceiling is above the mean, at the horizons up to number last. The
// variance of the sum of n nodes whose forecasts are pairwise correlated by r is at most 1+r(n-1) times the sum of
// variances, and just that when they are equal: from 1 (independent) to n (in step). Before the page's horizon
// variances are as large a part of means as at it. Until variances
// of a new destination are recorded, its variance is its mean, as that of ports taken one by one. One port
// of variance is added so that a certain forecast divides by no zero.
func (o Options) deviations(last int) string {
	by, page := o.space(metrics.LabelHorizon), o.pageIndex()
	join := "\n* on (" + o.space() + ") group_left () "
	mean := o.near(last)
	var variance string
	if o.inline {
		variance = o.use(GatewayVariance, horizonsFrom(0, last))
	} else {
		variance = mean + join + o.dispersion(o.space(), horizonIs(o.PageHorizon))
	}
	inStep := join + fmt.Sprintf("(1 + %g * (%s - 1))", o.Thresholds.Correlation, o.readLast(gatewayNodes, o.space()))
	variance += inStep
	if last > page {
		far := o.far(last)
		variance += "\nor\n" + far + "\n* " + o.dispersion(by, horizonsFrom(page+1, last)) + inStep
		mean = "(\n" + indent(mean+"\nor\n"+far) + "\n)"
	}
	return fmt.Sprintf("clamp(\n  (%s - on (%s) group_right () %s)\n  / sqrt(\n    (\n%s\n      or\n%s\n    )\n    + 1\n  ),\n  -8, 8\n)",
		o.read(GatewayPorts, o.gateway()), o.gateway(), strings.TrimLeft(indent(mean), " "),
		indent(indent(indent(variance))), indent(indent(indent(mean))))
}

// medianTime finds where the mean crosses the ceiling, straight between two horizons: 0 when it
// is passed now, +Inf when no horizon passes it.
func (o Options) medianTime() string {
	on := " on (" + o.gateway() + ") group_left () "
	held, ports := o.read(GatewayHeld, o.space()), o.read(GatewayPorts, o.gateway())
	at := []string{held}
	seconds := []float64{0}
	for i, h := range detector.Horizons() {
		at = append(at, o.meanAt(i))
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
