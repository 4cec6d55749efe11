package detector

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
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
	s := newScript(t, LedgerConfig{Budgets: []*budget.Budget{testBudget(1024, 0)}})
	s.dump(0)
	rng := rand.New(rand.NewPCG(1, 2))
	type end struct {
		at float64
		n  int
	}
	var ends []end
	for n, x := 0, 1.0; x < 900; n, x = n+1, x+rng.ExpFloat64()/200 {
		for len(ends) > 0 && ends[0].at <= x {
			s.close(ends[0].at, flowTo(ends[0].n, store), collector.FIN)
			ends = ends[1:]
		}
		s.open(x, flowTo(n%50000, store))
		ends = append(ends, end{x + 0.4, n % 50000})
	}
	if got := s.spaces[1].outlook.dispersion; got > 2 {
		t.Errorf("the variance of arrivals is %.1f of their mean, want nearly 1", got)
	}
}
