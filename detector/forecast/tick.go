package forecast

import (
	"math"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
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
	// PartPool: the growth of the pool across the edge of a table.
	PartPool
	// PartRhythm: what recurs every hour. PartDay: the course of the day.
	PartRhythm
	PartDay
	// PartSurprise: where ends are too few or too many for chance, hazards are learnt anew at once, and for a
	// while no component that knows nothing of lifetimes is trusted.
	PartSurprise
	// PartSettle: a fill of brief holds is averaged before it is said to stay.
	PartSettle
)

// workspace is room for one tick, shared by all outlooks of a forecaster.
type workspace struct {
	edges   *ageEdges
	grid    [aheads]float64
	horizon [detector.NumHorizons]int
	taus    [numSpeeds]float64
	worth   [detector.NumHorizons]float64
	crowd   crowd
	seen    exposure
	curve   curve
	share   [coolClasses]float64
	bursts  []expected // of the next hour, the nearest first
	// knowsDay: the course of the day is known.
	knowsDay bool
	perFlow  float64 // ports held per flow
	// unseen are ports that the ledger does not know of, by time ahead.
	unseen [aheads]float64
	// lost are flows that ended in this tick beyond all expectation.
	lost float64
	// ended are all that ended and were not young.
	ended  float64
	course course
	weight [detector.NumHorizons][components]float64
	above  [tailBins + 1]float64
}

// tick brings the stock to now, before the outlooks of its port spaces; b is its
// budget as it stands, so that a pool on the move is seen.
func (s *Account) Tick(now collector.Time, b *budget.Budget) {
	t := now.Seconds()
	s.times.ages.advance(Second(now))
	s.expire(t)
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
func (s *Account) borrow() {
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

// tick makes the forecast. Call it as often as calmTick says.
func (o *Outlook) Tick(c Conditions) {
	s, w := o.account, &o.account.f.work
	now := c.Now.Seconds()
	dt := now - o.last
	if dt <= 0 {
		return
	}
	o.arrived()
	o.cooled()
	o.times.ages.advance(Second(c.Now))
	o.cools.advance(Second(c.Now))
	o.came.advance(Second(c.Now))
	o.rhythm.advance(Second(c.Now))
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
	cooling := float64(o.cools.total) * perFlow
	o.observe(&c, dt, held-cooling, cooling)
	s.contradict(o, now)
	seen := held
	held += o.foresee(w, &c, now)
	if first {
		o.fillLately = held
	}
	o.reopen(w, now, dt, float64(c.Opening))
	o.arrive(now, dt, held)
	w.perFlow = perFlow
	o.hold(w, now)
	o.doubt(w, now)
	o.settle(w, now, dt, held)
	o.judge(now, held)
	o.expect(w, now, held)
	o.pass(w, c, now, held, seen)
}

// refit learns what the tick saw of lifetimes and fits the survival curve to it.
func (o *Outlook) refit(w *workspace, dt float64) {
	s := o.account
	o.again.spare(o.last, dt, w.edges, &w.seen)
	surprise := o.surprised(w, dt)
	for i := range hour {
		o.speeds[i].relearn(&surprise, math.Exp(-dt/w.taus[i]), &w.seen)
	}
	o.speeds[hour].learn(math.Exp(-dt/w.taus[hour]), &w.seen)
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
	o.shift(&w.share, dt)
}

// noiseless is for how many seconds arrivals are counted until their chance is small.
const noiseless = 30

// settle averages the fill. Ports held for long are a count over that long already, and an average would
// only lag; those held briefly are mostly chance, which is gone by the farther horizons.
func (o *Outlook) settle(w *workspace, now, dt, held float64) {
	f := 1.0
	if tau := noiseless - w.course.gain[aheads-1]; tau > 0 {
		f = max(1-math.Exp(-dt/tau), min(1, dt/(now-o.began+dt)))
	}
	o.fillLately += f * (held - o.fillLately)
}

// arrive learns from the arrivals of the tick and the fill.
func (o *Outlook) arrive(now, dt, held float64) {
	x1, x2 := o.lastOpened, o.opened-o.openedBefore
	o.lastOpened, o.openedBefore = x2, o.opened
	t1, t2 := o.lastSeconds, dt
	o.lastSeconds = dt
	if x1+x2 > 0 && t1 > 0 && now-o.began > 1.5*dt {
		// At one rate both would be as long as their seconds.
		apart := (x1*t2 - x2*t1) * (x1*t2 - x2*t1) / (t1 * t2 * (x1 + x2))
		d := min(apart, 10*o.dispersion)
		o.dispersion = max(1, o.dispersion+(1-math.Exp(-dt/900))*(d-o.dispersion))
	}
	f := 1 - math.Exp(-dt/43200)
	if age := now - o.began + dt; age < 43200 {
		f = max(f, dt/age)
	}
	o.rateMean += f * (x2/dt - o.rateMean)
	o.fillMean += f * (held - o.fillMean)
	if o.account.f.without&PartNowcast != 0 {
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
