package backtest

import (
	"math"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
)

// scrape is how often Prometheus sees a metric, by most people's settings.
const scrape = 15 * time.Second

// Names of the methods, as every table shows them.
const (
	NameForecast    = "snatwatch"
	NameUtilisation = "utilisation"
)

// peers are what people use today, for one port space: the utilisation itself,
// Prometheus' predict_linear and double_exponential_smoothing, and Little's law. The damped
// smoothing's parameters are among the best of ten that were tried on a training seed.
func peers() []Method {
	return []Method{
		&utilisation{},
		&holt{name: "holt damped", every: time.Second, level: 0.5, trend: 0.1, damping: 0.9},
		&holt{name: "holt", every: time.Second, level: 0.3, trend: 0.1, damping: 1},
		&holt{name: "holt damped 15s", every: scrape, level: 0.5, trend: 0.3, damping: 0.9},
		&linear{name: "predict_linear 5m", window: 5 * time.Minute},
		&linear{name: "predict_linear 15m", window: 15 * time.Minute},
		&linear{name: "predict_linear 60m", window: time.Hour},
		&little{name: "little 1m", window: time.Minute},
		&little{name: "little 5m", window: 5 * time.Minute},
	}
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

func names(ms []Method) []string {
	var ns []string
	for _, m := range ms {
		ns = append(ns, m.Name())
	}
	return ns
}

func isPeer(name string) bool {
	for _, p := range peers() {
		if p.Name() == name {
			return true
		}
	}
	return false
}

// utilisation is held ports against the ceiling: what a fixed threshold looks
// at. As a point forecast it is persistence.
type utilisation struct{ last Counts }

func (u *utilisation) Name() string      { return NameUtilisation }
func (u *utilisation) Observe(c *Counts) { u.last = *c }
func (u *utilisation) Predict(p *Prediction) {
	for h := range horizons {
		p.set(h, float64(u.last.Held), u.last.Ceiling)
	}
}

// set is for methods whose score is the expected share of the ceiling.
func (p *Prediction) set(h int, mean float64, ceiling int) {
	p.Mean[h], p.Variance[h] = mean, math.NaN()
	p.Score[h] = mean / float64(max(1, ceiling))
}

// linear is predict_linear: least squares over the samples of a window, scraped every
// 15 s, extrapolated from the moment of evaluation.
type linear struct {
	name    string
	window  time.Duration
	samples []sample // the oldest first
	last    Counts
	next    collector.Time
	// level at the last evaluation, slope per second.
	level, slope float64
}

type sample struct {
	at   collector.Time
	held float64
}

func (l *linear) Name() string { return l.name }

func (l *linear) Observe(c *Counts) {
	l.last = *c
	if c.At < l.next {
		return
	}
	l.next = c.At.Add(scrape)
	l.samples = append(l.samples, sample{c.At, float64(c.Held)})
	// A range selector leaves out a sample exactly one window old.
	drop := 0
	for l.samples[drop].at <= c.At.Add(-l.window) {
		drop++
	}
	l.samples = append(l.samples[:0], l.samples[drop:]...)
	l.level, l.slope = leastSquares(l.samples, c.At)
}

func (l *linear) Predict(p *Prediction) {
	for h, ahead := range detector.Horizons() {
		p.set(h, max(0, l.level+l.slope*ahead.Seconds()), l.last.Ceiling)
	}
}

// leastSquares returns the line's value at now and its slope per second, as Prometheus
// computes them; one sample is a level without a slope.
func leastSquares(samples []sample, now collector.Time) (level, slope float64) {
	var n, sx, sy, sxx, sxy float64
	for _, s := range samples {
		x := s.at.Sub(now).Seconds()
		n++
		sx += x
		sy += s.held
		sxx += x * x
		sxy += x * s.held
	}
	if n < 2 {
		return sy, 0
	}
	slope = (sxy - sx*sy/n) / (sxx - sx*sx/n)
	return sy/n - slope*sx/n, slope
}

// holt is double exponential smoothing as Prometheus computes it, extrapolated;
// with damping below 1 the trend fades by that factor per sample.
type holt struct {
	name                  string
	every                 time.Duration
	level, trend, damping float64

	last Counts
	next collector.Time
	n    int
	s, b float64 // smoothed level, and trend per sample
	// steps is how many trends are to come by each horizon, damped; 0 until it was asked for.
	steps [horizons]float64
}

func (m *holt) Name() string { return m.name }

func (m *holt) Observe(c *Counts) {
	m.last = *c
	if c.At < m.next {
		return
	}
	m.next = c.At.Add(m.every)
	x := float64(c.Held)
	switch m.n++; m.n {
	case 1:
		m.s = x
	case 2:
		m.b = x - m.s
		fallthrough
	default:
		s := m.level*x + (1-m.level)*(m.s+m.damping*m.b)
		m.b = m.trend*(s-m.s) + (1-m.trend)*m.damping*m.b
		m.s = s
	}
}

func (m *holt) Predict(p *Prediction) {
	for h, ahead := range detector.Horizons() {
		if m.steps[h] == 0 {
			m.steps[h] = float64(ahead) / float64(m.every)
			if m.damping < 1 {
				m.steps[h] = m.damping * (1 - math.Pow(m.damping, m.steps[h])) / (1 - m.damping)
			}
		}
		p.set(h, max(0, m.s+m.b*m.steps[h]), m.last.Ceiling)
	}
}

// little is Little's law: opens per second times (mean lifetime + cool-down), both
// means over a window.
type little struct {
	name     string
	window   time.Duration
	coolDown time.Duration
	past     []Counts // one per scrape, the oldest first, at most one older than the window
	last     Counts
	next     collector.Time
	expected float64
}

func (m *little) Name() string { return m.name }

func (m *little) Observe(c *Counts) {
	m.last = *c
	if c.At < m.next {
		return
	}
	m.next = c.At.Add(scrape)
	m.past = append(m.past, *c)
	drop := 0
	for len(m.past) > drop+1 && m.past[drop+1].At <= c.At.Add(-m.window) {
		drop++
	}
	m.past = append(m.past[:0], m.past[drop:]...)
	first := m.past[0]
	dt := c.At.Sub(first.At).Seconds()
	if dt == 0 {
		m.expected = float64(c.Held)
		return
	}
	life := 0.0
	if closed := c.Closed - first.Closed; closed > 0 {
		life = (c.Lived - first.Lived) / float64(closed)
	}
	m.expected = float64(c.Opened-first.Opened) / dt * (life + m.coolDown.Seconds())
}

func (m *little) Predict(p *Prediction) {
	for h := range horizons {
		p.set(h, m.expected, m.last.Ceiling)
	}
}
