package detector

import "math"

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
				l.calibrate(float64(p.said), y, keep, s.f.calibration[h].pace)
				s.brier[h] += (float64(p.said) - y) * (float64(p.said) - y)
				s.judged[h]++
			}
			*p = pending{}
		}
	}
}

// shift is what the log-odds of a probability are moved by: what the factory says, how often
// the space was exhausted, and its own bias so far.
func (l *learnt) shift(c *calibration) float64 {
	const worth = 5 // judged forecasts that what is usual weighs
	past := (float64(l.hits) + worth*c.usual) / (float64(l.judged) + worth)
	return c.offset + c.past*logit(past) + float64(l.bias)
}

// calibrate learns from a probability that was said of what came, 1 or 0.
func (l *learnt) calibrate(said, came, keep, pace float64) {
	l.hits = l.hits*float32(keep) + float32(came)
	l.judged = l.judged*float32(keep) + 1
	l.bias = float32(min(max(float64(l.bias)+pace*(came-said), -biasMost), biasMost))
}

// biasMost bounds how far a space's own bias moves the log-odds.
const biasMost = 4

// scoreWorth is how many judged forecasts the factory's scores weigh.
const scoreWorth = 8

// judge learns from forecast p, due u seconds after it was made, with held ports and opened
// arrivals by now.
func (l *learnt) judge(p *pending, held, opened, u, keep float64) {
	l.seen = min(l.seen+1, 100)
	f := max(0.01, 1/(float64(l.seen)+scoreWorth))
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
