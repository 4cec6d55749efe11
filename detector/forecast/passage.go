package forecast

import (
	"math"
)

// passage is how near to the ceiling a forecast has come on its way.
type passage struct {
	// left is the least distance to the ceiling so far, in standard deviations of the time at which it is; low that to the one
	// beyond the edge of a table that the pool may cross.
	left, low [components]float64
	// clocked and clockedLow are the probabilities by the clock that the one and the other is passed.
	clocked, clockedLow float64
	// topClock and topRest are the highest fill so far by the clock, and by all others together.
	topClock, topRest float64
	// topBurst is the variance that bursts add to topClock; clockVar and restVar are the others of the two.
	topBurst, clockVar, restVar float64
	// reach is how high the fill can be at topRest, by so many standard deviations.
	reach float64
}

// topReach is how many standard deviations of chance a time is to be higher than others by, to be the fullest.
const topReach = 2

func startPassage() passage {
	p := passage{topClock: math.Inf(-1), topRest: math.Inf(-1), reach: math.Inf(-1)}
	for k := range p.left {
		p.left[k], p.low[k] = math.Inf(1), math.Inf(1)
	}
	return p
}

// top is the highest fill so far, where the clock has share trust.
func (p *passage) top(trust float64) float64 {
	switch trust {
	case 0:
		return p.topRest
	case 1:
		return p.topClock
	}
	return trust*p.topClock + (1-trust)*p.topRest
}

// step goes on to place i of the grid, of horizon h, and returns the probability that the ceiling
// is passed by then.
func (o tick) step(w *workspace, p *passage, i, h int, trust, blind float64) float64 {
	s, c := o.account, &w.course
	others := 1 - w.weight[h][clock]
	if others > 1e-6 {
		rest := (c.mix[i] - w.weight[h][clock]*c.mean[clock][i]) / others
		v := c.variance[i] + max(0, rest-c.base[i]) + 1
		if reach := rest + topReach*math.Sqrt(v); reach > p.reach {
			p.reach, p.topRest, p.restVar = reach, rest, v
		}
	}
	if c.peak[i] > p.topClock {
		p.topClock, p.topBurst = c.peak[i], c.peakBurst[i]
		p.clockVar = c.variance[i] + max(0, c.peak[i]-c.base[i]) + 1
	}
	crossed := s.crossed[i]
	sum := 0.0
	for k, x := range w.weight[h] {
		var at, atLow float64
		if k == clock {
			if x = trust; x < 1e-6 {
				continue
			}
			sd := c.deviation(k, i, blind)
			p.clocked = max(p.clocked, o.burstExceeds(w, i, s.ceiling, sd))
			p.clockedLow = max(p.clockedLow, o.burstExceeds(w, i, s.next, sd))
			at, atLow = p.clocked, p.clockedLow
		} else {
			sd := c.deviation(k, i, blind)
			p.left[k] = min(p.left[k], (s.ceiling-c.mean[k][i])/sd)
			if crossed > 0 {
				p.low[k] = min(p.low[k], (s.next-c.mean[k][i])/sd)
			}
			if x *= (1 - trust) / max(others, 1e-6); x < 1e-6 {
				continue
			}
			at = w.exceeds(o.account, p.left[k])
			if crossed > 0 {
				atLow = w.exceeds(o.account, p.low[k])
			}
		}
		sum += x * (at + crossed*max(0, atLow-at))
	}
	return sum
}

// pass computes the probability that the fill passes the ceiling on its way, and keeps
// forecasts to be judged.
func (o tick) pass(w *workspace, c Conditions, now, held, seen float64) {
	s, co, f := o.account, &w.course, &o.forecast
	blind := o.blindness(c, now, held)
	f.Inexact = blind > 0 || c.WarmingUntil > c.Now
	f.TimeToExhaustion = math.Inf(1)
	way := startPassage()
	trust := o.trust(w, 0)
	least, before := 0.0, 0.0 // probability at the time before
	h := 0
	o.learnt[0].cumulate(0, s.f, &w.above)
	for i, u := range w.grid {
		if i > w.horizon[h] {
			h++
			trust = o.trust(w, h)
			o.learnt[h].cumulate(h, s.f, &w.above)
		}
		p := o.step(w, &way, i, h, trust, blind)
		if s.f.without&PartCalibration == 0 {
			p = s.f.calibration[h].apply(p)
		}
		p = max(p, least)
		if least < 0.5 && p >= 0.5 {
			f.TimeToExhaustion = before + (u-before)*(0.5-least)/(p-least)
		}
		least, before = p, u
		if i == w.horizon[h] {
			l := &o.learnt[h]
			variance := co.variance[i] + max(0, co.mix[i]-co.base[i]) + 1
			topSD := math.Sqrt((1-trust)*way.restVar + trust*(way.clockVar+way.topBurst))
			variance += w.weight[h][clock] * co.burst[i]
			f.Mean[h] = co.mix[i]
			f.Variance[h] = variance*l.variance() + blind
			if h > 0 {
				// A horizon that has not yet come due is no surer than a nearer one that has.
				f.Variance[h] = max(f.Variance[h], f.Variance[h-1])
			}
			f.Probability[h] = p
			o.keep(h, now, held, pending{
				mix: float32(co.mix[i]), sd: float32(math.Sqrt(variance)),
				top: float32(way.top(trust)), topSD: float32(topSD),
				topClock: float32(way.topClock), topRest: float32(way.topRest),
				said: float32(p), beyond: held >= s.ceiling, burst: w.expectsBurst(u),
			}, i, w)
		}
	}
	if c.Failing || seen >= s.ceiling {
		f.TimeToExhaustion = 0
		for h := range f.Probability {
			f.Probability[h] = 1
		}
	}
}

// burstExceeds is the probability by the clock that the fill is above ceiling between place i of
// the grid and the one before; sd is its standard deviation then.
func (o tick) burstExceeds(w *workspace, i int, ceiling, sd float64) float64 {
	// How much bursts vary is known, so the errors of other times say nothing of them.
	r := (ceiling - w.course.peak[i]) / sd
	known := w.course.peakBurst[i] / (sd * sd)
	return known*normalTail(r) + (1-known)*w.exceeds(o.account, r)
}

// exceeds is the probability that the residual is above r.
func (w *workspace) exceeds(a *Account, r float64) float64 {
	if a.f.without&PartTail != 0 {
		return normalTail(r)
	}
	return w.bins.beyond(&w.above, r)
}

// normalTail is the probability that a standard normal variable is above r.
func normalTail(r float64) float64 { return math.Erfc(r/math.Sqrt2) / 2 }

// settled is for how many seconds after the first cool-down is over an outlook's forecasts
// are not kept to be judged: until then the space fills up, whatever comes later.
const settled = 60

// keep stores the forecast p of horizon h, at place i of the grid, to be judged when due.
func (o tick) keep(h int, now, held float64, p pending, i int, w *workspace) {
	l := &o.learnt[h]
	u := int64(w.grid[i])
	if int64(now) < l.next || now-o.began < settled+float64(o.account.longest) {
		return
	}
	for j := range l.waiting {
		if l.waiting[j].due != 0 {
			continue
		}
		p.due = int64(now) + u
		for k := range p.mean {
			p.mean[k] = float32(w.course.mean[k][i])
		}
		p.rate, p.rateMean = float32(o.rate-o.rateMean), float32(o.rateMean)
		p.fill, p.fillMean = float32(held-o.fillMean), float32(o.fillMean)
		p.arrivals = o.opened
		l.waiting[j] = p
		l.next = int64(now) + u/pendings
		return
	}
}

// blindness is the variance that comes from flows lost in an overrun.
func (o tick) blindness(c Conditions, now, held float64) float64 {
	v := 0.0
	if c.InexactSince != 0 {
		lost := o.rate*min(max(now-c.InexactSince.Seconds(), 1), 60) + held/50
		v += lost * lost
	}
	return v
}

// cumulate puts into above the tail of horizon h: what was learnt, and by its worth what the factory says of this kind
// of load.
func (l *learnt) cumulate(h int, f *Forecaster, above *[tailBins + 1]float64) {
	share := l.kind.shares(&f.common[h])
	l.tail.cumulate(&f.factory[h], &share, f.work.worth[h], above)
}
