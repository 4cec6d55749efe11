package backtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/internal/backtest/score"
)

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
	// Page is how the page did that is shipped, over all port spaces of a run, each judged as often as there are looks.
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

// add scores runs of the same cell.
func (c *Cell) add(runs []outcome, points []Point, fit *Fitted) {
	c.draw(runs[0], points)
	first := slices.DeleteFunc(slices.Clone(runs), func(o outcome) bool { return o.beside })
	c.scoreMethods(first, fit)
	c.scorePoints(first, points)
	c.scorePages(runs)
	for _, o := range first {
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

// scoreMethods scores what each method said, for each horizon.
func (c *Cell) scoreMethods(runs []outcome, fit *Fitted) {
	names := names(runs[0].methods)
	c.ranks = make([][horizons]score.Ranked, len(names))
	for i, name := range names {
		ms := MethodScore{Method: name}
		for h, ahead := range detector.Horizons() {
			hs := &ms.Horizons[h]
			var js []score.Judged
			for _, o := range runs {
				js = o.judged(js, i, h, ahead)
				e := o.pointError(i, h, ahead)
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
}

// scorePoints scores the warnings of each operating point; the methods have their ranks.
func (c *Cell) scorePoints(runs []outcome, points []Point) {
	for n, p := range points {
		ps := PointScore{Point: p}
		for h, ahead := range detector.Horizons() {
			for i, m := range c.Methods {
				if m.Method == p.Method {
					ps.Confusion[h] = c.ranks[i][h].At(float32(p.Thresholds[h]))
				}
			}
			for _, o := range runs {
				w := o.logs[n*horizons+h].Judge(&o.truth, o.warm, ahead)
				ps.Warnings[h].Merge(&w)
			}
		}
		c.Points = append(c.Points, ps)
	}
}

// scorePages scores the pages of all port spaces; the time that was watched is the time of the first port space of each
// run.
func (c *Cell) scorePages(runs []outcome) {
	ahead := detector.Horizons()[pageHorizon]
	for _, o := range runs {
		for i := range o.pages {
			p := o.pages[i].Judge(&o.truth, o.starts, ahead)
			if o.beside {
				p.Watched, p.Starts, p.On = 0, 0, 0
			}
			c.Page.Merge(&p)
		}
		ideal := o.ideal.Judge(&o.truth, o.starts, ahead)
		c.Ideal.Merge(&ideal)
	}
}

// drawnWarning is the probability at which the page shows a warning.
const drawnWarning = 0.3

// draw makes the cell's chart from its first run.
func (c *Cell) draw(o outcome, points []Point) {
	if o.chart == nil || len(o.chart.low) == 0 {
		return
	}
	var alarms [horizons][]score.Span
	for n, p := range points {
		for h := range horizons {
			if p.Method == NameForecast && p.Name != NameForecast && p.Thresholds[h] == drawnWarning {
				alarms[h] = o.logs[n*horizons+h].Spans
			}
		}
	}
	c.drawing = o.chart.draw(c.Group+" "+c.Member,
		fmt.Sprintf("ceiling %d ports, cool-down %s s", c.Ports, exact(c.CoolDown.Seconds())), o.truth.Episodes, alarms)
}
