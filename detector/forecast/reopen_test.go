package forecast

import (
	"testing"
	"time"
)

// A deploy closes 360 connections and opens as many within five seconds: no page, whatever the ports cool for,
// and no forecast of more than there can be.
func TestDeployDoesNotPage(t *testing.T) {
	t.Parallel()
	for _, cool := range []time.Duration{0, 15 * time.Second, 240 * time.Second} {
		t.Run(cool.String(), func(t *testing.T) {
			t.Parallel()
			const connections, calm = 360, 3000
			const quiet = 0.3 // the probability stays below it: a page takes more
			s := newSpace(NewForecaster(0), 7, cool)
			s.life = func() float64 { return 0.05 * (0.5 + s.rng.Float64()) }
			s.rate = 1
			for second := range 4 * calm {
				deploys := second / calm
				if second%calm < 5 && deploys > 0 || second < connections/4 {
					n := connections / 5
					if second < connections/4 {
						n = 4 // the first come quietly
					}
					for range n {
						if deploys > 0 { // one that is open goes
							for i, at := range s.live {
								if s.now.Sub(at) > time.Minute && s.ends[i].Sub(s.now) > time.Minute {
									s.ends[i] = s.now.Add(time.Duration(s.rng.Int64N(1e9)))
									break
								}
							}
						}
						s.open(s.now.Add(time.Duration(s.rng.Int64N(1e9))), 1e6)
					}
				}
				s.second()
				s.tick()
				f := &s.o.forecast
				if second > 400 && (f.Probability[1] >= quiet || f.Mean[1] > 1024) {
					t.Fatalf("%d s after deploy %d: P(5 min) %.2f of a mean of %.0f ports, %d held",
						second%calm, deploys, f.Probability[1], f.Mean[1], s.o.held())
				}
			}
		})
	}
}

// Flows that open and close at once are no arrivals, in whatever order they do and however many.
func TestReopenedPairs(t *testing.T) {
	t.Parallel()
	var p reopened
	for i, tick := range []struct{ closed, opened, pairs float64 }{
		{0, 0, 0}, {80, 0, 0}, {0, 50, 50}, {0, 40, 18}, {30, 0, 19},
	} {
		if got := p.pair(tick.closed, tick.opened, 1); got != tick.pairs {
			t.Errorf("tick %d: %v pairs, want %v", i, got, tick.pairs)
		}
	}
	var a arrivals
	a.since, a.now = 100, 100
	for at := range int64(30) {
		a.add(100+at, 3)
	}
	a.advance(130)
	if took := a.take(5); took != 5 {
		t.Errorf("took %d of 90 arrivals, want 5", took)
	}
	for j := range a.blocks {
		sum := float32(0)
		for _, n := range a.blocks[j] {
			sum += n
		}
		want := float32(85)
		if j == 0 {
			want = 15*3 - 5 // of 16 s, of which the last has just begun
		}
		if sum != want {
			t.Errorf("level %d has %v arrivals, want %v", j, sum, want)
		}
	}
	if took := a.take(1000); took != 40 {
		t.Errorf("took %d arrivals of a quarter of a minute, want 40", took)
	}
}
