package ledger

import (
	"testing"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// At saturation ports are freed and taken again while opens fail, and a failure is counted now and then: until it is
// over the answer is now, and no longer.
func TestSaturationIsNowUntilItIsOver(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{plain()}})
	s.dump(0)
	next := 0
	var live []collector.Flow
	hold := func(seconds float64, want int) {
		for len(live) > want {
			s.close(seconds, live[0], collector.FIN)
			live = live[1:]
		}
		for len(live) < want {
			next++
			live = append(live, flowTo(1000+next, store))
			s.open(seconds, live[len(live)-1])
		}
	}
	says := func(seconds float64, now bool) {
		t.Helper()
		s.dump(seconds, live...)
		p := s.tcp(seconds + 0.9)
		f := p.Spaces[0].Forecast
		if f == nil && seconds < 10 {
			return // too soon to say
		}
		if f == nil {
			t.Fatalf("at %v s: no forecast", seconds)
		}
		certain := f.Probability == [detector.NumHorizons]float64{1, 1, 1, 1} && p.Forecast.Probability == f.Probability
		if now && (f.TimeToExhaustion != 0 || !certain) || !now && f.TimeToExhaustion == 0 {
			t.Errorf("at %v s with %d ports held: time left %v, probability %v, over all spaces %v; now: %v", seconds, p.Spaces[0].Held, f.TimeToExhaustion, f.Probability, p.Forecast.Probability, now)
		}
	}
	for n := 1; n < 46; n++ {
		hold(1+float64(n), 2*n)
		says(1+float64(n), false)
	}
	hold(50, 92)
	says(50, true) // full
	hold(51, 92)
	s.ObserveStalls(at(51.1), []collector.Flow{flowTo(2, store)})
	for n := range 18 {
		hold(52+float64(n), []int{86, 91, 88, 84}[n%4])
		says(52+float64(n), true)
	}
	hold(75, 84)
	says(75, false) // nothing failed for 20 s
	hold(76, 92)
	s.ObserveStalls(at(76.1), []collector.Flow{flowTo(3, store)})
	says(77, true)
	hold(78, 40)
	says(79, false) // relieved: it does not stand
}
