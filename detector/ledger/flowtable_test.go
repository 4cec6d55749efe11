package ledger

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
)

// The table against Go's map, with keys that crowd in few places.
func TestFlowTableAgainstAMap(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var table flowTable
	sets := []*flowSet{{netns: 0}, {netns: 1}, {netns: 2}}
	type mine struct {
		entry uint32
		set   int
	}
	model := map[flowKey]mine{}
	keys := make([]flowKey, 4000)
	for i := range keys {
		keys[i] = flowKey{rng.Uint64(), uint64(i)}
		if i%2 == 0 {
			keys[i].hi = uint64(i%16) << 60 // the same home for many, the same slot bits too
		}
	}
	for step := range 200_000 {
		k := keys[rng.IntN(len(keys))]
		m, ok := model[k]
		got := table.find(k)
		if ok != (got != 0) || ok && got != m.entry {
			t.Fatalf("step %d: found %d, want %+v", step, got, m)
		}
		grow := step/20_000%2 == 0
		switch {
		case !ok && (grow || rng.IntN(3) == 0):
			set := rng.IntN(len(sets))
			i := table.add(k, sets[set])
			if table.netnsOf(i) != uint32(set) {
				t.Fatalf("entry %d belongs to %d, want %d", i, table.netnsOf(i), set)
			}
			model[k] = mine{i, set}
		case ok && (!grow || rng.IntN(3) == 0):
			table.remove(m.entry, sets[m.set])
			delete(model, k)
		}
	}
	for k, m := range model {
		if table.find(k) != m.entry {
			t.Errorf("%+v is lost", k)
		}
		table.remove(m.entry, sets[m.set])
	}
	if table.count != 0 || len(table.spare) != len(table.chunks) {
		t.Errorf("%d entries left, %d of %d chunks free", table.count, len(table.spare), len(table.chunks))
	}
	for _, b := range table.buckets {
		if b.tags<<8 != 0 || b.passed() && b.tags>>tagShift != 0xff {
			t.Fatal("a slot is left")
		}
	}
}

func TestKeysTellFlowsApart(t *testing.T) {
	t.Parallel()
	base := flowTo(1, store)
	key := func(f collector.Flow) flowKey {
		return keyOf([2]uint64{1, 2}, &f, pack(f.VIP.Addr()), pack(f.Destination.Addr()), f.VIP.Port())
	}
	seen := map[flowKey]string{}
	for name, change := range map[string]func(f *collector.Flow){
		"as it is":            func(*collector.Flow) {},
		"protocol":            func(f *collector.Flow) { f.Protocol = collector.UDP },
		"zone":                func(f *collector.Flow) { f.Zone = 1 },
		"namespace":           func(f *collector.Flow) { f.Netns = 2 },
		"port":                func(f *collector.Flow) { f.VIP = flowTo(2, store).VIP },
		"destination":         func(f *collector.Flow) { f.Destination = flowTo(1, "203.0.113.8:443").Destination },
		"destination port":    func(f *collector.Flow) { f.Destination = flowTo(1, "203.0.113.7:80").Destination },
		"IPv6":                func(f *collector.Flow) { f.Destination = flowTo(1, "[2001:db8::7]:443").Destination },
		"IPv6 of the same":    func(f *collector.Flow) { f.Destination = flowTo(1, "[::203.0.113.7]:443").Destination },
		"swapped":             func(f *collector.Flow) { f.VIP, f.Destination = f.Destination, f.VIP },
		"without destination": func(f *collector.Flow) { f.Destination = collector.Flow{}.Destination },
	} {
		f := base
		change(&f)
		k := key(f)
		if other, ok := seen[k]; ok {
			t.Errorf("%q has the key of %q", name, other)
		}
		seen[k] = name
	}
	// What may change while the flow lives is no part of the key, nor is the source before translation.
	f := base
	f.State, f.ID, f.Active, f.Source = collector.Done, 77, 5, flowTo(9, store).Source
	if key(f) != key(base) {
		t.Error("the key changes during a flow's life")
	}
}

// Timers near and far expire in their tick, whatever is set around them.
func TestWheelAgainstAList(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	w := wheel{base: at(0)}
	due := map[timer]collector.Time{}
	now := at(0)
	for of := range uint32(20_000) {
		for range rng.IntN(3) {
			// From a tick to 116 days, beyond the wheel's 77.
			ahead := time.Duration(math.Exp(rng.Float64()*math.Log(1e8))) * 100 * time.Millisecond
			e := timer{of, w.tickAt(now.Add(ahead))}
			if _, ok := due[e]; !ok {
				w.put(timer{e.of, e.due})
				due[e] = now.Add(ahead)
			}
		}
		jump := time.Duration(rng.ExpFloat64() * float64(time.Second))
		if of%1000 == 0 {
			jump = time.Duration(rng.ExpFloat64() * float64(24*time.Hour))
		}
		now = now.Add(jump)
		w.advance(now, func(timers []timer) {
			tick := w.base.Add(time.Duration(w.now) * wheelTick)
			for _, e := range timers {
				if d, ok := due[e]; !ok || tick < d || tick.Sub(d) > 2*wheelTick {
					t.Fatalf("timer %d due at %v expired at %v", e.of, d.Sub(at(0)), tick.Sub(at(0)))
				}
				delete(due, e)
			}
		})
	}
	for e, d := range due {
		if d <= now.Add(-wheelTick) {
			t.Errorf("timer %d due %v ago did not expire", e.of, now.Sub(d))
		}
	}
	if len(due) != w.count || len(due) != len(waiting(&w)) {
		t.Errorf("%d timers wait, counted as %d, listed as %d", len(due), w.count, len(waiting(&w)))
	}
}

func TestLifetime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		opened, ended collector.Interval
		want          time.Duration
		ok            bool
	}{
		{"exact", exactly(1), exactly(1.05), 50 * time.Millisecond, true},
		{"exact and nothing", exactly(1), exactly(1), 0, true},
		{"a clock that is off", exactly(2), exactly(1), 0, true},
		{"older than the agent", collector.Interval{To: at(1)}, exactly(3), 0, false},
		{"seen closed by a poll every 4 s", collector.Interval{From: at(0), To: at(4)}, exactly(4), 63245553, true},
		{"known to a second", collector.Interval{From: at(0), To: at(1)}, collector.Interval{From: at(10), To: at(11)}, 9949874371, true},
		{"less than a millisecond", collector.Interval{From: at(0), To: at(0.0001)}, exactly(0.0001), 100 * time.Microsecond, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, ok := lifetime(c.opened, c.ended)
			if got != c.want || ok != c.ok {
				t.Errorf("%v, %v; want %v, %v", got, ok, c.want, c.ok)
			}
		})
	}
}

func TestHistogram(t *testing.T) {
	t.Parallel()
	bounds := newHistogramBounds()
	var h histogram
	want := detector.Histogram{Bounds: bounds, Counts: make([]uint64, len(bounds)+1)}
	for i, b := range bounds {
		d := time.Duration(math.Round(b * 1e9))
		for _, d := range []time.Duration{d, d + 1} {
			h.add(d)
			want.Sum += d.Seconds()
			k := i
			if d.Seconds() > b {
				k++
			}
			want.Counts[k]++
		}
	}
	h.add(-1)
	want.Counts[0]++
	got := h.snapshot(bounds)
	if math.Abs(got.Sum-want.Sum) > 1e-6 {
		t.Errorf("sum %v, want %v", got.Sum, want.Sum)
	}
	got.Sum, got.Zero, got.Native = want.Sum, 0, nil // TestHistogramNative looks at those
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if last := bounds[len(bounds)-1]; bounds[0] != 0.001 || last < 3600 {
		t.Errorf("bounds from %v to %v s", bounds[0], last)
	}
}

// At every size a flow costs less than 100 bytes, also right after the slots grew.
func TestMemoryForEachFlow(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	var table flowTable
	set := &flowSet{}
	most := 0.0
	for n := range 400_000 {
		table.add(flowKey{rng.Uint64(), uint64(n)}, set)
		if n < 100_000 {
			continue
		}
		bytes := len(table.blocks)*int(unsafe.Sizeof(*table.blocks[0])) + cap(table.blocks)*8 +
			cap(table.buckets)*int(unsafe.Sizeof(bucket{})) + cap(table.chunks)*8 + cap(table.spare)*4 + cap(set.chunks)*4
		most = max(most, float64(bytes)/float64(n+1))
	}
	if most > 100 {
		t.Errorf("%.1f bytes for a flow, want 100 at most", most)
	}
}
