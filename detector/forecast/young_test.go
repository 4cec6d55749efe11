package forecast

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// A store that slows down over two and a half minutes, in a port space that is less than a minute old
// and known by polls of two seconds, is seen before the ports are gone.
func TestYoungSpaceSeesASlowStore(t *testing.T) {
	t.Parallel()
	const calm, onset, budget = 46, 150, 942
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 5))
		now := collector.Time(1_700_000_000 * int64(time.Second))
		f := NewForecaster(0)
		b := testBudget(budget, 0)
		s := f.Account(b, collector.TCP, now)
		o := s.Outlook(now)
		type call struct{ opened, ends collector.Time }
		var calls []call
		warned, full := 0, 0
		for second := 0; full == 0; second++ {
			rate, life := 2, 0.05
			if second >= calm {
				rate, life = 34, 0.05+30*min(float64(second-calm)/onset, 1)
			}
			for range rate {
				at := now.Add(time.Duration(rng.Int64N(1e9)))
				calls = append(calls, call{at, at.Add(time.Duration(life * (0.5 + rng.Float64()) * 1e9))})
				i := collector.Interval{From: at.Add(-2 * time.Second), To: at}
				o.Open(i)
				s.Opened(i)
			}
			now = now.Add(time.Second)
			calls = slices.DeleteFunc(calls, func(c call) bool {
				if c.ends > now {
					return false
				}
				i := collector.Interval{From: c.opened.Add(-2 * time.Second), To: c.opened}
				e := collector.Interval{From: c.ends.Add(-time.Second), To: c.ends}
				o.Close(i, e, e.To, collector.FIN)
				s.Closed(i, e, collector.FIN)
				return true
			})
			if second%2 == 0 {
				s.Tick(now, b)
				o.Tick(Conditions{Now: now})
			}
			if warned == 0 && o.forecast.Probability[1] >= 0.2 {
				warned = second
			}
			if o.held() >= budget {
				full = second
			}
		}
		if warned == 0 || full-warned < 40 {
			t.Errorf("seed %d: warned at +%d s, full at +%d s", seed, warned-calm, full-calm)
		}
		if warned < calm+30 {
			t.Errorf("seed %d: warned at +%d s, when the store had hardly slowed down", seed, warned-calm)
		}
	}
}

// Flows that are met hours after the start, where their tables were flushed or a gateway took over, are found open too.
// That those of the start have all ended does not say that these end within seconds.
func TestFlowsMetLaterAreNotBounded(t *testing.T) {
	t.Parallel()
	edges := newAgeEdges()
	for _, still := range []int{0, 1, 10} { // flows of the start that live on
		var l lifetimes
		var c curve
		c.start(edges)
		for k := range c.h {
			c.h[k] = 1.0 / 3600
		}
		c.late = &l.late
		c.fit()
		old, now := collector.Interval{To: at(1)}, collector.Interval{To: at(3000)}
		for range 200 {
			l.open(old)
		}
		for range 200 - still {
			l.close(old, exactly(2000), edges)
		}
		for range 200 {
			l.open(now)
		}
		before := c.h
		l.bound(&c, at(3010).Seconds())
		if c.h != before {
			t.Errorf("%d live on: after a minute %.4f of the flows end in a second, want 1 in 3600", still, c.h[ageBucket(60)])
		}
	}
}
