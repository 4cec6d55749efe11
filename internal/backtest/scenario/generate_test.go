package scenario

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/internal/backtest/record"
)

// A run can be repeated, its flows come in order, and its load is what the scenario says.
func TestGenerate(t *testing.T) {
	t.Parallel()
	for _, s := range slices.Concat(All(), Loads()) {
		for _, p := range Profiles() {
			if !s.Has(p) {
				continue
			}
			t.Run(s.Name+" "+p.Name, func(t *testing.T) {
				t.Parallel()
				const hours = 0.5
				first, second, other := s.Generate(p, 1, hours), s.Generate(p, 1, hours), s.Generate(p, 2, hours)
				flows := slices.Collect(first.Flows)
				if !slices.Equal(flows, slices.Collect(second.Flows)) {
					t.Error("the same seed gave other flows")
				}
				if slices.Equal(flows, slices.Collect(other.Flows)) {
					t.Error("another seed gave the same flows")
				}
				if want := record.Epoch + record.Seconds(3600*hours*s.Length); first.To != want {
					t.Errorf("it ends at %d, want %d", first.To, want)
				}
				last := first.From
				for _, f := range flows {
					if f.Start < last || f.End < f.Start || f.Start >= first.To {
						t.Fatalf("flow %+v after %d", f, last)
					}
					last = f.Start
				}
				for i, c := range first.Changes {
					table := c.Nodes > 0
					if table && c.Ports != 1024 && c.Nodes <= 50 || c.Ports != 512 && c.Nodes > 50 || i > 0 && c.At < first.Changes[i-1].At {
						t.Errorf("change %d: %+v", i, c)
					}
				}
			})
		}
	}
}

func TestLifetimeMean(t *testing.T) {
	t.Parallel()
	for _, p := range Profiles() {
		l := &load{profile: p, r: rand.New(rand.NewPCG(1, 1))}
		const draws = 2_000_000
		sum := 0.0
		for range draws {
			sum += p.life.draw(l.r, 1)
		}
		if got, want := sum/draws, p.life.mean(); math.Abs(got/want-1) > 0.03 {
			t.Errorf("%s: mean %.3f s, want %.3f", p.Name, got, want)
		}
	}
}

// The slow store's lifetimes grow while the rate of opens stays.
func TestSlowStoreGrowsHoldTimes(t *testing.T) {
	t.Parallel()
	for _, s := range All() {
		if s.Name != "slow" {
			continue
		}
		src := s.Generate(Profiles()[1], 1, 8)
		var opens, long [8]int
		for f := range src.Flows {
			hour := int(f.Start.Sub(record.Epoch) / time.Hour)
			opens[hour]++
			if f.End.Sub(f.Start) > time.Second {
				long[hour]++
			}
		}
		if least, most := slices.Min(opens[:]), slices.Max(opens[:]); float64(most) > 1.05*float64(least) {
			t.Errorf("opens per hour from %d to %d", least, most)
		}
		if calm, worst := slices.Min(long[:]), slices.Max(long[:]); worst < 5*calm {
			t.Errorf("flows over 1 s per hour from %d to %d: no hour is slow", calm, worst)
		}
	}
}
