package forecast

import (
	"math"

	"github.com/snatwatch/snatwatch/detector"
)

// judge compares forecasts that are due with what came.
func (o *Outlook) judge(now, held float64) {
	s := o.account
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
			l.judge(p, held, o.opened, u, keep, &s.f.factory[h])
			if s.f.Judged != nil {
				s.f.Judged(Judged{h, float64(p.highest-p.top) / float64(p.topSD), float64(p.said), p.hit, p.beyond})
			}
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

// seenMost is how many judged forecasts the means of their errors reach back.
const seenMost = 100

// judge learns from forecast p, due u seconds after it was made, with held ports and opened
// arrivals by now.
func (l *learnt) judge(p *pending, held, opened, u, keep float64, tails *[kinds]tail) {
	l.seen = min(l.seen+1, seenMost)
	f := 1 / float64(l.seen)
	sd := float64(p.sd)
	for k := range l.score {
		l.score[k] += float32(f * (min(math.Abs(held-float64(p.mean[k]))/sd, tailReach) - float64(l.score[k])))
	}
	highest := float64(p.highest)
	d := &l.duel[0]
	if p.burst {
		d = &l.duel[1]
	}
	d.judge(math.Abs(highest-float64(p.topClock))/sd, math.Abs(highest-float64(p.topRest))/sd)
	if a, b := float64(p.mean[trend]), float64(p.mean[revert]); math.Abs(a-b) > riseDiffers*sd {
		l.rise.judge(math.Abs(held-a)/sd, math.Abs(held-b)/sd)
	}
	r := (held - float64(p.mix)) / sd
	l.spread += float32(f * (min(r*r, 2500) - float64(l.spread)))
	residual := (highest - float64(p.top)) / float64(p.topSD)
	l.tail.learn(keep, residual)
	l.kind.learn(TailBin(residual), tails)
	l.rate.learn(keep, float64(p.rate), (opened-p.arrivals)/u-float64(p.rateMean))
	l.fill.learn(keep, float64(p.fill), held-float64(p.fillMean))
}

// variance is the mean square of past residuals in variances, at least a quarter.
func (l *learnt) variance() float64 { return max(0.25, float64(l.spread)) }

// brier is the mean Brier score by horizon of the forecasts of a budget's stocks, NaN until one came due.
func Brier(stocks [2]*Account) (mean [detector.NumHorizons]float64) {
	for h := range mean {
		sum, count := 0.0, 0.0
		for _, s := range stocks {
			if s != nil {
				sum += s.brier[h]
				count += s.judged[h]
			}
		}
		mean[h] = math.NaN()
		if count > 0 {
			mean[h] = sum / count
		}
	}
	return mean
}
