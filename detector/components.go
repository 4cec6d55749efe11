package detector

import "math"

// expect computes the course of each component and weighs them by how well each did.
func (o *outlook) expect(w *workspace, now, held float64) {
	c := &w.course
	level0, slope, seen := o.came.slope(now, o.dispersion)
	if slope == 0 {
		level0 = o.rate
	}
	if slope < 0 {
		seen = min(seen, max(level0, 0)/-slope)
	}
	h := 0
	uBefore, rateBefore, fillBefore := 0.0, 1.0, 1.0
	for i, u := range w.grid {
		for u > w.grid[w.horizon[h]] {
			uBefore = w.grid[w.horizon[h]]
			rateBefore, fillBefore = o.reversion(h, uBefore)
			h++
		}
		uh := w.grid[w.horizon[h]]
		rate, fill := o.reversion(h, uh)
		x := (u - uBefore) / (uh - uBefore)
		rate = rateBefore + (rate-rateBefore)*x
		fill = fillBefore + (fill-fillBefore)*x
		g := c.gain[i]
		c.mean[revert][i] = c.base[i] + g*(o.rateMean+rate*(o.rate-o.rateMean))
		c.mean[trend][i] = c.base[i] + max(0, level0)*g
		if slope != 0 {
			c.mean[trend][i] += slope * (c.double[i] - o.double(w, u-seen))
		}
		c.mean[drift][i] = c.base[i] + o.rate*g + o.error*60*(1-math.Exp(-u/60))
		c.mean[level][i] = o.fillMean + fill*(held-o.fillMean)
		n, seconds := o.came.window(min(max(math.Ilogb(u)-3, 2), arrivalLevels-1), arrivalBlocks, now)
		c.mean[recent][i] = c.base[i] + n/seconds*g
		c.mean[stay][i] = held
		for k := range components {
			c.mean[k][i] = max(c.mean[k][i], 0)
		}
	}
	for i := range o.fifteen {
		if p := &o.fifteen[i]; p.due == 0 {
			p.due, p.fill = int64(now)+15, float32(c.base[2]+o.rate*c.gain[2])
			break
		}
	}
	for h := range w.weight {
		o.weigh(h, &w.weight[h])
	}
	h = 0
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

// double is the ports held u ahead per arrival per second squared.
func (o *outlook) double(w *workspace, u float64) float64 {
	if u <= 0 {
		return 0
	}
	sum := 0.0
	for k, cool := range o.stock.classes {
		switch {
		case w.share[k] == 0:
		case u <= cool:
			sum += w.share[k] * u * u / 2
		default:
			_, two := w.curve.mean(u - cool)
			sum += w.share[k] * (cool*cool/2 + cool*(u-cool) + two)
		}
	}
	return sum * w.perFlow
}

// reversion is how much of today's distance from the long mean of rate and fill is left at
// horizon h, u seconds ahead.
func (o *outlook) reversion(h int, u float64) (rate, fill float64) {
	if o.stock.f.without&PartMeans != 0 {
		return 1, 1
	}
	const worth = 20 // judged forecasts that the prior weighs
	prior := math.Exp(-u / 7200)
	return o.learnt[h].rate.slope(prior, worth), o.learnt[h].fill.slope(prior, worth)
}

// weigh shares horizon h out among the components.
func (o *outlook) weigh(h int, weight *[components]float64) {
	sum := 0.0
	for k := range weight {
		weight[k] = 0
		if o.stock.f.leaves(k) {
			continue
		}
		x := 0.05 + float64(o.learnt[h].score[k])
		x *= x
		x *= x
		weight[k] = 1 / x
		sum += weight[k]
	}
	for k := range weight {
		weight[k] /= sum
	}
}

// leaves reports whether an ablation takes component k away.
func (f *forecaster) leaves(k int) bool {
	switch k {
	case trend:
		return f.without&PartTrend != 0
	case drift:
		return f.without&PartDrift != 0
	case level:
		return f.without&PartMeans != 0
	}
	return false
}

// The components of a forecast: ways to think of the arrivals to come.
const (
	revert = iota // the rate returns to its long mean
	trend         // the rate keeps its trend
	drift         // the error of the last seconds goes on for a while
	level         // the fill returns to its long mean
	recent        // the mean rate of as long ago as is looked ahead stays
	stay          // the fill stays
	components
)
