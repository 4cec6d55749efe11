package rules

import (
	"fmt"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// gatewayRecords add up the nodes behind a shared gateway, destination by
// destination. Means and variances add; the budget does not (max).
func (o Options) gatewayRecords() []Record {
	space := []metrics.Label{metrics.LabelBudget, metrics.LabelGateway, metrics.LabelProtocol, metrics.LabelVIP, metrics.LabelDestination}
	horizon := metrics.LabelHorizon
	shared := func(op, expr string, by ...metrics.Label) string {
		return fmt.Sprintf("%s by (%s) (\n%s\n  * on (%s) group_left (gateway) %s\n)",
			op, o.labels(by...), indent(expr), o.agent(metrics.LabelBudget), o.m(metrics.BudgetInfo, `scope="shared"`))
	}
	protocol := []metrics.Label{metrics.LabelBudget, metrics.LabelGateway, metrics.LabelProtocol}
	ahead := append(space[:len(space):len(space)], horizon)
	records := []Record{
		{Name: gatewayPorts, Expr: shared("max", o.m(metrics.BudgetEffectivePorts), protocol...)},
		{Name: gatewayHeld, Expr: shared("sum", o.m(metrics.PortsHeld, `destination!="other"`), space...)},
		// What a destination may hold beyond gatewayHeld on nodes that do not export it.
		{Name: gatewayUnseen, Expr: shared("sum", o.m(metrics.FoldedPortsHeldMax), protocol...)},
		{Name: gatewayOpened, Expr: shared("sum", "rate("+o.m(metrics.FlowsOpened)+"[5m])", protocol...)},
		{Name: gatewayMean, Expr: shared("sum", o.m(metrics.ForecastPortsMean), ahead...)},
		{Name: gatewayVariance, Expr: shared("sum", o.m(metrics.ForecastPortsVariance), ahead...)},
		{Name: gatewayDeviation, Expr: shared("sum", "sqrt("+o.m(metrics.ForecastPortsVariance)+")", ahead...)},
		{Name: gatewayAt, Expr: o.normalTail()},
	}
	values := metrics.HorizonValues()
	for i, h := range values {
		records = append(records, Record{
			Name: gatewayProbability,
			// By a horizon is at it or at an earlier one.
			Expr:   fmt.Sprintf("max without (horizon) (%s)", recorded(gatewayAt, fmt.Sprintf(`horizon=~"%s"`, strings.Join(values[:i+1], "|")))),
			Labels: map[string]string{string(horizon): h},
		})
	}
	return append(records, Record{Name: gatewayTime, Expr: o.medianTime()})
}

// normalTail is P(N > ceiling) for a normal N. PromQL has no normal CDF: the
// logistic form 1/(1+exp(-(1.5976 x + 0.070566 x^3))) is within 0.00015 of it
// (Bowling et al. 2009, J. Ind. Eng. Manag. 2(1)). The variance of the sum of n
// nodes whose forecasts are pairwise correlated by r is (1-r) sum(v) + r sum(sqrt(v))^2:
// for equal nodes the factor 1+r(n-1), from 1 (independent) to n (in step). One port
// of variance is added so that a certain forecast divides by no zero.
func (o Options) normalTail() string {
	r := o.Thresholds.Correlation
	x := fmt.Sprintf(`clamp(
  (%s - on (%s) group_right %s)
  / sqrt(%g * %s + %g * %s ^ 2 + 1),
  -8, 8
)`, gatewayPorts, o.labels(metrics.LabelBudget, metrics.LabelGateway, metrics.LabelProtocol), gatewayMean, 1-r, gatewayVariance, r, gatewayDeviation)
	return "1 / (1 + exp(\n  1.5976 * " + strings.TrimLeft(indent(x), " ") + "\n  + 0.070566 * " + strings.TrimLeft(indent(x), " ") + " ^ 3\n))"
}

// medianTime finds where the mean crosses the ceiling, straight between two horizons: 0 when it
// is passed now, +Inf when no horizon passes it.
func (o Options) medianTime() string {
	on := " on (" + o.labels(metrics.LabelBudget, metrics.LabelGateway, metrics.LabelProtocol) + ") group_left "
	at := []string{gatewayHeld}
	seconds := []float64{0}
	values := metrics.HorizonValues()
	for i, h := range detector.Horizons() {
		at = append(at, fmt.Sprintf("max without (horizon) (%s)", recorded(gatewayMean, fmt.Sprintf(`horizon="%s"`, values[i]))))
		seconds = append(seconds, float64(h/time.Second))
	}
	terms := []string{fmt.Sprintf("0 * (%s >=%s%s)", gatewayHeld, on, gatewayPorts)}
	for i := 1; i < len(at); i++ {
		terms = append(terms, fmt.Sprintf("%g + %g * (\n  -(%s <%s%s) +%s%s\n) / (\n  (%s >=%s%s) - %s\n)",
			seconds[i-1], seconds[i]-seconds[i-1], at[i-1], on, gatewayPorts, on, gatewayPorts, at[i], on, gatewayPorts, at[i-1]))
	}
	terms = append(terms, "Inf + 0 * "+gatewayHeld)
	return strings.Join(terms, "\nor\n")
}
