package forecast

import (
	"math"
	"testing"
)

// A calm load is known by its residuals, and one that turns wild too.
func TestKindOfLoad(t *testing.T) {
	t.Parallel()
	tails, common := factoryTails()
	const h = 1
	beyond := func(n int) (share float64) { // 3 standard deviations
		for _, x := range tails[h][n][TailBin(3):] {
			share += float64(x)
		}
		return share
	}
	expected := func(k *kind) (share float64) {
		for n, x := range k.shares(&common[h], kindDoubt()[h]) {
			share += x * beyond(n)
		}
		return share
	}
	var k kind
	young := expected(&k)
	for range 60 {
		k.learn(TailBin(0.7), &tails[h])
		k.learn(TailBin(1.2), &tails[h])
	}
	calm := expected(&k)
	for range 40 {
		k.learn(TailBin(6), &tails[h])
	}
	wild := expected(&k)
	if !(calm < 0.7*young && wild > 1.5*young) {
		t.Errorf("beyond 3 standard deviations: %.3f at first, %.3f of a calm load, %.3f of a wild one", young, calm, wild)
	}
	for h := range tails {
		for n := range tails[h] {
			sum := 0.0
			for _, x := range tails[h][n] {
				sum += float64(x)
			}
			if math.Abs(sum-1) > 0.02 {
				t.Errorf("horizon %d, kind %d: the tail sums to %v", h, n, sum)
			}
		}
	}
}

// What lies beyond a residual falls from one to nothing, and at the edges of bins it is what the bins say.
func TestBeyond(t *testing.T) {
	t.Parallel()
	e := newTailEdges()
	var above [tailBins + 1]float64
	for i := range above {
		above[i] = 1 - float64(i)/tailBins
	}
	for i, r := range e {
		if got := e.beyond(&above, r); math.Abs(got-above[i]) > 1e-9 {
			t.Errorf("beyond %v: %v, want %v", r, got, above[i])
		}
		if i < tailBins && TailBin(r+1e-6) != i {
			t.Errorf("residual %v is in bin %d, want %d", r, TailBin(r+1e-6), i)
		}
	}
	for _, r := range []float64{math.Inf(-1), -1e9} {
		if got := e.beyond(&above, r); got != 1 {
			t.Errorf("beyond %v: %v, want 1", r, got)
		}
	}
	if got := e.beyond(&above, math.Inf(1)); got != 0 {
		t.Errorf("beyond infinity: %v, want 0", got)
	}
}
