package forecast

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
)

// midnight is one, in seconds since 1970.
const midnight = 1_700_006_400 / 86400 * 86400

// poisson draws a count.
func poisson(rng *rand.Rand, mean float64) float32 {
	n := -1
	for t := 0.0; t < mean; n++ {
		t += rng.ExpFloat64()
	}
	return float32(max(n, 0))
}

// countRhythm counts for so many hours what came gives for each bin since midnight.
func countRhythm(hours int, came func(bin int) float32) *rhythm {
	r := &rhythm{}
	const before = 4
	r.advance(midnight - (before+1)*rhythmBin)
	for b := -before; b < hours*hourBins; b++ {
		at := int64(midnight + b*rhythmBin)
		r.advance(at)
		r.counts[0] = uint32(came(b))
	}
	r.advance(midnight + int64(hours)*3600)
	return r
}

func TestRhythmKnowsBursts(t *testing.T) {
	t.Parallel()
	const level = 50
	every := func(bins int) map[int]float32 {
		want := map[int]float32{}
		for b := 0; b < hourBins; b += bins {
			want[b] = 300
		}
		return want
	}
	for _, tt := range []struct {
		name  string
		hours int
		burst func(bin int) float64 // mean arrivals beyond the level
		// want are the bins of the hour in which a burst is expected, and how large it is.
		want map[int]float32
	}{
		{"nothing", 6, func(int) float64 { return 0 }, nil},
		{"every five minutes", 3, func(b int) float64 {
			if b%20 == 0 {
				return 300
			}
			return 0
		}, every(20)},
		{"five minutes, not yet twice", 1, func(b int) float64 {
			if b%20 == 0 {
				return 300
			}
			return 0
		}, nil},
		{"every half hour", 4, func(b int) float64 {
			if b%120 == 0 {
				return 300
			}
			return 0
		}, every(120)},
		{"once", 4, func(b int) float64 {
			if b == 300 {
				return 3000
			}
			return 0
		}, nil},
		{"the level doubles and stays", 5, func(b int) float64 {
			if b >= 500 {
				return level
			}
			return 0
		}, nil},
		{"every two hours more", 8, func(b int) float64 {
			switch {
			case b%480 == 0:
				return 700
			case b%240 == 0:
				return 300
			}
			return 0
		}, map[int]float32{0: 500}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(8, 9))
			r := countRhythm(tt.hours, func(b int) float32 { return poisson(rng, level+tt.burst(b)) })
			now := int64(midnight/rhythmBin + tt.hours*hourBins)
			strays := 0
			for b := range hourBins {
				got, _ := r.burst(now + int64(b))
				want, ok := tt.want[(tt.hours*hourBins+b)%hourBins]
				switch {
				case !ok && got != 0:
					strays++
				case ok && math.Abs(float64(got-want)) > 0.15*float64(want):
					t.Errorf("bin %d: burst of %.0f, want %.0f", b, got, want)
				}
			}
			// Four standard deviations of chance leave one in 240 bins now and then.
			if strays > 2 {
				t.Errorf("%d bursts where there are none", strays)
			}
		})
	}
}

// A burst that varies is expected with its variance.
func TestRhythmKnowsHowMuchBurstsVary(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(10, 11))
	r := countRhythm(40, func(b int) float32 {
		if b%hourBins != 0 {
			return poisson(rng, 20)
		}
		return poisson(rng, 420+150*rng.NormFloat64())
	})
	excess, variance := r.burst(midnight/rhythmBin + 40*hourBins)
	if sd := math.Sqrt(float64(variance)); math.Abs(float64(excess)-400) > 200 || sd < 50 || sd > 350 {
		t.Errorf("burst of %.0f +- %.0f, want about 400 +- 150", excess, sd)
	}
}

// Flows are counted in the bin that they opened in, also when the tick comes late, and a gap
// leaves no half-counted bin.
func TestRhythmCounts(t *testing.T) {
	t.Parallel()
	r := &rhythm{}
	r.advance(midnight + 7)
	for at := int64(midnight + 7); at < midnight+3*rhythmBin; at++ {
		r.count(at, 1)
	}
	r.count(midnight-1, 1)
	r.count(midnight+3600, 1)
	r.advance(midnight + 2*rhythmBin)
	if want := [4]uint32{rhythmBin}; r.counts != want || r.first != midnight/rhythmBin+1 || r.level != rhythmBin {
		t.Errorf("counts %v, first bin %d, level %v", r.counts, r.first-midnight/rhythmBin, r.level)
	}
	before := r.hour
	r.advance(midnight + 2*3600)
	r.count(midnight+2*3600+1, 1)
	r.advance(midnight + 2*3600 + rhythmBin)
	if diff := cmp.Diff(before, r.hour, cmp.AllowUnexported(burst{})); diff != "" {
		t.Errorf("a gap of hours changed what recurs (-before +after):\n%s", diff)
	}
}

func TestRhythmKnowsTheDay(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(12, 13))
	rate := func(second float64) float64 { return 4 - 2*math.Cos(2*math.Pi*second/86400) }
	came := func(b int) float32 { return poisson(rng, rhythmBin*rate(float64(b*rhythmBin))) }
	if r := countRhythm(24, came); r.knowsDay(midnight + 24*3600) {
		t.Error("the day is known before it is over")
	}
	r := countRhythm(72, came)
	if !r.knowsDay(midnight + 72*3600) {
		t.Fatal("the day is not known after three")
	}
	for second := 0.0; second < 86400; second += 450 {
		if got, want := r.course(midnight+72*3600+second), rate(second); math.Abs(got/want-1) > 0.06 {
			t.Errorf("%.0f s after midnight: rate %.2f, want %.2f", second, got, want)
		}
	}
}

// A batch every half hour that is too large is warned of in the minute before it, and at no other.
func TestForecastKnowsTheClock(t *testing.T) {
	t.Parallel()
	const level, batch, every = 10, 700, 1800
	rng := rand.New(rand.NewPCG(14, 15))
	now := collector.Time(midnight * int64(time.Second))
	f := NewForecaster(0)
	b := testBudget(1024, 60*time.Second)
	s := f.Account(b, collector.TCP, now)
	o := s.Outlook(now)
	for second := range 5 * 3600 {
		opens := int(poisson(rng, level))
		if second%every < 5 {
			opens += batch / 5
		}
		at := now.Add(time.Duration(second) * time.Second)
		s.Tick(at, b)
		o.Tick(Conditions{Now: at})
		for range opens {
			i := moment(at.Add(time.Duration(rng.Int64N(1e9))))
			o.Open(i)
			s.Opened(i)
			o.Close(i, i, i.To.Add(60*time.Second), collector.FIN)
			s.Closed(i, i, collector.FIN)
		}
		if second < 3*3600 || o.held() >= 1024 {
			continue
		}
		p := o.forecast.Probability
		switch left := every - second%every; {
		case left <= 50 && left > 10 && p[0] < 0.5:
			t.Fatalf("%d s before a batch: %.2f within a minute", left, p[0])
		case left <= 280 && left > 10 && p[1] < 0.5:
			t.Fatalf("%d s before a batch: %.2f within five minutes", left, p[1])
		case left > 90 && left < every-150 && p[0] > 0.05:
			t.Fatalf("%d s before a batch: %.2f within a minute", left, p[0])
		}
	}
}

// Bursts that stop are no longer expected after a few of them stayed away, and are again when
// they come again.
func TestRhythmForgetsWhatStopped(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(16, 17))
	const stopped, again = 3 * hourBins, 4 * hourBins
	r := countRhythm(5, func(b int) float32 {
		if b%20 == 0 && (b < stopped || b >= again) {
			return poisson(rng, 350)
		}
		return poisson(rng, 50)
	})
	if e, _ := r.burst(midnight/rhythmBin + 5*hourBins); e < 100 {
		t.Errorf("an hour after they came again a burst of %.0f is expected", e)
	}
	rng = rand.New(rand.NewPCG(16, 17))
	r = countRhythm(3, func(b int) float32 {
		if b%20 == 0 {
			return poisson(rng, 350)
		}
		return poisson(rng, 50)
	})
	next := int64(midnight/rhythmBin + stopped)
	for missed := range 4 {
		e, _ := r.burst(next + int64(20*missed))
		if expected := missed < 3; (e > 0) != expected {
			t.Errorf("after %d stayed away a burst of %.0f is expected", missed, e)
		}
		for b := range int64(20) {
			r.counts[0] = uint32(poisson(rng, 50))
			r.advance((next + int64(20*missed) + b + 1) * rhythmBin)
		}
	}
}
