package records

import (
	"fmt"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
)

// labelPart tells the parts of what all nodes behind a gateway hold of a port space, and will. The excess is what
// each of them has above its share of a quarter of the ceiling: few series, which rules add up often. The rest is all
// that they have without the excess of the same moment: every port space of every node, added up less often. It is at
// most a quarter of the ceiling, so a gateway comes near its end by the excess; where that end comes within the
// interval of the rest, it may be seen with the next one. Agents that tell no excess are in the rest whole.
const labelPart metrics.Label = "part"

const (
	partRest   = "rest"
	partExcess = "excess"
)

func part(name, horizon string) map[string]string {
	labels := map[string]string{string(labelPart): name}
	if horizon != "" {
		labels[string(metrics.LabelHorizon)] = horizon
	}
	return labels
}

// rest is what nodes tell of port spaces without the excess, both read at once: a rest and an excess of two moments
// would count twice what grew in between.
func rest(o options.Options, all, excess string) string {
	by := o.Space()
	return o.OverSpaces("sum", fmt.Sprintf("\n  sum by (%s) (%s)\n  or\n"+
		"  label_replace(-1 * sum by (%s) (%s), %q, %q, \"\", \"\")\n", by, all, by, excess, labelPart, partExcess))
}

func meanRest(o options.Options, h string) Record {
	at := query.HorizonIs(h)
	return Record{
		Name: gatewayMeanPart, Labels: part(partRest, h),
		Expr: rest(o, o.Metric(metrics.ForecastPortsMean, alone, at), o.Metric(metrics.ExcessForecastPortsMean, at)),
	}
}

// Held is what all nodes behind a gateway hold, by port space. Its rest is recorded so seldom that Prometheus forgets
// it before the next but one: where one evaluation is missed, as while Prometheus starts again, the last one stands.
// The excess must not be read so: where it is gone, nobody has any.
func Held(o options.Options) string {
	if o.Inline {
		return Use(o, GatewayHeld)
	}
	by := o.Space(labelPart)
	return fmt.Sprintf("sum by (%s) (\n  %s\n  or\n  max by (%s) (last_over_time(%s[%s]))\n)", o.Space(),
		Read(o, gatewayHeldPart, by, is(partExcess)), by, Use(o, gatewayHeldPart, is(partRest)),
		overMissed(o))
}

// overMissed is a range that has what is recorded every Quarter though one evaluation was missed.
func overMissed(o options.Options) string { return query.Duration(2*o.Quarter() + o.FleetInterval) }

func is(part string) string { return fmt.Sprintf("%s=%q", labelPart, part) }

// PageMean is the mean at the page's horizon, by port space.
func PageMean(o options.Options) string { return mean(o, query.HorizonIs(o.PageHorizon)) }

// mean is that at horizons up to the page's, by port space and more.
func mean(o options.Options, matcher string, more ...metrics.Label) string {
	if o.Inline {
		return Use(o, GatewayMean, matcher)
	}
	return fmt.Sprintf("sum by (%s) (%s)", o.Space(more...),
		Read(o, gatewayMeanPart, o.Space(append(more, labelPart)...), matcher))
}
