package backtest

import (
	"time"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/ledger"
	"github.com/snatwatch/snatwatch/internal/backtest/score"
)

// Variant is a way to set up the ledger: the forecast as it is, or with a part of it taken
// away to see what that part earns.
type Variant struct {
	Name   string
	Config ledger.Config
}

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

// HorizonScore is how a method did for one horizon.
type HorizonScore struct {
	// AP is the average precision; NaN where no episode began.
	AP    float64
	Error PointError
	// Reliability of the probabilities: the forecast's own, or those that isotonic
	// regression of a peer's score gave in training.
	Reliability score.Reliability
}

// MethodScore is how a method did.
type MethodScore struct {
	Method   string
	Horizons [horizons]HorizonScore
}

// PointScore is how an operating point did.
type PointScore struct {
	Point
	Confusion [horizons]score.Confusion
	Warnings  [horizons]score.Warnings
}

// Cell is all runs of one scenario and profile, or one port space of a record.
type Cell struct {
	Group, Member string
	// Nominal is the budget and Ports its effective ceiling at the start; CoolDown is that after FIN.
	Nominal  int
	Ports    int
	CoolDown time.Duration
	Runs     int
	Episodes int
	// Predictions is how many were judged, Days how long the runs were, warm-up left out.
	Predictions int
	Days        float64
	// Apart is by how many ports the ledger's count and the replay's own differed at most.
	Apart   int
	Methods []MethodScore
	Points  []PointScore
	// Page is how the page did that is shipped, over all port spaces of a run.
	Page score.Pages
	// Ideal is how the same page would do on an oracle.
	Ideal score.Pages
	// ranks are the scores of each method, kept to pool cells.
	ranks [][horizons]score.Ranked
	// drawing is the chart of the first run; nil without a page.
	drawing *drawing
	// Hits is how many predictions were followed by exhaustion within the horizon, of Known.
	Hits, Known [horizons]int
}

// methods returns the forecasts of the variants, then their peers.
func methods(variants []Variant, coolDown time.Duration) []Method {
	var ms []Method
	for _, v := range variants {
		ms = append(ms, &agentForecast{name: v.Name})
	}
	ms = append(ms, peers()...)
	for _, m := range ms {
		if l, ok := m.(*little); ok {
			l.coolDown = coolDown
		}
	}
	return ms
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

// add scores runs of the same cell.
func (c *Cell) add(runs []outcome, points []Point, fit *Fitted) {
	c.draw(runs[0], points)
	names := names(runs[0].methods)
	ahead := detector.Horizons()
	c.ranks = make([][horizons]score.Ranked, len(names))
	for i, name := range names {
		ms := MethodScore{Method: name}
		for h := range horizons {
			hs := &ms.Horizons[h]
			var js []score.Judged
			for _, o := range runs {
				if o.beside {
					continue
				}
				js = o.judged(js, i, h, ahead[h])
				e := o.pointError(i, h, ahead[h])
				hs.Error.merge(&e)
			}
			if probability := fit.probability(name, h); probability != nil {
				for _, j := range js {
					hs.Reliability.Add(probability(j.Score), j.Hit)
				}
			}
			c.ranks[i][h] = score.Rank(js)
			hs.AP = score.AveragePrecision(c.ranks[i][h])
			if i == 0 {
				c.Hits[h] = len(c.ranks[i][h].Hits)
				c.Known[h] = len(js)
			}
		}
		c.Methods = append(c.Methods, ms)
	}
	for n, p := range points {
		ps := PointScore{Point: p}
		for h := range horizons {
			for i, name := range names {
				if name == p.Method {
					ps.Confusion[h] = c.ranks[i][h].At(float32(p.Thresholds[h]))
				}
			}
			for _, o := range runs {
				if o.beside {
					continue
				}
				w := o.logs[n*horizons+h].Judge(&o.truth, o.warm, ahead[h])
				ps.Warnings[h].Merge(&w)
			}
		}
		c.Points = append(c.Points, ps)
	}
	for _, o := range runs {
		p := o.page.Judge(&o.truth, o.starts, ahead[pageHorizon])
		if o.beside {
			p.Watched, p.Starts, p.On = 0, 0, 0
		}
		c.Page.Merge(&p)
		ideal := o.ideal.Judge(&o.truth, o.starts, ahead[pageHorizon])
		c.Ideal.Merge(&ideal)
		if o.beside {
			continue
		}
		c.Runs++
		c.Apart = max(c.Apart, o.apart)
		for _, e := range o.truth.Episodes {
			if e.From > o.warm {
				c.Episodes++
			}
		}
		c.Predictions += len(o.at)
		c.Days += float64(max(0, len(o.truth.Held)-o.warm)) * o.truth.Tick.Seconds() / 86400
	}
}
