package forecast

import (
	"math"

	"github.com/snatwatch/snatwatch/detector"
)

// scoreDue compares forecasts that are due with what came.
func (o tick) scoreDue(now, held float64) {
	s := o.account
	for h := range o.learnt {
		l := &o.learnt[h]
		u := s.f.work.grid[s.f.work.horizon[h]]
		keep := math.Exp(-u / pendings / 86400)
		part := u // how long the part of the horizon is
		if h > 0 {
			part -= s.f.work.grid[s.f.work.horizon[h-1]]
		}
		for j := range l.waiting {
			p := &l.waiting[j]
			if p.due == 0 {
				continue
			}
			if now > float64(p.due)-part {
				p.highest = max(p.highest, float32(held))
			}
			p.hit = p.hit || held >= o.ceiling
			if uint32(now) < p.due {
				continue
			}
			l.take(p, held, o.opened, u, keep, &s.f.factory[h])
			o.proofs.learn(h, p, held)
			if s.f.Judged != nil {
				s.f.Judged(Judged{h, float64(p.highest-p.top) / float64(p.topSD), float64(p.said), p.hit, p.beyond})
			}
			if !p.beyond {
				y := 0.0
				if p.hit {
					y = 1
				}
				s.brier[h] += (float64(p.said) - y) * (float64(p.said) - y)
				s.scored[h]++
			}
			*p = pending{}
		}
	}
}

// Brier returns the mean Brier score by horizon of the two accounts of a budget, NaN until a forecast came due.
func Brier(accounts [2]*Account) (mean [detector.NumHorizons]float64) {
	for h := range mean {
		sum, count := 0.0, 0.0
		for _, s := range accounts {
			if s != nil {
				sum += s.brier[h]
				count += s.scored[h]
			}
		}
		mean[h] = math.NaN()
		if count > 0 {
			mean[h] = sum / count
		}
	}
	return mean
}
