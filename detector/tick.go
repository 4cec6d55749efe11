package detector

import (
	"math"

	"github.com/snatwatch/snatwatch/collector"
)

// Part is a part of the forecast that can be left out, so that an ablation shows what it
// is worth. Parts combine by or.
type Part uint

// The parts.
const (
	// PartAges: live flows leave by their age; without it all leave like new ones.
	PartAges Part = 1 << iota
	// PartRelease: a cooling port is released on its second; without it cooling ports
	// leave at a constant rate.
	PartRelease
	// PartSpeeds: faster memories of hazards where a test says that lifetimes changed;
	// without it one memory of an hour.
	PartSpeeds
	// PartGate: the test; without it the memory of a minute always.
	PartGate
	// PartNowcast: a window as long as the rate was level; without it one of a minute.
	PartNowcast
	// PartTrend, PartDrift and PartMeans are the components of those names; PartMeans takes
	// away all that lean on a long mean.
	PartTrend
	PartDrift
	PartMeans
	// PartTail: the learned tail of the residual; without it a normal one.
	PartTail
	// PartCalibration: the probability's own recalibration.
	PartCalibration
)

// workspace is room for one tick, shared by all outlooks of a forecaster.
type workspace struct {
	edges   *ageEdges
	grid    [aheads]float64
	horizon [NumHorizons]int
	taus    [numSpeeds]float64
	worth   [NumHorizons]float64
	crowd   crowd
	seen    exposure
	curve   curve
	share   [coolClasses]float64
	perFlow float64 // ports held per flow
	course  course
	weight  [NumHorizons][components]float64
	above   [tailBins + 1]float64
}

// tick brings the stock to now, before the outlooks of its port spaces; b is its
// budget as it stands, so that a pool on the move is seen.
func (s *stock) tick(now collector.Time, b *Budget) {
	t := now.Seconds()
	s.times.ages.advance(second(now))
	w := &s.f.work
	s.look(t, b)
	if s.last == 0 {
		s.times.adopt(t, w.edges, &w.crowd)
		s.borrow()
		s.last = t
	}
	// Hold times of a whole budget change slowly: a tick of a second would cost more
	// than it tells.
	dt := t - s.last
	if dt < 5 {
		return
	}
	s.last = t
	s.times.expose(t, w.edges, &w.crowd, &w.seen)
	s.hours.learn(math.Exp(-dt/(6*3600)), &w.seen)
	s.f.all.learn(math.Exp(-max(0, t-s.f.since)/86400), &w.seen)
	s.f.since = max(s.f.since, t)
	keep := math.Exp(-dt / 600)
	for k := range s.ended {
		s.ended[k] *= keep
	}
	day := math.Exp(-dt / 86400)
	for h := range s.brier {
		s.brier[h] *= day
		s.judged[h] *= day
	}
	s.borrow()
}

// borrow computes the hazards that port spaces borrow, and how bounded lifetimes of the
// budget are spread.
func (s *stock) borrow() {
	var agent rates
	for k := range agent {
		v := s.f.edges.vague(k)
		agent[k] = (float64(s.f.all.ended[k]) + 1) / (float64(s.f.all.lived[k]) + 1/v)
	}
	s.hours.shrink(&agent, &s.parent)
	c := &s.f.work.curve
	c.h = s.parent
	c.fit()
	s.times.spreadBy(c)
}

// spreadBy has bounded lifetimes spread by curve c from now on.
func (l *lifetimes) spreadBy(c *curve) {
	for k := range l.survive {
		l.survive[k] = float32(c.survive[k])
	}
}

// tick makes the forecast. Call it once a second while the space is fuller than a tenth of
// its ceiling, and every five seconds otherwise.
func (o *outlook) tick(c conditions) {
	s, w := o.stock, &o.stock.f.work
	now := c.Now.Seconds()
	dt := now - o.last
	if dt <= 0 {
		return
	}
	o.times.ages.advance(second(c.Now))
	o.cools.advance(second(c.Now))
	o.came.advance(second(c.Now))
	first := o.last == 0
	if first {
		dt = 1
		if o.began == 0 {
			o.began, o.dispersion = now, 1
		}
		o.times.adopt(now, w.edges, &w.crowd)
	}
	o.last = now
	o.times.expose(now, w.edges, &w.crowd, &w.seen)
	o.refit(w, dt)
	held, perFlow := float64(o.held()), 1.0
	if c.Held > 0 && held > 0 {
		held, perFlow = float64(c.Held), float64(c.Held)/held
	}
	o.evidence.weigh(now, dt, held-float64(c.Opening), s.ports, s.ceiling)
	s.contradict(&o.evidence, now, float64(o.times.ages.count()))
	o.arrive(now, dt, held)
	w.perFlow = perFlow
	o.hold(w, now)
	o.judge(now, held)
	o.expect(w, now, held)
	o.pass(w, c, now, held)
}

// refit learns what the tick saw of lifetimes and fits the survival curve to it.
func (o *outlook) refit(w *workspace, dt float64) {
	s := o.stock
	for i := range o.speeds {
		o.speeds[i].learn(math.Exp(-dt/w.taus[i]), &w.seen)
	}
	h := &w.curve.h
	o.speeds[hour].shrink(&s.parent, h)
	switch {
	case s.f.without&PartGate != 0:
		for k := range h {
			h[k] = (float64(o.speeds[minute].ended[k]) + 2) / (float64(o.speeds[minute].lived[k]) + 2/h[k])
		}
	case s.f.without&PartSpeeds == 0:
		o.speeds[minute].hasten(h)
		o.speeds[fast].hasten(h)
	}
	w.curve.fit()
	o.times.spreadBy(&w.curve)

	keep := math.Exp(-dt / 600)
	sum := 0.0
	for k := range o.ended {
		o.ended[k] *= float32(keep)
		sum += float64(o.ended[k])
	}
	all := 0.0
	for _, n := range s.ended {
		all += n
	}
	const worth = 4 // closes that the budget's own mix of reasons weighs
	for k := range w.share {
		prior := 0.0
		switch {
		case all > 0:
			prior = s.ended[k] / all
		case k == int(s.classOf[collector.FIN]):
			prior = 1
		}
		w.share[k] = (float64(o.ended[k]) + worth*prior) / (sum + worth)
	}
}

// arrive learns from the arrivals of the tick and the fill.
func (o *outlook) arrive(now, dt, held float64) {
	x1, x2 := o.lastOpened, o.opened-o.openedBefore
	o.lastOpened, o.openedBefore = x2, o.opened
	if x1+x2 > 0 && now-o.began > 1.5*dt {
		d := min((x1-x2)*(x1-x2)/(x1+x2), 10*o.dispersion)
		o.dispersion = max(1, o.dispersion+(1-math.Exp(-dt/900))*(d-o.dispersion))
	}
	f := 1 - math.Exp(-dt/43200)
	if age := now - o.began + dt; age < 43200 {
		f = max(f, dt/age)
	}
	o.rateMean += f * (x2/dt - o.rateMean)
	o.fillMean += f * (held - o.fillMean)
	if o.stock.f.without&PartNowcast != 0 {
		n, w := o.came.window(2, 15, now)
		o.rate = n / w
	} else {
		o.rate = o.came.level(now, o.dispersion)
	}
	for i := range o.fifteen {
		p := &o.fifteen[i]
		if p.due != 0 && int64(now) >= p.due {
			o.error += (1 - math.Exp(-dt/20)) * ((held-float64(p.fill))/15 - o.error)
			p.due = 0
		}
	}
}

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
	fiveN, fiveW := o.came.window(5, 10, now)
	five := fiveN / fiveW
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
		c.mean[recent][i] = c.base[i] + five*g
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
		weight[k] = 1 / (x * x)
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

// pass computes the probability that the fill passes the ceiling on its way, and keeps
// forecasts to be judged.
func (o *outlook) pass(w *workspace, c conditions, now, held float64) {
	s, co, f := o.stock, &w.course, &o.forecast
	blind := o.blindness(c, now, held)
	f.Inexact = blind > 0
	var z [components]float64
	for k := range z {
		z[k] = math.Inf(1)
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
		raw := 0.0
		for k, x := range w.weight[h] {
			z[k] = min(z[k], s.ahead[i]-co.mean[k][i])
			if x < 1e-6 {
				continue
			}
			sd := math.Sqrt(co.variance[i] + max(0, co.mean[k][i]-co.base[i]) + 1 + blind)
			if s.f.without&PartTail != 0 {
				raw += x * math.Erfc(z[k]/sd/math.Sqrt2) / 2
			} else {
				raw += x * beyond(&w.above, z[k]/sd)
			}
		}
		p := raw
		if s.f.without&PartCalibration == 0 {
			p = logistic(s.f.calibration[h][0] + s.f.calibration[h][1]*logit(raw))
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

// tailWorth is how many residuals the factory's tail weighs, by horizon: the further ahead,
// the more one load differs from another.
func tailWorth() [NumHorizons]float64 { return [NumHorizons]float64{100, 50, 25, 8} }

// settled is how long, in seconds, an outlook's forecasts are not kept to be judged.
const settled = 60

// keep stores the forecast p of horizon h, at place i of the grid, to be judged when due.
func (o *outlook) keep(h int, now, held float64, p pending, i int, w *workspace) {
	l := &o.learnt[h]
	u := int64(w.grid[i])
	if int64(now) < l.next || now-o.began < settled {
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

// judge compares forecasts that are due with what came.
func (o *outlook) judge(now, held float64) {
	s := o.stock
	for h := range o.learnt {
		l := &o.learnt[h]
		u := s.f.work.grid[s.f.work.horizon[h]]
		keep := math.Exp(-u / pendings / 86400)
		for j := range l.waiting {
			p := &l.waiting[j]
			if p.due == 0 {
				continue
			}
			p.highest = max(p.highest, float32(held))
			p.hit = p.hit || held >= s.ceiling
			if int64(now) < p.due {
				continue
			}
			l.judge(p, held, o.opened, u, keep)
			if !p.beyond {
				y := 0.0
				if p.hit {
					y = 1
				}
				s.brier[h] += (float64(p.said) - y) * (float64(p.said) - y)
				s.judged[h]++
			}
			*p = pending{}
		}
	}
}

// judge learns from forecast p, due u seconds after it was made, with held ports and opened
// arrivals by now.
func (l *learnt) judge(p *pending, held, opened, u, keep float64) {
	l.seen = min(l.seen+1, 100)
	f := max(0.01, 1/(float64(l.seen)+20))
	sd := float64(p.sd)
	for k := range l.score {
		l.score[k] += float32(f * (min(math.Abs(held-float64(p.mean[k]))/sd, tailReach) - float64(l.score[k])))
	}
	r := (held - float64(p.mix)) / sd
	l.spread += float32(f * (min(r*r, 2500) - float64(l.spread)))
	l.tail.learn(keep, (float64(p.highest)-float64(p.top))/sd)
	l.rate.learn(keep, float64(p.rate), (opened-p.arrivals)/u-float64(p.rateMean))
	l.fill.learn(keep, float64(p.fill), held-float64(p.fillMean))
}

// variance is the mean square of past residuals in variances, at least a quarter.
func (l *learnt) variance() float64 { return max(0.25, float64(l.spread)) }

// poolTrend is the pool size of the last quarter of an hour.
type poolTrend struct {
	at    [16]float64
	nodes [16]float64
	n     int
}

const (
	poolStep = 60.0   // seconds between two notes of the pool size
	poolSure = 1800.0 // seconds that its trend is believed for
)

// slope is nodes per second, by least squares.
func (p *poolTrend) slope() float64 {
	k := min(p.n, len(p.at))
	if k < 3 {
		return 0
	}
	var mt, mn float64
	for i := range k {
		mt += p.at[i] / float64(k)
		mn += p.nodes[i] / float64(k)
	}
	var xx, xy float64
	for i := range k {
		xx += (p.at[i] - mt) * (p.at[i] - mt)
		xy += (p.at[i] - mt) * (p.nodes[i] - mn)
	}
	if xx == 0 {
		return 0
	}
	return xy / xx
}

// look notes the pool size and computes the ceiling ahead. Where the pool grows across the
// edge of a table the ceiling falls when it does.
func (s *stock) look(now float64, b *Budget) {
	t := b.Terms(s.protocol)
	s.ports, s.ceiling = float64(t.Ports), float64(t.Effective)
	for i := range s.ahead {
		s.ahead[i] = s.ceiling
	}
	if b.NextTierPorts == 0 || t.Ports == 0 {
		return
	}
	p := &s.pool
	if p.n == 0 || now >= p.at[(p.n-1)%len(p.at)]+poolStep {
		p.at[p.n%len(p.at)], p.nodes[p.n%len(p.at)] = now, float64(b.Nodes)
		p.n++
	}
	slope := p.slope()
	if slope <= 0 {
		return
	}
	edge := (float64(b.NodesToNextTier) + 0.5) / slope
	if edge > poolSure {
		return
	}
	next := min(s.ceiling, float64(b.NextTierPorts)*s.ceiling/float64(t.Ports))
	for i, u := range s.f.work.grid {
		if u >= edge {
			s.ahead[i] = next
		}
	}
}
