package forecast

import (
	"math/rand/v2"
	"testing"
)

// Whatever opens and closes when, the wheel knows each age to one part in 31 and
// comes back to nothing.
func TestAgeWheelKnowsAges(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var w ageWheel
	w.now = 1_700_000_000
	live := map[int64]int{}
	n := 0
	for range 20_000 {
		w.advance(w.now + int64(rng.ExpFloat64()*rng.ExpFloat64()*30))
		if rng.IntN(3) > 0 || n == 0 {
			start := w.now - int64(rng.IntN(5))
			w.add(start)
			live[start]++
			n++
			continue
		}
		for start := range live {
			w.remove(start)
			n--
			if live[start]--; live[start] == 0 {
				delete(live, start)
			}
			break
		}
	}
	if w.count() != n {
		t.Fatalf("count %d, want %d", w.count(), n)
	}
	for start := range live {
		j := w.level(start)
		if age := w.now - start; j < ageLevels && age > 64 && 1<<j > age/31+1 {
			t.Errorf("a flow of age %d s is in a cell of %d s", age, 1<<j)
		}
	}
	for start, c := range live {
		for range c {
			w.remove(start)
		}
	}
	if w != (ageWheel{now: w.now}) {
		t.Error("flows remain after every one was removed")
	}
}

// A start that the wheel never saw takes the nearest flow out, and the count stays right.
func TestAgeWheelRemovesNearest(t *testing.T) {
	t.Parallel()
	w := ageWheel{now: 1000}
	w.add(900)
	w.add(990)
	w.remove(980)
	want := ageWheel{now: 1000}
	want.add(900)
	if w != want {
		t.Error("the flow of second 900 should remain, and it alone")
	}
}

func TestReleaseWheelReleasesOnTheSecond(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		longest int64
		late    int64 // seconds that a release may come late
	}{
		{"240 s", 240, 0},
		{"no cool-down", 0, 0},
		{"an hour", 3600, 15},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newReleaseWheel(5000, tt.longest)
			for at := int64(5000); at <= 5000+tt.longest; at++ {
				w.add(at, 1)
			}
			for now := int64(5000); now < 5000+tt.longest+20; now++ {
				var left [1]float64
				w.after([]int64{now + 7}, left[:])
				ahead := left[0]
				w.advance(now)
				want := max(0, 5000+tt.longest-now)
				if got := int64(w.total); got < want || got > want+tt.late {
					t.Fatalf("at +%d: %d cooling, want %d", now-5000, got, want)
				}
				if got := int64(ahead); got < want-7 || got > max(0, want-7)+tt.late {
					t.Fatalf("at +%d: %d cooling 7 s on, want %d", now-5000, got, want-7)
				}
			}
			if w.total != 0 {
				t.Errorf("%d never released", w.total)
			}
		})
	}
}

func TestAgeBucketEdges(t *testing.T) {
	t.Parallel()
	edges := newAgeEdges()
	for k := range ageBuckets {
		if got := ageBucket(edges[k] * 1.0000001); got != k {
			t.Errorf("just above edge %d: bucket %d", k, got)
		}
		if got := ageBucket(edges[k+1] * 0.9999999); got != k && k < ageBuckets-1 {
			t.Errorf("just below edge %d: bucket %d", k+1, got)
		}
	}
}
