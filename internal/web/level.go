package web

import (
	"math"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// level is how urgent a thing is; its text is the CSS class.
type level string

const (
	levelOK   level = "ok"
	levelWarn level = "warn"
	levelCrit level = "crit"
)

// fullest returns what the fullest port space of an account holds, and the terms that it has. low is that port space
// if it is one of low ports, and nil if not.
func fullest(p *detector.AccountSnapshot) (held int, terms budget.Terms, low *detector.SpaceSnapshot) {
	held, terms = p.Busiest, p.Terms // of all port spaces, those that are not shown too
	for i := range p.Spaces {
		s := &p.Spaces[i]
		if of := p.Terms.OfClass(s.Class); s.Class != budget.AnyClass && ratio(s.Held, of.Effective) >
			ratio(held, terms.Effective) {
			held, terms, low = s.Held, of, s
		}
	}
	return held, terms, low
}

func worse(a, b level) level {
	if a == levelCrit || b == levelCrit {
		return levelCrit
	}
	if a == levelWarn || b == levelWarn {
		return levelWarn
	}
	return levelOK
}

// spaceLevel returns how urgent a port space is, from its fill and its forecast at 15 minutes.
func spaceLevel(s *detector.SpaceSnapshot, all *budget.Terms) level {
	t := all.OfClass(s.Class)
	fill, probability := ratio(s.Held, t.Effective), 0.0
	if s.Forecast != nil {
		probability = s.Forecast.Probability[2]
	}
	switch {
	case fill >= 0.95 || probability >= 0.5:
		return levelCrit
	case fill >= 0.75 || probability >= 0.1:
		return levelWarn
	}
	return levelOK
}

// urgent is the port space that runs out first among those that are near their budget.
type urgent struct {
	level    level // levelOK: there is none
	protocol *detector.AccountSnapshot
	space    *detector.SpaceSnapshot
	left     float64 // seconds to exhaustion, +Inf beyond the longest horizon
}

// of compares with the port spaces of a budget, and keeps the worst level, and of that the shortest time.
func (u *urgent) of(b *detector.BudgetSnapshot) {
	for i := range b.Protocols {
		p := &b.Protocols[i]
		for j := range p.Spaces {
			s := &p.Spaces[j]
			l := spaceLevel(s, &p.Terms)
			if l == levelOK || worse(l, u.level) != l {
				continue
			}
			left := math.Inf(1)
			if of := p.Terms.OfClass(s.Class); s.Held >= of.Effective {
				left = 0
			} else if s.Forecast != nil {
				left = s.Forecast.TimeToExhaustion
			}
			if l != u.level || left < u.left {
				*u = urgent{l, p, s, left}
			}
		}
	}
}

// mostUrgent returns the port space that runs out first.
func mostUrgent(snap *detector.Snapshot) urgent {
	u := urgent{level: levelOK}
	for i := range snap.Budgets {
		u.of(&snap.Budgets[i])
	}
	return u
}
