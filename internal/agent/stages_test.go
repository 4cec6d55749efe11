package agent

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/ledger"
	"github.com/snatwatch/snatwatch/internal/config"
)

// A flow takes a port of each stage, and leaves each when that one lets it go: the kernel gives the port of a closed flow
// to the next at once, Azure after four minutes.
func TestLoopCountsFlowsInEachStage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		address := netip.MustParseAddr("10.0.0.1")
		node := resolved(t, budget.Params{Name: "node", Model: "linux", Own: []netip.Addr{address}, EvictsTimeWait: true})
		cloud := resolved(t, budget.Params{Name: "cloud", Model: "azure-lb", Nodes: 10})
		l, last := startLoop(ctx, t, cloud, node)
		flows := func(n, closed int) []collector.Event {
			events := dump(l.now(), n)
			for i := range closed {
				f := &events[1+i].Flow
				f.State, f.Reason, f.Ended = collector.Done, collector.FIN, collector.Interval{From: l.now(), To: l.now()}
			}
			for i := range n / 2 { // the others are the machine's own
				f := &events[n-i].Flow
				f.Translated, f.Source = true, netip.AddrPortFrom(netip.MustParseAddr("172.17.0.2"), f.VIP.Port())
			}
			return events
		}
		held := func() map[string]int {
			time.Sleep(tick)
			got := map[string]int{}
			for _, b := range last().Budgets {
				got[b.Budget.Name] = b.Protocols[0].Held
			}
			return got
		}
		for _, step := range []struct {
			name   string
			events []collector.Event
			wait   time.Duration
			want   map[string]int
		}{
			{"open", flows(6, 0), 0, map[string]int{"node": 6, "cloud": 6}},
			{"two are closed", flows(6, 2), 0, map[string]int{"node": 4, "cloud": 6}},
			{"and gone", flows(6, 6)[3:], 0, map[string]int{"node": 0, "cloud": 6}},
			{"later", nil, 5 * time.Minute, map[string]int{"node": 0, "cloud": 0}},
		} {
			if err := l.sink(feedNAT)(ctx, step.events); err != nil {
				t.Fatal(err)
			}
			time.Sleep(step.wait)
			if diff := cmp.Diff(step.want, held()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", step.name, diff)
			}
		}
	})
}

// A budget that flows go unanswered under is not contradicted while the NAT behind it is used up, or was lately.
func TestLoopExcusesOtherStages(t *testing.T) {
	t.Parallel()
	node := resolved(t, budget.Params{Name: "node", Model: "linux"})
	inside := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	cloud := resolved(t, budget.Params{Name: "cloud", Model: "azure-lb", Nodes: 10, Exclude: inside})
	apart := resolved(t, budget.Params{Name: "apart", Model: "linux", Include: inside})
	l := newLoop(collector.Clock(), nil, func(*detector.Snapshot) {}, nothing)
	snapshot := func(at collector.Time, b *budget.Budget, held, low int) *detector.Snapshot {
		return &detector.Snapshot{At: at, Budgets: []detector.BudgetSnapshot{
			{Budget: b, Contradicted: true, Contradiction: "the budget is smaller"},
			{Budget: cloud, Protocols: []detector.AccountSnapshot{{
				Terms: cloud.TCP, Busiest: held, Spaces: []detector.SpaceSnapshot{{Class: budget.LowClass, Held: low}},
			}}},
		}}
	}
	start := collector.Time(time.Hour)
	for _, step := range []struct {
		name   string
		budget *budget.Budget
		after  time.Duration
		held   int
		low    int // of them from source ports below 512, which are fewer
		want   bool
	}{
		{"ports are left behind it", node, 0, 1023, 0, true},
		{"none is left", node, time.Minute, 1024, 0, false},
		{"where it does not lead", apart, time.Minute, 1024, 0, true},
		{"none was left lately", node, 30 * time.Minute, 100, 0, false},
		{"that was long ago", node, 32 * time.Minute, 100, 0, true},
		{"low ports are left", node, 33 * time.Minute, 510, 510, true},
		{"no low port is left", node, 34 * time.Minute, 511, 511, false},
	} {
		s := snapshot(start.Add(step.after), step.budget, step.held, step.low)
		l.excuse(s)
		if got := s.Budgets[0].Contradicted; got != step.want || (s.Budgets[0].Contradiction != "") != step.want {
			t.Errorf("%s: contradicted %v, want %v", step.name, got, step.want)
		}
	}
}

// The ledgers of all stages have one secret key, so that the key of a flow is made once for all; another agent has another.
func TestLedgersShareTheirKey(t *testing.T) {
	t.Parallel()
	key := func(l *ledger.Ledger) string {
		_, after, _ := strings.Cut(string(l.AppendHandover(nil)), "\n")
		return after[:16]
	}
	stages := newLedger(&config.Config{}, collector.Clock(), nil)
	if a, b := key(stages(nil)), key(stages(nil)); a != b {
		t.Errorf("keys %x and %x", a, b)
	}
	if a, b := key(stages(nil)), key(newLedger(&config.Config{}, collector.Clock(), nil)(nil)); a == b {
		t.Errorf("two agents have the key %x", a)
	}
}

func nothing(budgets []*budget.Budget) *ledger.Ledger {
	return ledger.New(ledger.Config{Budgets: budgets})
}
