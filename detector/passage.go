package detector

import "math"

// pass computes the probability that the fill passes the ceiling on its way, and keeps
// forecasts to be judged.
func (o *outlook) pass(w *workspace, c conditions, now, held float64) {
	s, co, f := o.stock, &w.course, &o.forecast
	blind := o.blindness(c, now, held)
	f.Inexact = blind > 0
	// Ports left until the ceiling, at the fullest on the way; low is until the one beyond the
	// edge of a table that the pool may cross.
	var z, low [components]float64
	for k := range z {
		z[k], low[k] = math.Inf(1), math.Inf(1)
	}
	var shift [NumHorizons]float64
	for h := range shift {
		shift[h] = o.learnt[h].shift(&s.f.calibration[h])
	}
	least := 0.0 // probability at the time before
	before := 0.0
	f.TimeToExhaustion = math.Inf(1)
	top := math.Inf(-1)
	h := 0
	o.learnt[0].tail.cumulate(&s.f.factory[0], w.worth[0], &w.above)
	for i, u := range w.grid {
		if i > w.horizon[h] {
			h++
			o.learnt[h].tail.cumulate(&s.f.factory[h], w.worth[h], &w.above)
		}
		top = max(top, co.mix[i])
		crossed := s.crossed[i]
		raw := 0.0
		for k, x := range w.weight[h] {
			z[k] = min(z[k], s.ceiling-co.mean[k][i])
			if crossed > 0 {
				low[k] = min(low[k], s.next-co.mean[k][i])
			}
			if x < 1e-6 {
				continue
			}
			sd := math.Sqrt(co.variance[i] + max(0, co.mean[k][i]-co.base[i]) + 1 + blind)
			p := o.exceeds(w, z[k]/sd)
			if crossed > 0 {
				p += crossed * max(0, o.exceeds(w, low[k]/sd)-p)
			}
			raw += x * p
		}
		p := raw
		if s.f.without&PartCalibration == 0 {
			p = logistic(shift[h] + s.f.calibration[h].slope*logit(raw))
		}
		p = max(p, least)
		if least < 0.5 && p >= 0.5 {
			f.TimeToExhaustion = before + (u-before)*(0.5-least)/(p-least)
		}
		least, before = p, u
		if i == w.horizon[h] {
			l := &o.learnt[h]
			variance := co.variance[i] + max(0, co.mix[i]-co.base[i]) + 1
			f.Mean[h] = co.mix[i]
			f.Variance[h] = variance*l.variance() + blind
			if h > 0 {
				// A horizon that has not yet come due is no surer than a nearer one that has.
				f.Variance[h] = max(f.Variance[h], f.Variance[h-1])
			}
			f.Probability[h] = p
			o.keep(h, now, held, pending{
				mix: float32(co.mix[i]), top: float32(top), sd: float32(math.Sqrt(variance)),
				raw: float32(raw), said: float32(p), beyond: held >= s.ceiling,
			}, i, w)
		}
	}
	if c.Failing || held >= s.ceiling {
		f.TimeToExhaustion = 0
		for h := range f.Probability {
			f.Probability[h] = 1
		}
	}
}

// exceeds is the probability that the residual is above r.
func (o *outlook) exceeds(w *workspace, r float64) float64 {
	if o.stock.f.without&PartTail != 0 {
		return math.Erfc(r/math.Sqrt2) / 2
	}
	return beyond(&w.above, r)
}

// tailWorth is how many residuals the factory's tail weighs, by horizon: the further ahead,
// the more one load differs from another.
func tailWorth() [NumHorizons]float64 { return [NumHorizons]float64{400, 75, 25, 8} }

// settled is for how many seconds after the first cool-down is over an outlook's forecasts
// are not kept to be judged: until then the space fills up, whatever comes later.
const settled = 60

// keep stores the forecast p of horizon h, at place i of the grid, to be judged when due.
func (o *outlook) keep(h int, now, held float64, p pending, i int, w *workspace) {
	l := &o.learnt[h]
	u := int64(w.grid[i])
	if int64(now) < l.next || now-o.began < settled+float64(o.stock.longest) {
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

// blindness is the variance that comes from what the ledger did not see: flows lost in an
// overrun, and ports that were cooling before the agent came.
func (o *outlook) blindness(c conditions, now, held float64) float64 {
	v := 0.0
	if c.InexactSince != 0 {
		lost := o.rate*min(max(now-c.InexactSince.Seconds(), 1), 60) + held/50
		v += lost * lost
	}
	if c.WarmingUntil > c.Now {
		hidden := o.rate * c.WarmingUntil.Sub(c.Now).Seconds()
		v += hidden * hidden
	}
	return v
}

// logit and logistic are each other's inverse.
func logit(p float64) float64 {
	p = min(max(p, 1e-9), 1-1e-9)
	return math.Log(p / (1 - p))
}

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
