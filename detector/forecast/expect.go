package forecast

import (
	"math"
)

// expect computes the course of each component and weighs them by how well each did.
func (o tick) expect(w *workspace, now, held float64) {
	c := &w.course
	o.recur(w, now)
	o.courses(w, now, held)
	for i := range o.fifteen {
		if p := &o.fifteen[i]; p.due == 0 {
			p.due, p.fill = uint32(now)+15, float32(c.base[2]+o.rate*c.gain[2])
			break
		}
	}
	for h := range w.weight {
		o.weigh(h, &w.weight[h])
		if h > planning || now-float64(o.came.since) < w.grid[w.horizon[h]] {
			continue // the trend has not been seen for as long as it would have to last
		}
		if h == planning {
			o.proofs.leave(w)
		}
		o.proofs.climb(w, h)
	}
	h := 0
	for i := range w.grid {
		if i > w.horizon[h] {
			h++
		}
		c.mix[i] = 0
		for k, x := range w.weight[h] {
			c.mix[i] += x * c.mean[k][i]
		}
	}
}

// courses computes the course of each component; recur computed the courses by time of day before.
func (o tick) courses(w *workspace, now, held float64) {
	c := &w.course
	// A line over a few seconds is used for the next minute only. Once a day a line is significant by chance; used for the
	// minutes after that, it would page.
	near, far := o.line(now, 0), o.line(now, 2)
	h := 0
	uBefore, rateBefore, fillBefore := 0.0, 1.0, 1.0
	without := o.account.f.without
	rateThen, fillThen := o.learnt[h].reversion(without, w.grid[w.horizon[h]])
	for i, u := range w.grid {
		for u > w.grid[w.horizon[h]] {
			uBefore = w.grid[w.horizon[h]]
			rateBefore, fillBefore = rateThen, fillThen
			h++
			rateThen, fillThen = o.learnt[h].reversion(without, w.grid[w.horizon[h]])
		}
		uh := w.grid[w.horizon[h]]
		rate, fill := rateThen, fillThen
		x := (u - uBefore) / (uh - uBefore)
		rate = rateBefore + (rate-rateBefore)*x
		fill = fillBefore + (fill-fillBefore)*x
		g := c.gain[i]
		c.mean[revert][i] = c.base[i] + g*(o.rateMean+rate*(o.rate-o.rateMean))
		l := &near
		if h > 0 {
			l = &far
		}
		c.mean[trend][i] = c.base[i] + max(0, l.level)*g
		if l.slope != 0 {
			_, beyond := w.gain(o.account, u-l.seen)
			c.mean[trend][i] += l.slope * (c.double[i] - c.proven*beyond)
		}
		c.mean[drift][i] = c.base[i] + o.rate*g + float64(o.error)*60*(1-math.Exp(-u/60))
		c.mean[level][i] = o.fillMean + fill*(held-o.fillMean)
		n, seconds := o.came.window(min(max(math.Ilogb(u)-3, 2), arrivalLevels-1), arrivalBlocks, now)
		c.mean[recent][i] = c.base[i] + n/seconds*g
		c.mean[stay][i] = held
		// Bursts that recur are as high in an hour as now.
		if h > 0 && len(w.bursts) == 0 && without&PartSettle == 0 {
			if h > planning {
				x = 1
			}
			c.mean[stay][i] += x * (float64(o.fillLately) - held)
		}
		for k := range components {
			c.mean[k][i] = max(c.mean[k][i], 0)
		}
	}
}

// line is a trend of arrivals: the rate now, its change per second, and for how many seconds the change is expected
// to go on.
type line struct{ level, slope, seen float64 }

// line returns the significant trend over windows from level finest on; if there is none, the rate without change. The
// rate does not fall below 0 and does not more than double on the way.
func (o tick) line(now float64, finest int) line {
	level, slope, seen := o.came.slope(now, o.dispersion, finest)
	if slope == 0 {
		return line{level: o.rate}
	}
	return line{level, slope, min(seen/2, max(level, 0)/math.Abs(slope))}
}

// reversion returns which share of their present distances from their long means rate and fill will have at the horizon
// of l, u seconds ahead.
func (l *learnt) reversion(without Part, u float64) (rate, fill float64) {
	if without&PartMeans != 0 {
		return 1, 1
	}
	const worth = 20 // scored forecasts that the prior weighs
	prior := math.Exp(-u / 7200)
	return l.rate.slope(prior, worth), l.fill.slope(prior, worth)
}

// riseOdds are the odds that a proven trend goes on, before any trend was judged.
const riseOdds = 0.2

// climb gives a proven trend more weight at horizon h if the trend leads to another fill than the other components do:
// the share that trends have earned in such cases before. Beyond the horizon of a page it changes nothing, because a
// trend of a quarter of an hour often ends.
func (v *proofs) climb(w *workspace, h int) {
	c, i := &w.course, w.horizon[h]
	sd := math.Sqrt(c.variance[i] + max(0, c.mean[revert][i]-c.base[i]) + 1)
	weight := &w.weight[h]
	if weight[trend] == 0 || math.Abs(c.mean[trend][i]-c.mean[revert][i]) <= riseDiffers*sd {
		return
	}
	share := v.rise[h].trustFrom(riseOdds)
	if share <= weight[trend] {
		return
	}
	rest := (1 - share) / max(1-weight[trend], 1e-9)
	for k := range weight {
		weight[k] *= rest
	}
	weight[trend] = share
}

// flowsOdds are the odds that the fill goes where rate and lifetimes lead, before any such case was judged.
const flowsOdds = 4

// leave takes weight from the components by which the fill stays or returns to its mean, if rate and lifetimes lead to
// another fill by the horizon of a page: the scores of those components are from before rate or lifetimes changed. They
// keep the share that they have earned in such cases before. A minute ahead leave does nothing: recorded flows are
// forecast better without it.
func (v *proofs) leave(w *workspace) {
	c, i := &w.course, w.horizon[planning]
	sd := math.Sqrt(c.variance[i] + max(0, c.mean[revert][i]-c.base[i]) + 1)
	weight := &w.weight[planning]
	if math.Abs(c.mean[revert][i]-c.mean[stay][i]) <= flowsDiffer*sd {
		return
	}
	blind := weight[stay] + weight[level]
	share := 1 - v.flows.trustFrom(flowsOdds)
	if share >= blind {
		return
	}
	rest := (1 - share) / max(1-blind, 1e-9)
	for k := range weight {
		if k == stay || k == level {
			weight[k] *= share / blind
		} else {
			weight[k] *= rest
		}
	}
}

// scoreWorth is how many own forecasts the scores of the factory weigh.
const scoreWorth = 8

// weigh gives each component its weight at horizon h: by its own errors and, while there are few, by those that the
// factory expects. At the horizons for planning the expected errors are scaled by the errors of the component by which
// the fill stays. At the horizons that page they are not: that would favour this component just when it begins to fail.
func (o tick) weigh(h int, weight *[components]float64) {
	f := o.account.f
	l, factory := &o.learnt[h], &f.scores[h]
	n := float64(l.seen)
	power := f.power[h][0] + (f.power[h][1]-f.power[h][0])*n/(scoreWorth+n)
	scale := 1.0
	if h > planning {
		scale = (scoreWorth + n*float64(l.score[stay]/factory[stay])) / (scoreWorth + n)
	}
	sum := 0.0
	for k := range weight {
		weight[k] = 0
		switch {
		case f.without.leaves(k), k == recurring && len(f.work.bursts) == 0, k == day && !f.work.knowsDay:
			continue
		}
		x := (scoreWorth*float64(factory[k])*scale + n*float64(l.score[k])) / (scoreWorth + n)
		weight[k] = math.Exp(-power * math.Log(0.05+x)) // a power; math.Pow takes three times as long
		if h <= planning && (k == level || k == stay) {
			// The scores of components that ignore lifetimes are from before lifetimes changed.
			weight[k] *= math.Pow(1-o.changed, 4)
		}
		sum += weight[k]
	}
	for k := range weight {
		weight[k] /= sum
	}
}
