package backtest

import "github.com/snatwatch/snatwatch/detector"

const horizons = detector.NumHorizons

// horizonNames are the horizons as the metrics' label shows them.
func horizonNames() [horizons]string { return [horizons]string{"1m", "5m", "15m", "1h"} }

// Prediction is what a method says at one moment, by horizon.
type Prediction struct {
	// Score says how sure exhaustion by the horizon is: a probability for the forecast, a share
	// of the ceiling for its peers. Only its order counts until a threshold is fitted.
	Score [horizons]float64
	// Mean is the held ports expected at the horizon, Variance its uncertainty (NaN where a
	// method has none).
	Mean, Variance [horizons]float64
}

// Method is one way to tell exhaustion ahead, for one port space.
type Method interface {
	Name() string
	// Observe is called at each tick.
	Observe(*Counts)
	Predict(*Prediction)
}

// forecast is the method under test: what a detector's snapshot says of one port space.
type agentForecast struct {
	name    string
	counts  Counts
	current detector.Forecast
	has     bool
}

func (f *agentForecast) Name() string      { return f.name }
func (f *agentForecast) Observe(c *Counts) { f.counts, f.has = *c, false }

// take reads a snapshot; it comes after Observe.
func (f *agentForecast) take(s *detector.SpaceSnapshot) {
	if f.has = s.Forecast != nil; f.has {
		f.current = *s.Forecast
	}
}

// said is the forecast of the snapshot; zero for a space without one.
func (f *agentForecast) said() detector.Forecast {
	if f.has {
		return f.current
	}
	return detector.Forecast{}
}

// Predict says what the snapshot says. A space without a forecast is one that is
// not busy: it stays as it is, and nothing is to be feared.
func (f *agentForecast) Predict(p *Prediction) {
	if f.has {
		p.Score, p.Mean, p.Variance = f.current.Probability, f.current.Mean, f.current.Variance
		return
	}
	for h := range horizons {
		p.Score[h], p.Mean[h], p.Variance[h] = 0, float64(f.counts.Held), 0
	}
}
