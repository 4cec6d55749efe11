package forecast

import (
	"math"
	"time"

	"github.com/snatwatch/snatwatch/detector"
)

// passage is how near to the ceiling the forecast fill has come on its way to a time ahead.
type passage struct {
	// left is, by component, the least distance to the ceiling so far, in standard deviations of the fill at that time.
	// low is the same for the ceiling beyond the edge of a table that the pool may cross.
	left, low [components]float64
	// passed and passedLow are the probabilities that each of the two ceilings is passed, if what recurs comes again.
	passed, passedLow float64
	// topRecurring is the highest fill so far if what recurs comes again, topRest the highest of all other components
	// together.
	topRecurring, topRest float64
	// topBurst is the variance of topRecurring that bursts add, clockVar the rest of its variance; restVar is the variance
	// of topRest.
	topBurst, clockVar, restVar float64
	// reach is topRest with topReach standard deviations above it.
	reach float64
}

// topReach is how many standard deviations are added to each fill when the highest is looked for.
const topReach = 2

func startPassage() passage {
	p := passage{topRecurring: math.Inf(-1), topRest: math.Inf(-1), reach: math.Inf(-1)}
	for k := range p.left {
		p.left[k], p.low[k] = math.Inf(1), math.Inf(1)
	}
	return p
}

// top returns the highest fill so far, where trust is the weight of what recurs.
func (p *passage) top(trust float64) float64 {
	switch trust {
	case 0:
		return p.topRest
	case 1:
		return p.topRecurring
	}
	return trust*p.topRecurring + (1-trust)*p.topRest
}

// differs is how many standard deviations a component must lie from the mean of all to count on its own.
const differs = 1.5

// apart returns how many ports a component that is d ports away from the mean of all counts as being away. That is
// less, because the tail of past errors, which is the tail of the mean of all, already has the usual differences of
// components.
func apart(d, sd float64) float64 {
	d2 := d * d
	return d * d2 / (d2 + differs*differs*sd*sd)
}

// step goes on to time i of the grid, which belongs to horizon h, and returns the probability that the ceiling is
// passed by then.
func (o tick) step(w *workspace, p *passage, i, h int, trust, blind float64) float64 {
	s, c := o.account, &w.course
	others := 1 - w.weight[h][recurring]
	rest := c.mean[stay][i]
	if others > 1e-6 {
		rest = (c.mix[i] - w.weight[h][recurring]*c.mean[recurring][i]) / others
		v := c.variance[i] + max(0, rest-c.base[i]) + 1
		if reach := rest + topReach*math.Sqrt(v); reach > p.reach {
			p.reach, p.topRest, p.restVar = reach, rest, v
		}
	}
	if c.peak[i] > p.topRecurring {
		p.topRecurring, p.topBurst = c.peak[i], c.peakBurst[i]
		p.clockVar = c.variance[i] + max(0, c.peak[i]-c.base[i]) + 1
	}
	crossed := s.crossed[i]
	sum := 0.0
	for k, x := range w.weight[h] {
		var at, atLow float64
		if k == recurring {
			if x = trust; x < 1e-6 {
				continue
			}
			sd := c.deviation(k, i, blind)
			p.passed = max(p.passed, o.burstExceeds(w, i, o.ceiling, sd))
			p.passedLow = max(p.passedLow, o.burstExceeds(w, i, min(s.next, o.ceiling), sd))
			at, atLow = p.passed, p.passedLow
		} else {
			sd := c.deviation(k, i, blind)
			mean := rest + apart(c.mean[k][i]-rest, sd)
			p.left[k] = min(p.left[k], (o.ceiling-mean)/sd)
			if crossed > 0 {
				p.low[k] = min(p.low[k], (min(s.next, o.ceiling)-mean)/sd)
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

// pass computes the probability that the fill passes the ceiling by each horizon, and keeps forecasts to be scored.
func (o tick) pass(w *workspace, c Conditions, now, held, seen float64) {
	s, co, f := o.account, &w.course, &o.forecast
	blind := o.blindness(c, now, held)
	f.Inexact = blind > 0 || c.WarmingUntil > c.Now
	f.TimeToExhaustion = math.Inf(1)
	var way passage
	odds, trust := said{raw: -1}, 0.0
	parted, raw := 0.0, 0.0 // not calibrated: of all parts before this one, and up to now
	hung, h := 0.0, -1
	for i, u := range w.grid {
		if h < 0 || i > w.horizon[h] {
			h++
			trust = o.trust(w, h)
			o.learnt[h].cumulate(h, s.f, max(held, co.mix[w.horizon[h]]), &w.above)
			way, parted = startPassage(), raw
			odds.calibrate(o, h)
		}
		raw = parted + (1-parted)*o.step(w, &way, i, h, trust, blind)
		if h == 0 {
			hung = max(hung, w.hung(o.Outlook, i))
			raw += (1 - raw) * hung
		}
		if i < w.horizon[h] && raw < odds.even {
			odds.raw, odds.at = raw, u
			continue
		}
		p := odds.next(raw, u, &f.TimeToExhaustion)
		if i == w.horizon[h] {
			l := &o.learnt[h]
			variance := co.variance[i] + max(0, co.mix[i]-co.base[i]) + 1
			topSD := math.Sqrt((1-trust)*way.restVar + trust*(way.clockVar+way.topBurst))
			variance += w.weight[h][recurring] * co.burst[i]
			f.Mean[h] = co.mix[i]
			f.Variance[h] = variance*l.variance() + blind
			if h > 0 {
				// The variance does not fall from one horizon to the next.
				f.Variance[h] = max(f.Variance[h], f.Variance[h-1])
			}
			f.Probability[h] = p
			o.keep(h, now, held, pending{
				mix: float32(co.mix[i]), sd: float32(math.Sqrt(variance)),
				top: float32(way.top(trust)), topSD: float32(topSD),
				topRecurring: float32(way.topRecurring), topRest: float32(way.topRest),
				said: float32(p), beyond: held >= o.ceiling, burst: w.expectsBurst(u),
			}, i, w)
		}
	}
	if c.Failing || seen >= o.ceiling {
		f.TimeToExhaustion = 0
		for h := range f.Probability {
			f.Probability[h] = 1
		}
	}
	urge(o.Outlook, seen)
}

// urge computes the urgency of the page where so many ports are held.
func urge(o *Outlook, seen float64) {
	f, coolDown := &o.forecast, o.account.longest
	o.grew = max(o.slower, o.grew-o.lastSeconds/float32(max(coolDown, 1)))
	f.Urgency = float32(detector.PageUrgency(float64(f.Urgency), detector.PageNow{
		Soon: f.Probability[0], Within: f.Probability[1], Held: seen, Ceiling: o.ceiling, Slower: float64(o.grew),
		Passed: time.Duration(o.lastSeconds * 1e9), CoolDown: time.Duration(coolDown) * time.Second,
	}))
}

// said is what was said of the times before. Where the odds are less than even, and no horizon ends, the probability is
// needed only once they are more.
type said struct {
	calibration *calibration // nil for none
	more        float64      // added to the log-odds
	even        float64      // the raw probability of even odds
	least       float64      // probability that was said last
	raw         float64      // raw one that came after it, -1 if none did
	at          float64      // seconds ahead, of the last of the two
}

// calibrate goes on to horizon h.
func (s *said) calibrate(o tick, h int) {
	f := o.account.f
	if f.without&PartCalibration != 0 {
		s.even = 0.5
		return
	}
	s.calibration, s.more = &f.calibration[h], f.slower[h].more(o.slower, o.changed)
	s.even = s.calibration.even(s.more)
}

// probability makes one of a raw one.
func (s *said) probability(raw float64) float64 {
	if s.calibration == nil {
		return raw
	}
	return s.calibration.apply(raw, s.more)
}

// justBelowEven is a probability of less than even odds.
const justBelowEven = 0.5 - 1.0/(1<<40)

// next returns the probability u seconds ahead, which does not fall. Where it passes a half, that time goes to median.
func (s *said) next(raw, u float64, median *float64) float64 {
	p := max(s.probability(raw), s.least)
	if s.least < 0.5 && p >= 0.5 {
		if s.raw >= 0 {
			s.least = max(s.least, min(s.probability(s.raw), justBelowEven)) // it was below, but for rounding
		}
		*median = s.at + (u-s.at)*(0.5-s.least)/(p-s.least)
	}
	s.least, s.at, s.raw = p, u, -1
	return p
}

// burstExceeds returns the probability that the fill is above ceiling between the time before time i of the grid and
// time i, if what recurs comes again; sd is the standard deviation of the fill then.
func (o tick) burstExceeds(w *workspace, i int, ceiling, sd float64) float64 {
	// The variance of bursts is known, so the tail is a normal one and not the tail of past errors.
	r := (ceiling - w.course.peak[i]) / sd
	known := w.course.peakBurst[i] / (sd * sd)
	return known*normalTail(r) + (1-known)*w.exceeds(o.account, r)
}

// exceeds returns the probability that the residual is above r.
func (w *workspace) exceeds(a *Account, r float64) float64 {
	if a.f.without&PartTail != 0 {
		return normalTail(r)
	}
	return w.bins.beyond(&w.above, r)
}

// normalTail returns the probability that a standard normal variable is above r.
func normalTail(r float64) float64 { return math.Erfc(r/math.Sqrt2) / 2 }

// settled is how many seconds after the first cool-down forecasts begin to be scored: until then the port space fills
// up, whatever comes later.
const settled = 60

// keep stores forecast p of horizon h, at time i of the grid, to be scored when due.
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
		p.due = uint32(int64(now) + u)
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

// blindness returns the variance due to flows that were lost in an overrun.
func (o *Outlook) blindness(c Conditions, now, held float64) float64 {
	v := 0.0
	if c.InexactSince != 0 {
		lost := o.rate*min(max(now-c.InexactSince.Seconds(), 1), 60) + held/50
		v += lost * lost
	}
	return v
}

// fewPorts is how many expected ports count as half few.
const fewPorts = 8

// cumulate puts into above the tail of horizon h: what was learnt, and what the factory says of this kind of load,
// which weighs worth. Where few ports are expected, the factory weighs the less the surer it is that forecasts err here
// by chance alone: its tails are of loads of hundreds of ports, and say too much of a few.
func (l *learnt) cumulate(h int, f *Forecaster, ports float64, above *[tailBins + 1]float64) {
	share := l.kind.shares(&f.common[h], f.work.doubt[h])
	worth := f.work.worth[h]
	if ports < 8*fewPorts {
		worth *= 1 - l.tail.tame()/(1+ports*ports/(fewPorts*fewPorts))
	}
	l.tail.cumulate(&f.factory[h], &share, worth, above)
}
