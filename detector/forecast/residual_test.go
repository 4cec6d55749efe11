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

// The tails of the factory, which are of loads of hundreds of ports, count less where few ports are expected and the
// forecasts so far erred by chance alone; where one in ten erred by far more, and where many ports are expected, they
// count as before.
func TestFewPortsHaveTheirOwnTail(t *testing.T) {
	t.Parallel()
	f := NewForecaster(0)
	beyond := func(wild int, ports float64) float64 {
		var l learnt
		for i := range 100 {
			r := float64(i%4) - 1
			if i%10 < wild {
				r = 10
			}
			l.tail.learn(1, r)
		}
		var above [tailBins + 1]float64
		l.cumulate(0, f, ports, &above)
		return f.work.bins.beyond(&above, 4)
	}
	if few, many := beyond(0, 1.5), beyond(0, 600); few > 0.7*many {
		t.Errorf("%.4f of the tail lies beyond 4 where few ports are expected, %.4f where many are", few, many)
	}
	if few, many := beyond(1, 1.5), beyond(1, 600); few < 0.9*many {
		t.Errorf("after wild errors %.4f of the tail lies beyond 4 where few ports are expected, %.4f where many are", few, many)
	}
}
