package backtest

import (
	"fmt"
	"math"

	"github.com/snatwatch/snatwatch/internal/backtest/score"
)

// Point is an operating point: a method with a threshold for each horizon.
type Point struct {
	Name       string
	Method     string
	Thresholds [horizons]float64
}

// Fitted is what is learned about the methods from the training runs, by method name.
type Fitted struct {
	Thresholds map[string][horizons]float64
	isotonic   map[string][horizons]score.Isotonic
}

// probability returns what a method's score means; nil for a peer without training.
func (f *Fitted) probability(method string, h int) func(score float32) float64 {
	if fit, ok := f.isotonic[method]; ok {
		return fit[h].Probability
	}
	if isPeer(method) {
		return nil
	}
	return func(score float32) float64 { return float64(score) }
}

// alarms are the points by horizon, in the order point, horizon.
func alarms(ms []Method, points []Point) []score.Alarm {
	index := map[string]int{}
	for i, m := range ms {
		index[m.Name()] = i
	}
	var as []score.Alarm
	for _, p := range points {
		for h := range horizons {
			as = append(as, score.Alarm{Name: p.Name, Method: index[p.Method], Horizon: h, Threshold: p.Thresholds[h]})
		}
	}
	return as
}

// warnAt are the probabilities at which the forecast's warnings are reported beside the
// fitted thresholds.
func warnAt() []float64 { return []float64{0.2, 0.3, 0.5} }

// OperatingPoints are the fitted points of the forecast and its peers, then the fixed ones that
// people use: 80 and 90 % of the ceiling, and a line that reaches the ceiling within the horizon.
func OperatingPoints(f *Fitted) []Point {
	same := func(x float64) [horizons]float64 { return [horizons]float64{x, x, x, x} }
	var ps []Point
	for _, name := range names(methods([]Variant{{Name: NameForecast}}, 0)) {
		if t, ok := f.Thresholds[name]; ok {
			ps = append(ps, Point{name, name, t})
		}
	}
	for _, p := range warnAt() {
		ps = append(ps, Point{fmt.Sprintf("%s P>=%.1f", NameForecast, p), NameForecast, same(p)})
	}
	return append(ps,
		Point{"threshold 80 %", NameUtilisation, same(0.8)},
		Point{"threshold 90 %", NameUtilisation, same(0.9)},
		Point{"predict_linear 5m >= 1", "predict_linear 5m", same(1)},
		Point{"predict_linear 15m >= 1", "predict_linear 15m", same(1)},
		Point{"holt damped >= 1", "holt damped", same(1)},
		Point{"holt damped 15s >= 1", "holt damped 15s", same(1)},
	)
}

// builtinThresholds are those with the best macro F1 on the training seeds of all scenarios, by
// method and horizon, as --scenario=all --json printed them. 0 is to warn always.
func builtinThresholds() map[string][horizons]float64 {
	return map[string][horizons]float64{
		NameForecast:         {0.148, 0.206, 0.266, 0.234},
		NameUtilisation:      {0.958, 0.924, 0.879, 0.243},
		"holt damped":        {0.963, 0.924, 0.872, 0.181},
		"holt":               {1.021, 1.11, 0, 0},
		"holt damped 15s":    {0.968, 0.932, 0.869, 0},
		"predict_linear 5m":  {0.95, 0.92, 0.488, 0},
		"predict_linear 15m": {0.933, 0.918, 0.899, 0},
		"predict_linear 60m": {0.944, 0.924, 0.919, 0.411},
		"little 1m":          {0.919, 0.903, 0.468, 0.237},
		"little 5m":          {0.946, 0.909, 0.478, 0.411},
	}
}

// builtinFit are the thresholds that the scenarios' training seeds gave, for records, which have
// none of their own.
func builtinFit() *Fitted {
	f := &Fitted{Thresholds: map[string][horizons]float64{}}
	for _, m := range methods([]Variant{{Name: NameForecast}}, 0) {
		t, ok := builtinThresholds()[m.Name()]
		if !ok {
			t = [horizons]float64{math.NaN(), math.NaN(), math.NaN(), math.NaN()}
		}
		f.Thresholds[m.Name()] = t
	}
	return f
}
