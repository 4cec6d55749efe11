package web

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/plan"
)

// answersShown are how many answers of a plan stand on the page.
const answersShown = 3

// planner keeps the answers of a plan for a while: one takes some milliseconds, and a page is asked for every two
// seconds.
type planner struct {
	mu   sync.Mutex
	kept map[string]keptAnswers
}

type keptAnswers struct {
	at    collector.Time
	lines []answer
}

// answer is one change that is enough, and what it does.
type answer struct{ Change, Effect string }

// plannedEvery is how long answers are kept, keptMost of how many budgets.
const (
	plannedEvery = 30 * time.Second
	keptMost     = 12
)

// answers are the best of a plan for the fullest TCP port space of a budget, at the most that it held within the
// hour. None where nothing is near, or too little is known to plan from.
func (p *planner) answers(h *History, at time.Time, snap collector.Time, b *detector.BudgetSnapshot) []answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k, ok := p.kept[b.Budget.Name]; ok && snap >= k.at && snap.Sub(k.at) < plannedEvery {
		return k.lines
	}
	if p.kept == nil || len(p.kept) > keptMost {
		p.kept = map[string]keptAnswers{}
	}
	lines := makeAnswers(h, at, b)
	p.kept[b.Budget.Name] = keptAnswers{snap, lines}
	return lines
}

func makeAnswers(h *History, at time.Time, b *detector.BudgetSnapshot) []answer {
	var p *detector.AccountSnapshot
	for i := range b.Protocols {
		if b.Protocols[i].Protocol == collector.TCP && len(b.Protocols[i].Spaces) > 0 {
			p = &b.Protocols[i]
		}
	}
	if p == nil {
		return nil
	}
	demand, ok := pageDemand(h, b, p)
	if !ok {
		return nil
	}
	made, err := plan.Changes(plan.Input{Budget: b.Budget.Params, Nodes: b.Budget.Nodes, Demand: demand, Now: at})
	if err != nil || made.Today.Probability < made.Target {
		return nil
	}
	lines := []answer{}
	for i := range made.Changes {
		if c := &made.Changes[i]; c.Enough && len(lines) < answersShown {
			effect := fmt.Sprintf("%d ports for a peak of %.0f; a day then exhausts with probability %s, now %s",
				c.Answer.Ports, c.Answer.Load, plan.Percent(c.Answer.Probability), plan.Percent(made.Today.Probability))
			if c.Answer.Load == 0 {
				effect = "its flows leave the NAT, and no other destination holds ports; a day exhausts with probability " +
					plan.Percent(made.Today.Probability) + " now"
			}
			lines = append(lines, answer{c.Name, strings.ReplaceAll(effect, " %", "\u00a0%")}) // on one line
		}
	}
	return lines
}

// pageDemand is the demand of the fullest port space. Port spaces of low ports are left out: a plan is of all others.
// ok is false where no hold time is known, or nothing is held.
func pageDemand(h *History, b *detector.BudgetSnapshot, p *detector.AccountSnapshot) (d plan.Demand, ok bool) {
	s, next := &detector.SpaceSnapshot{}, 0
	for i := range p.Spaces {
		switch x := &p.Spaces[i]; {
		case x.Class != budget.AnyClass:
		case x.Held > s.Held:
			s, next = x, s.Held
		default:
			next = max(next, x.Held)
		}
	}
	counts := make([]float64, len(p.Lifetime.Counts))
	for i, n := range p.Lifetime.Counts {
		counts[i] = float64(n)
	}
	law, within, err := plan.HistogramLaw(p.Lifetime.Bounds, counts, p.Lifetime.Sum)
	if err != nil || s.Held == 0 || s.MeanHold <= 0 {
		return d, false
	}
	ends := map[string]float64{}
	for r, n := range p.Closed {
		if n > 0 {
			ends[collector.Reason(r).String()] = float64(n)
		}
	}
	d = plan.Demand{
		Destination: s.Destination, Ends: ends, Spread: 0.2, Peakedness: 1, Peak: time.Hour,
		Next: float64(next) / float64(s.Held), Cut: s.Held >= p.Terms.Effective,
	}
	cool := plan.MeanCoolDown(&d, &p.Terms)
	d.LifetimesWithin, d.Lifetimes = within, law.WithMean(math.Max(s.MeanHold.Seconds()-cool, 0.001))
	most := max(s.Held, h.past(pastKey{b.Budget.Name, p.Protocol, s.VIP, s.Destination}).most())
	d.Rate = math.Max(float64(most)/(d.Lifetimes.Mean()+cool), s.OpensPerSecond)
	d.Low, d.High = 0.9*d.Rate, 1.1*d.Rate
	return d, true
}
