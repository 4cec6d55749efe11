package backtest

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/internal/backtest/score"
)

// chart keeps of one replay what the page draws: some hundred samples over time.
type chart struct {
	every   int // ticks per sample
	tick    time.Duration
	low     []int32 // held ports, least and most since the sample before
	high    []int32
	ceiling []int32
	said    []Prediction
}

// samples is how many a chart has at least, and less than twice as many.
const samples = 400

func newChart(ticks int, tick time.Duration) *chart {
	return &chart{every: max(1, ticks/samples), tick: tick}
}

// add takes tick k; predict is asked at the last tick of a sample.
func (c *chart) add(k int, n *Counts, predict func(*Prediction)) {
	held := int32(n.Held)
	if k%c.every == 0 {
		c.low, c.high = append(c.low, held), append(c.high, held)
		c.ceiling = append(c.ceiling, int32(n.Ceiling))
		c.said = append(c.said, Prediction{})
	}
	i := len(c.low) - 1
	c.low[i], c.high[i] = min(c.low[i], held), max(c.high[i], held)
	c.ceiling[i] = int32(n.Ceiling)
	if k%c.every == c.every-1 || k == 0 {
		predict(&c.said[i])
	}
}

// The drawing area of a chart, in units of the SVG.
const (
	chartWidth, chartHeight = 1000, 170
	stripHeight             = 34
)

// drawing is a chart as the page's template needs it.
type drawing struct {
	Title, Text     string
	Held, Ceiling   string // points
	CeilingPorts    int
	Episodes        []stretch
	Horizons        [horizons]drawnHorizon
	XTicks, YTicks  []mark
	Width, Height   int
	Strip, FullHigh int
}

// drawnHorizon is what the forecast said for one horizon, put where it was meant to come.
type drawnHorizon struct {
	Name        string
	Band, Mean  string
	Probability string
	Warnings    []stretch
}

type stretch struct{ X, Width float64 }

type mark struct {
	At   float64
	Text string
}

// draw turns the chart into points. alarms are spans of ticks by horizon.
func (c *chart) draw(title, text string, episodes []score.Span, alarms [horizons][]score.Span) *drawing {
	total := float64(len(c.low) * c.every)
	top := 1.0
	for i, h := range c.high {
		// Demand is uncapped; what lies far beyond the ceiling tells nothing more.
		top = max(top, min(float64(h), 1.4*float64(c.ceiling[i])), 1.1*float64(c.ceiling[i]))
	}
	x := func(tick float64) float64 { return chartWidth * tick / total }
	y := func(ports float64) float64 { return chartHeight * (1 - max(0, min(1, ports/top))) }
	at := func(i int) float64 { return x((float64(i) + 0.5) * float64(c.every)) }
	d := &drawing{
		Title: title, Text: text, Width: chartWidth, Height: chartHeight, Strip: stripHeight,
		FullHigh: chartHeight + stripHeight + 18,
	}

	var held, ceiling path
	for i := range c.low {
		held.add(at(i), y(float64(c.high[i])))
		ceiling.add(x(float64(i*c.every)), y(float64(c.ceiling[i])))
		ceiling.add(x(float64((i+1)*c.every)), y(float64(c.ceiling[i])))
	}
	for i := len(c.low) - 1; i >= 0; i-- {
		held.add(at(i), y(float64(c.low[i])))
	}
	d.Held, d.Ceiling, d.CeilingPorts = held.String(), ceiling.String(), int(c.ceiling[0])
	for _, e := range episodes {
		d.Episodes = append(d.Episodes, stretch{x(float64(e.From)), x(float64(e.To - e.From))})
	}
	for h, ahead := range detector.Horizons() {
		n := &d.Horizons[h]
		n.Name = horizonNames()[h]
		shift := x(float64(ahead / c.tick))
		var mean, probability, under path
		var band path
		probability.add(0, stripHeight)
		for i, p := range c.said {
			if at(i)+shift > chartWidth {
				break
			}
			sd := math.Sqrt(p.Variance[h])
			mean.add(at(i)+shift, y(p.Mean[h]))
			band.add(at(i)+shift, y(p.Mean[h]+1.6449*sd))
			under.add(at(i)+shift, y(p.Mean[h]-1.6449*sd))
		}
		for i, p := range c.said {
			probability.add(at(i), stripHeight*(1-p.Score[h]))
		}
		probability.add(chartWidth, stripHeight)
		n.Mean, n.Probability = mean.String(), probability.String()
		n.Band = band.String() + " " + under.reversed()
		for _, a := range alarms[h] {
			n.Warnings = append(n.Warnings, stretch{x(float64(a.From)), max(1.5, x(float64(a.To-a.From+1)))})
		}
	}
	d.XTicks, d.YTicks = c.marks(total, top)
	return d
}

// marks are some five to ten round places on each axis.
func (c *chart) marks(total, top float64) (xs, ys []mark) {
	span := time.Duration(total) * c.tick
	step := time.Minute
	for _, s := range []time.Duration{
		5 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour,
		6 * time.Hour, 24 * time.Hour, 168 * time.Hour,
	} {
		if span/step > 10 {
			step = s
		}
	}
	for t := time.Duration(0); t < span; t += step {
		xs = append(xs, mark{chartWidth * float64(t) / float64(span), fmt.Sprintf("%d:%02d", int(t.Hours()),
			int(t.Minutes())%60)})
	}
	unit := math.Pow(10, math.Floor(math.Log10(max(1, top/4))))
	for _, m := range []float64{1, 2, 5} {
		if top/(unit*m) <= 5 || m == 5 {
			unit *= m
			break
		}
	}
	for v := 0.0; v <= top; v += unit {
		ys = append(ys, mark{chartHeight * (1 - v/top), fmt.Sprintf("%.0f", v)})
	}
	return xs, ys
}

// path is points of a polyline.
type path struct {
	points []string
}

func (p *path) add(x, y float64) {
	if !math.IsNaN(y) {
		p.points = append(p.points, fmt.Sprintf("%.1f,%.1f", x, y))
	}
}

func (p *path) String() string { return strings.Join(p.points, " ") }

func (p *path) reversed() string {
	var b strings.Builder
	for i := len(p.points) - 1; i >= 0; i-- {
		b.WriteString(p.points[i])
		b.WriteByte(' ')
	}
	return b.String()
}
