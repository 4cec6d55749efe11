package forecast

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
)

// Arrivals are in the blocks after each advance as if each had been put there when it came.
func TestArrivalsAreInTheirBlocks(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(6, 7))
	const start = 1_700_000_000
	a := arrivals{since: start, now: start}
	var came []int64
	now := int64(start)
	for range 3000 {
		for range rng.IntN(6) {
			at := now - int64(rng.ExpFloat64()*float64(rng.IntN(3)))
			a.add(at, 1)
			came = append(came, at)
		}
		if rng.IntN(3) == 0 {
			now += int64(rng.IntN(3))
		}
		if rng.IntN(4) != 0 {
			continue
		}
		a.advance(now)
		var want [arrivalLevels][arrivalBlocks]float32
		for _, at := range came {
			for j := range want {
				if at >= start && now>>j-at>>j < arrivalBlocks {
					want[j][at>>j&(arrivalBlocks-1)]++
				}
			}
		}
		if diff := cmp.Diff(want, a.blocks); diff != "" {
			t.Fatalf("at %d s (-want +got):\n%s", now-start, diff)
		}
	}
}

// A calm fill that moves is looked at now after a second, now after five. Arrivals at one rate are not taken
// to vary by that.
func TestDispersionOfUnevenTicks(t *testing.T) {
	t.Parallel()
	b := testBudget(1024, 0)
	s := NewForecaster(0).Account(b, collector.TCP, epoch)
	o := s.Outlook(epoch)
	rng := rand.New(rand.NewPCG(1, 2))
	var ends []float64
	ticked, seen := 0.0, 0
	for x := 1.0; x < 900; x += rng.ExpFloat64() / 200 {
		for len(ends) > 0 && ends[0] <= x {
			o.Close(exactly(ends[0]-0.4), exactly(ends[0]), 0, collector.FIN)
			ends = ends[1:]
		}
		o.Open(exactly(x))
		ends = append(ends, x+0.4)
		now := math.Floor(x)
		moved := len(ends) - seen
		if now == ticked || max(moved, -moved)*50 <= b.TCP.Ports && int(now)%5 != 0 {
			continue
		}
		ticked, seen = now, len(ends)
		s.Tick(at(x), b)
		o.Tick(Conditions{Now: at(x)})
	}
	if got := o.dispersion; got > 2 {
		t.Errorf("the variance of arrivals is %.1f of their mean, want nearly 1", got)
	}
}
