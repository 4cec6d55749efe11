package agent

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/ledger"
)

const loopNetns = 7

// startLoop runs a loop in the bubble of t and returns the last snapshot published.
func startLoop(ctx context.Context, t *testing.T, budgets ...*budget.Budget) (*loop, func() *detector.Snapshot) {
	t.Helper()
	var last atomic.Pointer[detector.Snapshot]
	now := collector.Clock()
	l := newLoop(now, budgets, last.Store, func(budgets []*budget.Budget) *ledger.Ledger {
		return ledger.New(ledger.Config{Budgets: budgets, Start: now()})
	})
	ended := make(chan error, 1)
	go func() { ended <- l.run(ctx) }()
	t.Cleanup(func() {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("run returned %v", err)
		}
	})
	return l, func() *detector.Snapshot { synctest.Wait(); return last.Load() }
}

func resolved(t testing.TB, p budget.Params) *budget.Budget {
	t.Helper()
	b, err := budget.Resolve(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// dump is a complete dump that shows n flows to one destination.
func dump(at collector.Time, n int) []collector.Event {
	events := []collector.Event{{Kind: collector.Begin, At: at, Netns: loopNetns}}
	for i := range n {
		source := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(40000+i))
		events = append(events, collector.Event{Kind: collector.Seen, At: at, Netns: loopNetns, Flow: collector.Flow{
			Protocol: collector.TCP, State: collector.Established, ID: uint32(i + 1), Netns: loopNetns,
			Source: source, VIP: source, Destination: netip.MustParseAddrPort("203.0.113.7:443"), Active: at,
		}})
	}
	return append(events, collector.Event{Kind: collector.End, At: at, Netns: loopNetns})
}

func TestLoopServesBothLedgers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		nat := resolved(t, budget.Params{Name: "nat", Model: "azure-lb-2018", Nodes: 10})
		local := resolved(t, budget.Params{Name: "local", Model: "local", PortRange: collector.PortRange{First: 32768, Last: 60999}})
		l, last := startLoop(ctx, t, nat, local)

		if err := l.sink(feedNAT)(ctx, dump(l.now(), 5)); err != nil {
			t.Fatal(err)
		}
		if err := l.sink(feedLocal)(ctx, dump(l.now(), 3)); err != nil {
			t.Fatal(err)
		}
		if got := last(); len(got.Netns) != 0 {
			t.Errorf("a snapshot between two ticks: %+v", got.Netns)
		}
		time.Sleep(tick)
		got := last()
		if len(got.Budgets) != 2 || got.Budgets[0].Protocols[0].Live != 5 || got.Budgets[1].Protocols[0].Live != 3 {
			t.Errorf("budgets after a tick: %+v", got.Budgets)
		}
		if len(got.Netns) != 1 || !got.Netns[0].Exact || got.Netns[0].Flows != 5 {
			t.Errorf("namespaces after a tick: %+v", got.Netns)
		}
		at := got.At
		time.Sleep(3 * tick)
		if d := last().At.Sub(at); d != 3*tick {
			t.Errorf("snapshots are %v apart, want %v", d, 3*tick)
		}
	})
}

func TestLoopReconfigureKeepsFlows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		l, last := startLoop(ctx, t, resolved(t, budget.Params{Name: "nat", Model: "azure-lb-2018", Nodes: 50}))
		if err := l.sink(feedBoth)(ctx, dump(l.now(), 5)); err != nil {
			t.Fatal(err)
		}
		after := []*budget.Budget{
			resolved(t, budget.Params{Name: "nat", Model: "azure-lb-2018", Nodes: 51}),
			resolved(t, budget.Params{Name: "local", Model: "local", PortRange: collector.PortRange{First: 32768, Last: 60999}}),
		}
		if err := l.setBudgets(ctx, after); err != nil {
			t.Fatal(err)
		}
		got := last().Budgets
		if len(got) != 2 || got[0].Protocols[0].Terms.Ports != 512 || got[0].Protocols[0].Live != 5 {
			t.Errorf("budgets after a reload: %+v", got)
		}
		// The new ledger fills with the next dump.
		if err := l.sink(feedBoth)(ctx, dump(l.now(), 5)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(tick)
		if got := last().Budgets[1].Protocols[0].Live; got != 5 {
			t.Errorf("local ports live: %d, want 5", got)
		}
	})
}

// A source that waits for the loop is let go when the agent ends.
func TestLoopEndFreesSources(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := collector.Clock()
		l := newLoop(now, nil, func(*detector.Snapshot) {}, func([]*budget.Budget) *ledger.Ledger {
			return ledger.New(ledger.Config{})
		})
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 3)
		go func() { errs <- l.sink(feedNAT)(ctx, dump(now(), 1)) }()
		go func() { errs <- l.observeStalls(ctx, now(), nil, false) }()
		go func() { errs <- l.setBudgets(ctx, nil) }()
		synctest.Wait()
		cancel()
		for range 3 {
			if err := <-errs; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want that the context was cancelled", err)
			}
		}
	})
}

func TestLoopObservesStalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		l, last := startLoop(ctx, t, resolved(t, budget.Params{Name: "nat", Model: "azure-lb-2018", Nodes: 10}))
		stalled := []collector.Flow{{
			Protocol: collector.TCP, State: collector.Opening, Netns: loopNetns,
			Source: netip.MustParseAddrPort("10.0.0.1:4000"), Destination: netip.MustParseAddrPort("203.0.113.7:443"),
		}}
		if err := l.observeStalls(ctx, l.now(), stalled, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(tick)
		if got := last().Budgets[0].Protocols[0].Stalled; got != 1 {
			t.Errorf("stalled: %d, want 1", got)
		}
	})
}

func TestStallsWait(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		took   time.Duration
		budget float64
		want   time.Duration
	}{
		{"cheap", time.Millisecond, 0.02, 2 * time.Second},
		{"a hundred namespaces", 100 * time.Millisecond, 0.02, 20 * time.Second},
		{"very dear", 10 * time.Second, 0.02, time.Minute},
		{"no budget", time.Second, 0, 2 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := stallsWait(tt.took, tt.budget); got != tt.want {
				t.Errorf("wait %v, want %v", got, tt.want)
			}
		})
	}
}
