package detector

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestEstimate(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ x, want float64 }{
		"nothing":                        {0, 0},
		"certain":                        {1, 1},
		"never":                          {math.Inf(1), math.Inf(1)},
		"a count of twelve bits":         {4095, 4095},
		"half a step to the even number": {4097, 4096},
		"half a step up to the even one": {4099, 4100},
		"past half a step":               {4097.01, 4098},
		"the same where it is small":     {4097.01 / (1 << 20), 4098.0 / (1 << 20)},
		"below 0":                        {-4097.01, -4098},
		"a step up to the next power":    {8191.5, 8192},
	} {
		if got := Estimate(tt.x); got != tt.want {
			t.Errorf("%s: %v comes back as %v, want %v", name, tt.x, got, tt.want)
		}
	}
	if got := Estimate(math.NaN()); !math.IsNaN(got) {
		t.Errorf("NaN comes back as %v", got)
	}
}

// What an estimate loses is a share of it, however small it is; the order of two estimates does not turn, and an
// estimate of an estimate is the same.
func TestEstimateKeepsShareAndOrder(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	random := func() float64 { return math.Exp(40*r.Float64() - 25) } // 1e-11 to 3e6
	for range 100_000 {
		x := random()
		y := x * (1 + 0.001*r.Float64())
		ex, ey := Estimate(x), Estimate(y)
		if math.Abs(ex-x) > x/4096 {
			t.Fatalf("%v comes back as %v, %.3f %% away", x, ex, 100*math.Abs(ex-x)/x)
		}
		if ex > ey {
			t.Fatalf("%v < %v come back as %v > %v", x, y, ex, ey)
		}
		if Estimate(ex) != ex {
			t.Fatalf("%v comes back as %v, and that as %v", x, ex, Estimate(ex))
		}
		if low := math.Float64bits(ex) & (1<<noiseBits - 1); low != 0 {
			t.Fatalf("%v comes back as %v, whose last bits are %x", x, ex, low)
		}
	}
}

// Gateways and pools sum over nodes: what is rounded up there must be rounded down elsewhere.
func TestSumsOfEstimatesHaveNoBias(t *testing.T) {
	t.Parallel()
	for name, random := range map[string]func(*rand.Rand) float64{
		"about a tenth of a port":     func(r *rand.Rand) float64 { return 0.09 + 0.02*r.Float64() },
		"from nothing to a port":      (*rand.Rand).Float64,
		"a thousandth, and sometimes": func(r *rand.Rand) float64 { return 0.001 * r.ExpFloat64() },
		"forty ports":                 func(r *rand.Rand) float64 { return 36 + 8*r.Float64() },
		// Half of these lie in the middle of two steps.
		"halves of a step": func(r *rand.Rand) float64 { return 1 + float64(r.IntN(4096))/4096 },
	} {
		r := rand.New(rand.NewPCG(3, 4))
		var exact, sum float64
		for range 10_000 {
			x := random(r)
			exact += x
			sum += Estimate(x)
		}
		// One may be off by 2.4e-4 of itself; of 10,000 whose errors have random signs the sum is off by a hundredth of that.
		if math.Abs(sum-exact) > 2e-5*exact {
			t.Errorf("%s: the sum of 10,000 is %v, that of their estimates %v, %.5f %% away", name, exact, sum,
				100*math.Abs(sum-exact)/exact)
		}
	}
}

// A forecast keeps what readers rely on: probabilities are 0 to 1 and certain only where they were, and neither they
// nor variances fall from one horizon to the next.
func TestEstimatedForecast(t *testing.T) {
	t.Parallel()
	f := Forecast{
		Mean:             [NumHorizons]float64{0, 0.1, 1001.3, 51_609},
		Variance:         [NumHorizons]float64{0, 77.00001, 77.00002, 1e9},
		Probability:      [NumHorizons]float64{0, PageRaise - 1e-6, 1 - 1e-9, 1},
		TimeToExhaustion: math.Inf(1),
		Inexact:          true,
	}
	got := f.Estimated()
	if got.Probability[0] != 0 || got.Probability[3] != 1 || !(got.Probability[2] < 1) || !math.IsInf(got.TimeToExhaustion, 1) ||
		!got.Inexact {
		t.Errorf("%+v comes back as %+v", f, got)
	}
	for h := range NumHorizons {
		if h > 0 && (got.Variance[h] < got.Variance[h-1] || got.Probability[h] < got.Probability[h-1]) {
			t.Errorf("%+v falls from one horizon to the next: %+v", f, got)
		}
		for _, pair := range [][2]float64{
			{f.Mean[h], got.Mean[h]},
			{f.Variance[h], got.Variance[h]},
			{f.Probability[h], got.Probability[h]},
		} {
			if math.Abs(pair[0]-pair[1]) > pair[0]/4096 || Estimate(pair[1]) != pair[1] {
				t.Errorf("%v comes back as %v", pair[0], pair[1])
			}
		}
	}
	if f.Mean[2] != 1001.3 {
		t.Error("the forecast itself was changed")
	}
}
