package backtest

import (
	"context"
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/internal/backtest/score"
)

// training is what the runs of one job teach: scores and what came of them, by method name.
type training map[string]*[horizons][]score.Judged

// train runs the seeds that thresholds are fitted on.
func (j job) train(ctx context.Context, cfg Config, advanced func(time.Duration)) (*training, error) {
	t := training{}
	cfg.Oracle = false // it is not trained
	for seed := range cfg.TrainSeeds {
		o, err := j.run(ctx, cfg, uint64(firstTrainSeed+seed), nil, advanced)
		if err != nil {
			return nil, err
		}
		for i, m := range o[0].methods {
			if t[m.Name()] == nil {
				t[m.Name()] = &[horizons][]score.Judged{}
			}
			for h, ahead := range detector.Horizons() {
				js := &t[m.Name()][h]
				*js = o[0].judged(*js, i, h, ahead)
			}
		}
	}
	return &t, nil
}

// fit finds a threshold for each method and horizon, the same for all scenarios, and what
// probability each score of a peer means.
func fit(jobs []job, trained []*training) *Fitted {
	f := &Fitted{Thresholds: map[string][horizons]float64{}, isotonic: map[string][horizons]score.Isotonic{}}
	if len(trained) == 0 {
		return f
	}
	for name := range *trained[0] {
		var thresholds [horizons]float64
		var isotonics [horizons]score.Isotonic
		for h := range horizons {
			var all []score.Judged
			var groups []score.Ranked
			for i, j := range jobs {
				js := (*trained[i])[name][h]
				all = append(all, js...)
				if i == 0 || jobs[i-1].scenario.Name != j.scenario.Name {
					groups = append(groups, score.Ranked{})
				}
				g := &groups[len(groups)-1]
				*g = score.Pool([]score.Ranked{*g, score.Rank(js)})
			}
			thresholds[h] = float64(score.FitThreshold(groups))
			isotonics[h] = score.FitIsotonic(all)
		}
		f.Thresholds[name] = thresholds
		if isPeer(name) {
			f.isotonic[name] = isotonics
		}
	}
	return f
}

func isPeer(name string) bool {
	for _, p := range peers() {
		if p.Name() == name {
			return true
		}
	}
	return false
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
