package dashboards

import (
	"time"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/rules"
)

// Units: Grafana's ids, or a suffix of our own.
const (
	countOf   = "locale" // 1,024, where short says 1.02 K of 1020 and 1024
	share     = "percentunit"
	period    = "dtdhms"         // 00:06:50, where s says 6.83 mins
	seconds   = "s"              // of what takes less than one
	perSecond = "suffix:flows/s" // Grafana puts a space before it
)

// full is the fill at which a port space counts as full on boards: a saturated one hovers just below its ceiling, as
// ports are freed and taken again. filling is where to begin to worry.
const (
	full    = 0.98
	filling = 0.8
)

// steps gives colors to thresholds. Without any everything has the color of text: a number that is neither good nor
// bad.
func steps(thresholds []float64, worstIsLow bool) []dashboard.Threshold {
	colors, base := []string{"orange", "red"}, "green"
	switch {
	case worstIsLow:
		colors, base = []string{"orange", "green"}, "red"
	case len(thresholds) == 0:
		base = "text"
	}
	if len(thresholds) == 1 {
		colors = colors[1:]
	}
	out := []dashboard.Threshold{{Color: base}}
	for i, t := range thresholds {
		out = append(out, dashboard.Threshold{Value: cog.ToPtr(t), Color: colors[i]})
	}
	return out
}

// shownAs is what a mapping makes of a value.
func shownAs(text, color string) dashboard.ValueMappingResult {
	return dashboard.ValueMappingResult{Text: &text, Color: &color}
}

func mapValue(value string, to dashboard.ValueMappingResult) dashboard.ValueMapping {
	return dashboard.ValueMapping{ValueMap: &dashboard.ValueMap{
		Type: dashboard.MappingTypeValueToText, Options: map[string]dashboard.ValueMappingResult{value: to},
	}}
}

// mapAbove maps what is at least from. Grafana 10 and 11 take a range without an end for one that ends at 0.
func mapAbove(from float64, to dashboard.ValueMappingResult) dashboard.ValueMapping {
	const end = 1e15
	return dashboard.ValueMapping{RangeMap: &dashboard.RangeMap{
		Type:    dashboard.MappingTypeRangeToText,
		Options: dashboard.DashboardRangeMapOptions{From: &from, To: ptr(end), Result: to},
	}}
}

func mapNull(to dashboard.ValueMappingResult) dashboard.ValueMapping {
	return mapSpecial(dashboard.SpecialValueMatchNullAndNan, to)
}

func mapSpecial(match dashboard.SpecialValueMatch, to dashboard.ValueMappingResult) dashboard.ValueMapping {
	return dashboard.ValueMapping{SpecialValueMap: &dashboard.SpecialValueMap{
		Type:    dashboard.MappingTypeSpecialValue,
		Options: dashboard.DashboardSpecialValueMapOptions{Match: match, Result: to},
	}}
}

// notKnown shows a label that a row lacks, or that is empty. Grafana 10.0 takes each text for no number, so for NaN.
var notKnown = []dashboard.ValueMapping{
	mapSpecial(dashboard.SpecialValueMatchNull, shownAs("–", "transparent")),
	mapSpecial(dashboard.SpecialValueMatchEmpty, shownAs("–", "transparent")),
}

// Times to exhaustion are clamped to one second past the longest horizon, which stands for all that is later.
const pastHour = "3601"

// timeLeft shows a time to exhaustion.
var timeLeft = []dashboard.ValueMapping{
	mapValue("0", shownAs("NOW", "red")),
	mapAbove(3600.5, shownAs("not in 1 h", "green")),
	mapNull(shownAs("needs a newer agent", "transparent")),
}

// timeLeftOfSpace is timeLeft on a node's board: a port space without a forecast has no time either.
var timeLeftOfSpace = append(timeLeft[:2:2], mapNull(shownAs("no forecast yet", "transparent")))

// yesNo shows a flag.
var yesNo = []dashboard.ValueMapping{
	mapValue("0", shownAs("no", "transparent")),
	mapValue("1", shownAs("yes", "red")), mapNull(shownAs("–", "transparent")),
}

const needsRules = "needs the recording rules"

func ptr(f float64) *float64 { return &f }

// pageRaised says when the page is raised. Agents tell the urgency of one horizon alone.
func pageRaised(o rules.Options) string {
	within := "the probability within " + o.PageHorizon
	if horizon, err := time.ParseDuration(o.PageHorizon); err != nil || horizon != detector.PageHorizon {
		return "The page is raised when " + within + " is at the red line. "
	}
	return "The page is raised when its urgency is at the red line: " + within + ", less where there is time to look " +
		"again and more where lifetimes surely grew. "
}
