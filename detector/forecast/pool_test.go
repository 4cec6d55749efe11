package forecast

import (
	"testing"

	"github.com/snatwatch/snatwatch/collector"
)

// A pool that grows towards the edge of its table will halve the ceiling: the forecast sees it
// come, and does not where the pool stands still.
func TestGrowingPoolIsSeenAhead(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		every       int // seconds between two nodes that join, 0 for none
		least, most float64
	}{
		{"a node a minute", 60, 0.5, 1},
		{"a node in ten seconds", 10, 0.5, 1},
		{"no growth", 0, 0, 0.05},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := NewForecaster(0)
			b := testBudget(1024, 0)
			b.Nodes, b.NextTierPorts = 10, 512
			s := f.Account(b, collector.TCP, epoch)
			o := s.Outlook(epoch)
			for range 600 {
				o.Open(exactly(0))
			}
			// Twenty minutes of it, so that 600 ports held are nothing new.
			for x := range 1200 {
				if tt.every > 0 && x%tt.every == 0 {
					b.Nodes++
				}
				b.NodesToNextTier = 2
				now := at(float64(x))
				s.Tick(now, b)
				o.Tick(Conditions{Now: now})
			}
			if p := o.forecast.Probability[1]; p < tt.least || p > tt.most {
				t.Errorf("probability within 5 minutes %.3f, want %v to %v", p, tt.least, tt.most)
			}
			if o.forecast.Mean[1] < 590 || o.forecast.Mean[1] > 610 {
				t.Errorf("mean in 5 minutes %.1f, want 600", o.forecast.Mean[1])
			}
		})
	}
}

func TestPoissonAtLeast(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		k    int
		mean float64
		want float64
	}{
		{0, 0, 1}, {1, 0, 0}, {1, 1, 0.632}, {3, 2, 0.323}, {250, 250, 0.513}, {1000, 500, 0},
	} {
		if got := poissonAtLeast(tt.k, tt.mean); got < tt.want-0.005 || got > tt.want+0.005 {
			t.Errorf("k %d, mean %v: %.3f, want %.3f", tt.k, tt.mean, got, tt.want)
		}
	}
}

// The same events give the same forecast, bit by bit.
func TestForecastIsDeterministic(t *testing.T) {
	t.Parallel()
	a, b := newBusySpace(NewForecaster(0), 9), newBusySpace(NewForecaster(0), 9)
	if a.o.forecast != b.o.forecast {
		t.Errorf("%+v\n%+v", a.o.forecast, b.o.forecast)
	}
}

func TestTickDoesNotAllocate(t *testing.T) {
	s := newBusySpace(NewForecaster(0), 1)
	if n := testing.AllocsPerRun(10, func() { s.now += 1e5; s.tick() }); n != 0 {
		t.Errorf("a tick allocates %v times", n)
	}
}
