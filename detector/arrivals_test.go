package detector

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
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
