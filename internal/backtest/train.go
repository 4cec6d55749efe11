package backtest

import (
	"context"
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector"
)

// training is what the runs of one job teach: scores and what came of them, by method name.
type training map[string]*[horizons][]judged

// train runs the seeds that thresholds are fitted on.
func (j job) train(ctx context.Context, cfg Config, advanced func(time.Duration)) (*training, error) {
	t := training{}
	for seed := range cfg.TrainSeeds {
		o, err := j.run(ctx, cfg, uint64(firstTrainSeed+seed), nil, advanced)
		if err != nil {
			return nil, err
		}
		for i, m := range o.methods {
			if t[m.Name()] == nil {
				t[m.Name()] = &[horizons][]judged{}
			}
			for h, ahead := range detector.Horizons() {
				js := &t[m.Name()][h]
				*js = o.judged(*js, i, h, ahead)
			}
		}
	}
	return &t, nil
}

// fit finds a threshold for each method and horizon, the same for all scenarios, and what
// probability each score of a peer means.
func fit(jobs []job, trained []*training) *Fitted {
	f := &Fitted{Thresholds: map[string][horizons]float64{}, isotonic: map[string][horizons]isotonic{}}
	if len(trained) == 0 {
		return f
	}
	for name := range *trained[0] {
		var thresholds [horizons]float64
		var isotonics [horizons]isotonic
		for h := range horizons {
			var all []judged
			var groups []ranked
			for i, j := range jobs {
				js := (*trained[i])[name][h]
				all = append(all, js...)
				if i == 0 || jobs[i-1].scenario.Name != j.scenario.Name {
					groups = append(groups, ranked{})
				}
				g := &groups[len(groups)-1]
				*g = pool([]ranked{*g, rank(js)})
			}
			thresholds[h] = float64(fitThreshold(groups))
			isotonics[h] = fitIsotonic(all)
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
