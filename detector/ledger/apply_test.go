package ledger

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// same says how two ledgers differ, to the last entry, timer and port space.
func same(a, b *Ledger) error {
	if !slices.Equal(waiting(&a.flows.timers), waiting(&b.flows.timers)) || a.flows.timers.now != b.flows.timers.now || a.flows.timers.count != b.flows.timers.count {
		return fmt.Errorf("timers differ")
	}
	if len(a.flows.table.blocks) != len(b.flows.table.blocks) || a.flows.table.count != b.flows.table.count {
		return fmt.Errorf("%d entries, want %d", b.flows.table.count, a.flows.table.count)
	}
	for n := range a.flows.table.blocks {
		for i := range a.flows.table.blocks[n] {
			if f, g := a.flows.table.blocks[n][i], b.flows.table.blocks[n][i]; f != g {
				return fmt.Errorf("entry %d is %+v, want %+v", n<<blockShift+i, g, f)
			}
		}
	}
	if diff := cmp.Diff(a.spaces.byKey, b.spaces.byKey, cmp.AllowUnexported(spaceKey{}, address{})); diff != "" {
		return fmt.Errorf("port spaces (-one by one +all):\n%s", diff)
	}
	if !bytes.Equal(a.AppendState(nil), b.AppendState(nil)) {
		return fmt.Errorf("states differ")
	}
	if diff := cmp.Diff(a.Snapshot(a.clock.now), b.Snapshot(b.clock.now), cmpopts.EquateNaNs(), cmpopts.IgnoreFields(detector.BudgetSnapshot{}, "Budget")); diff != "" {
		return fmt.Errorf("snapshots (-one by one +all):\n%s", diff)
	}
	return nil
}

// Events that come together make the same ledger as events that come one by one: whatever they
// tell, and though they open, close and release in a batch what was looked up before it.
func TestApplyAllIsApplyOneByOne(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 3))
		cfg := Config{Budgets: fuzzBudgets(), Start: at(0), TrackedMax: 3 + rng.IntN(10), ForecastMax: 2, ExportedMax: 2}
		one, all := New(cfg), New(cfg)
		now := at(1)
		for batch := range 60 {
			events := make([]collector.Event, rng.IntN(3*readAhead))
			// Now and then much time passes in a batch, so that timers fire amid it.
			pace := time.Duration(rng.ExpFloat64() * rng.ExpFloat64() * float64(time.Second))
			for i := range events {
				var b [4]byte
				for j := range b {
					b[j] = byte(rng.Uint32())
				}
				events[i] = fuzzEvent(now, b[:])
				now = now.Add(time.Duration(rng.Int64N(int64(pace) + 1)))
			}
			for i := range events {
				one.Apply(&events[i])
			}
			ApplyAll(events, all)
			if batch%6 != 0 {
				continue
			}
			if err := same(one, all); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if rng.IntN(2) == 0 {
				b := fuzzBudgets()[:1+rng.IntN(2)]
				one.Reconfigure(b)
				all.Reconfigure(b)
			}
		}
		if err := audit(all); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// The same over many more flows than a batch has, in a table that grows and shrinks.
func TestApplyAllOfManyFlows(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(4, 5))
	cfg := Config{Budgets: []*budget.Budget{azure()}, Start: at(0), TrackedMax: 100}
	one, all := New(cfg), New(cfg)
	now := at(1)
	for round := range 30 {
		events := make([]collector.Event, 700)
		for i := range events {
			e := benchEvent(collector.Seen, now)
			fill(&e, rng.IntN(5000))
			e.Flow.Active = now
			switch rng.IntN(3) {
			case 0:
				e.Kind = collector.Opened
			case 1:
				e.Kind = collector.Closed
				e.Flow.State, e.Flow.Reason = collector.Done, collector.RST
			}
			events[i] = e
			now = now.Add(time.Duration(rng.IntN(50)) * time.Millisecond)
		}
		if round%10 == 9 {
			now = now.Add(10 * time.Minute)
		}
		for i := range events {
			one.Apply(&events[i])
		}
		ApplyAll(events, all)
		if round%5 != 4 {
			continue
		}
		if err := same(one, all); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	if len(all.flows.table.buckets) < 200 {
		t.Errorf("the table never grew: %d buckets", len(all.flows.table.buckets))
	}
}

// Ledgers that take events together are as if each took them alone: those of one key, which share its look-ups, those of
// another, and those of local ports.
func TestApplyAllOfSeveralLedgers(t *testing.T) {
	t.Parallel()
	local := plain()
	local.Local = true
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 7))
		var one, all []*Ledger
		for _, cfg := range []Config{
			{Budgets: fuzzBudgets()},
			{Budgets: fuzzBudgets()[:1]},
			{Budgets: fuzzBudgets()[1:]},
			{Budgets: fuzzBudgets(), Key: [2]uint64{1, 2}},
			{Budgets: []*budget.Budget{local}, Key: [2]uint64{1, 2}},
		} {
			cfg.Start, cfg.TrackedMax = at(0), 5
			one, all = append(one, New(cfg)), append(all, New(cfg))
		}
		now := at(1)
		for range 20 {
			events := make([]collector.Event, rng.IntN(3*readAhead))
			for i := range events {
				events[i] = fuzzEvent(now, []byte{byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
				now = now.Add(time.Duration(rng.ExpFloat64() * float64(100*time.Millisecond)))
			}
			for _, l := range one {
				for i := range events {
					l.Apply(&events[i])
				}
			}
			ApplyAll(events, all...)
			if rng.IntN(4) == 0 {
				b := fuzzBudgets()[:1+rng.IntN(2)]
				one[0].Reconfigure(b)
				all[0].Reconfigure(b)
			}
		}
		for i := range one {
			if err := same(one[i], all[i]); err != nil {
				t.Errorf("seed %d: ledger %d: %v", seed, i, err)
			}
		}
	}
}
