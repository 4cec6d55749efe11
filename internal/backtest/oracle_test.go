package backtest

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/snatwatch/snatwatch/internal/backtest/scenario"
)

// An oracle of a load whose future is as its present says what comes, and better than the fill does.
func TestOracle(t *testing.T) {
	t.Parallel()
	cfg := Config{Hours: 3, Seeds: 2, Untrained: true, Oracle: true}
	steady := only(scenario.All(), named("steady_hi"))
	r, err := RunScenarios(context.Background(), cfg, steady, scenario.Profiles()[1:], nil)
	if err != nil {
		t.Fatal(err)
	}
	s := r.Summarize()
	oracle, fill := s.method(NameOracle), s.method(NameUtilisation)
	if oracle.Kind != KindOracle {
		t.Fatalf("the oracle is of kind %q", oracle.Kind)
	}
	// Farther ahead so short a run has too little of what is independent.
	for h := range 2 {
		t.Logf("%s: AP %.3f of the oracle, %.3f of the fill, Brier skill %.3f, distance %.3f", s.Horizons[h],
			float64(oracle.AP[h]), float64(fill.AP[h]), float64(oracle.Skill[h]), float64(oracle.CalibrationError[h]))
		if !(oracle.CalibrationError[h] < 0.1) {
			t.Errorf("%s: what the oracle says is %.3f off what comes", s.Horizons[h], float64(oracle.CalibrationError[h]))
		}
		if !(oracle.AP[h] > fill.AP[h]) {
			t.Errorf("%s: AP %.3f, the fill has %.3f", s.Horizons[h], float64(oracle.AP[h]), float64(fill.AP[h]))
		}
	}
}

// Courses that were made for one rate, scaled to a rate that is a tenth higher, fill as high and as unevenly as those that
// are made for that rate.
func TestOracleScalesCourses(t *testing.T) {
	t.Parallel()
	const rate, more, bins = 40.0, 1.1, 300
	l := &law{}
	for i := range lawFew {
		l.few = append(l.few, lifetime{life: float32(i) * 20 / lawFew}) // up to 20 s
	}
	highest := func(rate float64, l *law) (mean, sd float64) {
		o := &oracle{random: rand.New(rand.NewPCG(1, 2)), base: make([]float32, bins), change: make([]int32, bins)}
		o.counts.Ceiling = 500
		p := o.pool(l, rate, bins)
		more, wide := p.scale(rate)
		for b := range o.base {
			o.base[b] = float32(more-wide)*p.mean[b] - float32(o.counts.Ceiling)
		}
		clear(o.change)
		for n := range courses {
			o.follow(n, o.base, o.change, p.held[n*bins:(n+1)*bins], float32(wide))
		}
		most := o.most[1][:]
		for _, x := range most {
			mean += x / courses
		}
		for _, x := range most {
			sd += (x - mean) * (x - mean) / courses
		}
		return mean, math.Sqrt(sd)
	}
	wantMean, wantSD := highest(rate*more, &law{few: l.few})
	highest(rate, l)
	mean, sd := highest(rate*more, l)
	if len(l.pools) != 1 {
		t.Fatalf("%d pools, want one for both rates", len(l.pools))
	}
	// 256 courses tell a mean to a sixteenth of a standard deviation, and that to a twentieth.
	if math.Abs(mean-wantMean) > 0.4*wantSD || math.Abs(sd/wantSD-1) > 0.3 {
		t.Errorf("the highest fill is %.1f ± %.1f above the ceiling, want %.1f ± %.1f", mean, sd, wantMean, wantSD)
	}
}

// The smoothed share of courses is the chance, and whole ports stay whole where there are few.
func TestReached(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	most := make([]float64, 20000)
	for _, z := range []float64{-1, 1, 2, 3} {
		for i := range most {
			most[i] = 20 * (rng.NormFloat64() - z)
		}
		// Half a port more is a fortieth of a standard deviation.
		want := math.Erfc((z-0.025)/math.Sqrt2) / 2
		if got := reached(most); math.Abs(got/want-1) > 0.25 {
			t.Errorf("%v standard deviations below the ceiling the chance is %.4f, want %.4f", z, got, want)
		}
	}
	few := []float64{-1, -1, -1, -1, -1, -1, -1, 0}
	if got := reached(few); math.Abs(got-0.125) > 0.03 {
		t.Errorf("one course of eight reaches the ceiling, and the chance is %.3f", got)
	}
	if got := reached([]float64{-3, -3}); got != 0 {
		t.Errorf("no course comes nearer than three ports, and the chance is %v", got)
	}
}
