package forecast

import (
	"math"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// Tick brings the account to now, before the outlooks of its port spaces. b is its budget as it stands, so that a
// growing pool is seen.
func (s *Account) Tick(now collector.Time, b *budget.Budget) {
	t := now.Seconds()
	s.times.ages.advance(Second(now))
	s.expire(t)
	w := &s.f.work
	s.notePool(t, b)
	if s.last == 0 {
		s.times.adopt(t, w.edges, &w.crowd)
		s.borrow()
		s.last = t
	}
	// Hold times of a whole budget change slowly: it is enough to learn every 5 s.
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
		s.scored[h] *= day
	}
	s.borrow()
}

// borrow computes the hazards that port spaces borrow, and the curve that spreads bounded lifetimes of the budget.
func (s *Account) borrow() {
	var agent rates
	for k := range agent {
		v := s.f.edges.vague(k)
		agent[k] = (float64(s.f.all.ended[k]) + 1) / (float64(s.f.all.lived[k]) + 1/v)
	}
	s.hours.shrink(&agent, &s.parent)
	c := &s.f.work.curve
	c.h, c.late = s.parent, &s.times.late
	c.fit()
	s.times.spreadBy(c)
}

// Tick makes the forecast: every second for a busy port space, every 5 s for others.
func (o *Outlook) Tick(c Conditions) { tick{o}.run(c) }

// run takes in what happened since the last tick, and forecasts.
func (o tick) run(c Conditions) {
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
	o.last, o.ceiling = now, s.ceiling
	if c.Ceiling > 0 {
		o.ceiling = min(s.ceiling, float64(c.Ceiling))
	}
	o.times.expose(now, w.edges, &w.crowd, &w.seen)
	o.refit(w, dt)
	held, perFlow := float64(o.held()), 1.0
	if c.Held > 0 && held > 0 {
		held, perFlow = float64(c.Held), float64(c.Held)/held
	}
	cooling := float64(o.cools.total) * perFlow
	o.observe(&c, dt, held-cooling, cooling)
	s.contradict(o.Outlook, now)
	seen := held
	if !first {
		o.lumps.add(o.opened-o.openedBefore, dt)
	}
	held += o.foresee(w, &c, now)
	if first {
		o.fillLately = float32(held)
	}
	o.reopen(w, now, dt, float64(c.Opening))
	o.arrive(now, dt, held)
	age := now - max(o.began, float64(o.start)) // a restored state does not say how many flows usually wait
	w.hangs, w.hangsBy = o.hang.share(now, dt, age, float64(c.Opening)+float64(o.unconfirmed), o.rate)
	w.perFlow = perFlow
	o.hold(w, now)
	w.course.doubt(&w.unseen, o.proven(now))
	o.settle(w, now, dt, held)
	o.scoreDue(now, held)
	o.expect(w, now, held)
	o.pass(w, c, now, held, seen)
}

// refit learns what the tick saw of lifetimes and fits the survival curve to it.
func (o tick) refit(w *workspace, dt float64) {
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
		o.stretch(h)
		o.speeds[minute].hasten(h)
		o.speeds[fast].hasten(h)
	}
	w.curve.late = &o.times.late
	w.curve.fit()
	o.times.bound(&w.curve, o.last)
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

// noiseless is over how many seconds arrivals must be counted for chance to matter little.
const noiseless = 30

// settle averages the fill. Ports that are held for long already sum over that time, and an average would only lag.
// The number of ports that are held briefly is mostly chance, which is gone by the farther horizons.
func (o tick) settle(w *workspace, now, dt, held float64) {
	f := 1.0
	if tau := noiseless - w.course.gain[aheads-1]; tau > 0 {
		f = max(1-math.Exp(-dt/tau), min(1, dt/(now-o.began+dt)))
	}
	o.fillLately += float32(f * (held - float64(o.fillLately)))
}

// arrive learns from the arrivals of the tick and the fill.
func (o tick) arrive(now, dt, held float64) {
	x1, x2 := float64(o.lastOpened), o.opened-o.openedBefore
	o.lastOpened, o.openedBefore = float32(x2), o.opened
	t1, t2 := float64(o.lastSeconds), dt
	o.lastSeconds = float32(dt)
	if x1+x2 > 0 && t1 > 0 && now-o.began > 1.5*dt {
		// At one rate, arrivals would be proportional to seconds.
		apart := (x1*t2 - x2*t1) * (x1*t2 - x2*t1) / (t1 * t2 * (x1 + x2))
		d := min(apart, 10*o.dispersion)
		f := max(1-math.Exp(-dt/900), dt/(now-o.began+60)) // a load that comes in lumps shows it within minutes
		o.dispersion = max(1, o.dispersion+f*(d-o.dispersion))
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
		if p.due != 0 && uint32(now) >= p.due {
			o.error += float32((1 - math.Exp(-dt/20)) * ((held-float64(p.fill))/15 - float64(o.error)))
			p.due = 0
		}
	}
}

// notePool notes the pool size and computes the probability that the pool crosses the edge of the table, beyond which
// the ceiling is lower. Nodes join at random at their present rate.
func (s *Account) notePool(now float64, b *budget.Budget) {
	t := b.Terms(s.protocol)
	s.ports, s.ceiling = float64(t.Ports), float64(t.Effective)
	s.crossed = [aheads]float64{}
	if b.NextTierPorts == 0 || t.Ports == 0 || s.f.without&PartPool != 0 {
		return
	}
	nodes := float64(b.Nodes)
	s.pool.note(now, nodes)
	rate := s.pool.growth(now, nodes)
	if rate == 0 {
		return
	}
	s.next = min(s.ceiling, float64(b.NextTierPorts)*s.ceiling/s.ports)
	for i, u := range s.f.work.grid {
		s.crossed[i] = poissonAtLeast(b.NodesToNextTier+1, rate*min(u, poolSure))
	}
}

// reopen takes flows of the tick that were opened again out of the arrivals; opening is how many live flows wait for an
// answer.
func (o tick) reopen(w *workspace, now, dt, opening float64) {
	if o.again.since == 0 {
		o.again.since = now - reopenLasts - 1 // what is usual has to be learned first
	}
	lost := o.again.lost(now, dt, w.ended, w.lost, o.rate)
	excess := beyondRate(o.opened-o.openedBefore, float64(o.again.rate), dt, o.dispersion)
	// What waits for an answer is not open again.
	pairs := o.again.pair(lost, max(0, excess-opening), dt)
	if pairs == 0 {
		return
	}
	took := o.came.take(uint32(pairs))
	o.opened -= float64(took)
	o.rhythm.take(took)
	if i := int(now - o.again.since); i >= 0 && i < len(o.again.cohort) {
		o.again.cohort[i] += uint16(min(took, math.MaxUint16-uint32(o.again.cohort[i])))
	}
	// Where the ports of those that closed are cooling, the fill jumps; it does not drift.
	cooling := 0.0
	for k, cool := range o.account.classes {
		if cool > 0 {
			cooling += w.share[k]
		}
	}
	for i := range o.fifteen {
		o.fifteen[i].fill += float32(cooling * float64(took))
	}
}
