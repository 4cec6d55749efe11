package forecast

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// restored is r as a state brings it back.
func restored(t testing.TB, r *rhythm) *rhythm {
	t.Helper()
	w := codec{}
	w.rhythm(r)
	got := &rhythm{}
	c := codec{b: w.b, reading: true}
	if c.rhythm(got); c.err != nil || len(c.b) > 0 {
		t.Fatalf("%v, %d bytes left over", c.err, len(c.b))
	}
	return got
}

// While nobody counts, whatever recurs is neither seen nor missed: a gap teaches nothing.
func TestRhythmHeedsGaps(t *testing.T) {
	t.Parallel()
	const level, spike, end = 50, 700, midnight + 4200
	for _, tt := range []struct {
		name    string
		gap     int64 // seconds
		restart bool
	}{
		{"a late tick", 90, false},
		{"a step of the clock", 1800, false},
		{"hours asleep", 3 * 3600, false},
		{"a quick restart", 20, true},
		{"a slow restart", 3 * 3600, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := &rhythm{}
			r.advance(midnight - 7)
			for at := int64(midnight); at <= end; at += rhythmBin {
				r.advance(at)
				r.counts[0] = level
				if at == midnight+600 {
					r.counts[0] += spike // once
				}
			}
			was := *r
			if tt.restart {
				r = restored(t, r)
				r.start = end
				r.skip((end + tt.gap) / rhythmBin)
			}
			now := end + tt.gap
			r.advance(now)
			r.advance(now + rhythmBin) // the bin that was begun
			if r.level != was.level || r.noise != was.noise || r.hour != was.hour {
				t.Errorf("level %.0f became %.0f, noise %.0f became %.0f; what recurs changed: %v",
					was.level, r.level, was.noise, r.noise, r.hour != was.hour)
			}
			for b := now / rhythmBin; b < now/rhythmBin+hourBins; b++ {
				if got, _ := r.burst(b); got != 0 {
					t.Errorf("a burst of %.0f is expected at bin %d of the hour, where one came once", got, b%hourBins)
				}
			}
		})
	}
}

// What came once this hour is not expected an hour ahead, at no moment of the hour.
func TestRhythmExpectsNothingAfterOneHour(t *testing.T) {
	t.Parallel()
	s := newBusySpace(NewForecaster(0), 1)
	o, w := s.o, &s.account.f.work
	o.rhythm = rhythm{}
	start := int64(midnight)
	for at := start; at < start+2*3600; at += rhythmBin {
		o.rhythm.advance(at)
		o.rhythm.counts[0] = 50
		if at == start+600 {
			o.rhythm.counts[0] = 700
		}
		if (tick{o}).recur(w, float64(at)); len(w.bursts) > 0 {
			t.Fatalf("%d s after the start: a burst of %.0f in %.0f s", at-start, w.bursts[0].excess, w.bursts[0].at)
		}
	}
}

// Where the agent slept, the day has a hole that the next day fills.
func TestRhythmKnowsNoDayWithAHole(t *testing.T) {
	t.Parallel()
	r := &rhythm{}
	count := func(from, to int64) {
		for at := from; at <= to; at += rhythmBin {
			r.advance(at)
			r.counts[0] = 60
		}
	}
	count(midnight, midnight+2*3600)
	count(midnight+5*3600, midnight+26*3600)
	if r.knowsDay(midnight + 26*3600) {
		t.Error("the day is known, but for three hours that nobody counted")
	}
	count(midnight+26*3600, midnight+30*3600)
	if !r.knowsDay(midnight + 30*3600) {
		t.Fatal("the day is not known, though each quarter of an hour was counted")
	}
	for second := 0.0; second < 86400; second += 450 {
		if got := r.course(midnight + 86400 + second); got != 4 {
			t.Errorf("%.0f s after midnight: rate %.2f, want 4", second, got)
		}
	}
}

// Whatever comes, and however the clock runs, the numbers stay in their bounds and survive a state.
func FuzzRhythm(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 17))
		r, now := &rhythm{}, int64(midnight)
		rate := math.Pow(10, 8*rng.Float64())
		for range 2000 {
			switch rng.IntN(100) {
			case 0:
				now += rng.Int64N(2 * 86400) // asleep
			case 1:
				now -= rng.Int64N(7200)
			case 2:
				rate = math.Pow(10, 8*rng.Float64())
			default:
				now += rng.Int64N(30)
			}
			r.advance(now)
			for i := range r.counts {
				r.counts[i] += uint32(rng.Float64() * rate)
			}
			r.count(now+rng.Int64N(200)-100, 1)
		}
		for x := range map[float32]bool{r.level: true, r.noise - 1: true} {
			if !(x >= 0 && x < 1e15) {
				t.Fatalf("level %v, noise %v", r.level, r.noise)
			}
		}
		for b := now / rhythmBin; b < now/rhythmBin+hourBins; b++ {
			excess, variance := r.burst(b)
			if !(math.Abs(float64(excess)) < 1e12 && variance >= 0 && variance < 1e24) {
				t.Fatalf("bin %d: burst of %v +- %v", b, excess, variance)
			}
			if got := r.course(float64(b * rhythmBin)); !(got >= 0 && got < 1e12) {
				t.Fatalf("bin %d: rate %v", b, got)
			}
		}
		want := *r
		want.start, want.counts, want.partial, want.off, want.quarter, want.bins = 0, [4]uint32{}, false, 0, 0, 0
		if diff := cmp.Diff(&want, restored(t, r), cmp.AllowUnexported(rhythm{}, burst{})); diff != "" {
			t.Fatalf("after a state (-want +got)\n%s", diff)
		}
	})
}
