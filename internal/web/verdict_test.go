package web

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

func TestVerdict(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*detector.SpaceSnapshot)
		level  level
		want   string
	}{
		{"predicted", func(*detector.SpaceSnapshot) {}, levelCrit, "203.0.113.7:443 tcp: 967 of 1024 ports held, exhausted in about 2 min"},
		{"exhausted", func(s *detector.SpaceSnapshot) { s.Held = 1024 }, levelCrit, "Exhausted: 203.0.113.7:443 tcp: 1024 of 1024 ports held"},
		{"filling", func(s *detector.SpaceSnapshot) { s.Held, s.Forecast = 800, nil }, levelWarn, "203.0.113.7:443 tcp: 800 of 1024 ports held"},
		{"calm", func(s *detector.SpaceSnapshot) { s.Held, s.Forecast = 8, nil }, levelOK, "No port space is near its budget"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			st := busyState()
			tt.change(&st.View.Snapshot.Budgets[1].Protocols[0].Spaces[0])
			lv, text := verdict(st.View.Snapshot)
			if lv != tt.level || text != tt.want {
				t.Errorf("verdict = %s %q, want %s %q", lv, text, tt.level, tt.want)
			}
		})
	}
}

// Below the verdict stands who holds the ports, and why so many.
func TestBecause(t *testing.T) {
	t.Parallel()
	pod := detector.OwnerHeld{Owner: collector.Owner{Kind: collector.KindPod, Name: "shop/cart-1"}, Held: 900}
	for _, tt := range []struct {
		name   string
		change func(*detector.SpaceSnapshot)
		want   string
	}{
		{
			"all is known", func(s *detector.SpaceSnapshot) { s.Owners, s.Stalled = []detector.OwnerHeld{pod}, 1 },
			"shop/cart-1 (pod) holds 900 of them, 93 %. 31.2 flows a second open, and each holds its port for 31 s. 1 flow waits for an answer.",
		},
		{"no flow has ended", func(s *detector.SpaceSnapshot) { s.MeanHold = 0 }, ""},
		{"calm", func(s *detector.SpaceSnapshot) { s.Held, s.Forecast = 8, nil }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			st := busyState()
			s := &st.View.Snapshot.Budgets[1].Protocols[0].Spaces[0]
			s.Owners, s.Stalled = nil, 0
			tt.change(s)
			if got := newTestServer(t, st).page.data(st, time.Second).Because; got != tt.want {
				t.Errorf("because %q, want %q", got, tt.want)
			}
		})
	}
}

// Behind a shared gateway a node sees its own ports only.
func TestVerdictOfSharedBudget(t *testing.T) {
	t.Parallel()
	st := calmState()
	st.View.Snapshot.Budgets[0].Budget.Scope = budget.ScopeShared
	lv, text := verdict(st.View.Snapshot)
	if want := "No port space is near its budget, as far as this node alone can fill it"; lv != levelOK || text != want {
		t.Errorf("verdict = %s %q, want %s %q", lv, text, levelOK, want)
	}
}

// The advice is about the port space that the verdict names, not about the fullest.
func TestAdviceFollowsVerdict(t *testing.T) {
	t.Parallel()
	st := calmState()
	b := &st.View.Snapshot.Budgets[0]
	p := &b.Protocols[0]
	calm := &detector.Forecast{TimeToExhaustion: math.Inf(1)}
	soon := &detector.Forecast{Probability: [4]float64{0, 0.7, 0.99, 1}, TimeToExhaustion: 180}
	p.Spaces = []detector.SpaceSnapshot{
		{Destination: "198.51.100.1:443", Held: p.Terms.Effective * 8 / 10, OpensPerSecond: 0.4, MeanHold: time.Minute, Forecast: calm},
		{Destination: "203.0.113.77:443", Held: p.Terms.Effective * 3 / 10, OpensPerSecond: 40, MeanHold: time.Minute, Forecast: soon},
	}
	lv, text := verdict(st.View.Snapshot)
	if lv != levelCrit || !strings.HasPrefix(text, "203.0.113.77:443 tcp") {
		t.Errorf("verdict = %s %q", lv, text)
	}
	got := strings.Join(advice(b), "\n")
	if !strings.Contains(got, "203.0.113.77:443") || !strings.Contains(got, "At 40 opens/s") || strings.Contains(got, "198.51.100.1:443") {
		t.Errorf("advice is about another port space than the verdict %q:\n%s", text, got)
	}
}

// What cannot be trusted is never green, and says so beside the verdict.
func TestDoubts(t *testing.T) {
	t.Parallel()
	none := func(*State) {}
	for _, tt := range []struct {
		name   string
		change func(*State)
		age    time.Duration
		level  level
		want   []string
	}{
		{"calm", none, time.Second, levelOK, nil},
		{"old", none, 3 * time.Minute, levelWarn, []string{"These numbers are 3 min old: the agent hangs or is starved of CPU."}},
		{"inexact", func(st *State) { st.View.Snapshot.Netns[0].Exact = false }, time.Second, levelWarn, []string{"The ledger is not exact: more or fewer ports may be held."}},
		{"contradicted", func(st *State) { st.View.Snapshot.Budgets[0].Contradicted = true }, time.Second, levelWarn, []string{"Budget web cannot be right, as is said below."}},
		{"a shared gateway answers", func(st *State) { st.View.Snapshot.Budgets[0].Budget.Scope = budget.ScopeShared }, time.Second, levelOK, nil},
		{"a shared gateway may be full", func(st *State) {
			b := &st.View.Snapshot.Budgets[0]
			b.Budget.Scope, b.Protocols[0].Stalled = budget.ScopeShared, 900
		}, time.Second, levelWarn, []string{"900 tcp flows get no answer: other nodes may have filled the gateway of budget web, which is not seen here."}},
		{"one flow at a shared gateway", func(st *State) {
			b := &st.View.Snapshot.Budgets[0]
			b.Budget.Scope, b.Protocols[0].Stalled = budget.ScopeShared, 1
		}, time.Second, levelWarn, []string{"1 tcp flow gets no answer: other nodes may have filled the gateway of budget web, which is not seen here."}},
		{"no budget", func(st *State) { st.View.Snapshot.Budgets = nil }, time.Second, levelWarn, nil},
		{"before the first dump", func(st *State) { st.Ready = false }, time.Second, levelWarn, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			st := calmState()
			tt.change(st)
			got := newTestServer(t, st).page.data(st, tt.age)
			if diff := cmp.Diff(tt.want, got.Doubts); diff != "" || got.Level != tt.level {
				t.Errorf("level %s, want %s; doubts (-want +got):\n%s", got.Level, tt.level, diff)
			}
		})
	}
}

// A conntrack table that fills, and an allowance that is used up, stand beside the verdict: ports may be left, and no
// connection opens.
func TestOtherLimitsAreBesideTheVerdict(t *testing.T) {
	t.Parallel()
	tracked := func(entries uint32, seconds float64) metrics.Kernel {
		return metrics.Kernel{Counters: collector.Counters{Entries: entries}, EntriesMax: 100, SecondsToFull: seconds, Forecast: true}
	}
	for _, tt := range []struct {
		name   string
		change func(*metrics.View)
		level  level
		want   []string
	}{
		{"none near", func(v *metrics.View) {
			v.Kernel = []metrics.Kernel{tracked(90, math.Inf(1))}
		}, levelOK, nil},
		{"a table that fills and has room", func(v *metrics.View) {
			v.Kernel = []metrics.Kernel{tracked(30, 240)}
		}, levelOK, nil},
		{"a table that fills", func(v *metrics.View) {
			v.Kernel = []metrics.Kernel{tracked(90, 240)}
		}, levelWarn, []string{"The conntrack table is full in 4 min at this pace: then new connections fail, whatever ports are left."}},
		{"a full table", func(v *metrics.View) {
			v.Kernel = []metrics.Kernel{tracked(100, 0)}
		}, levelCrit, []string{"The conntrack table is full: new connections fail, whatever ports are left."}},
		{"two full tables", func(v *metrics.View) {
			v.Kernel = []metrics.Kernel{tracked(100, 0), tracked(100, 0)}
			v.Kernel[0].Netns, v.Kernel[1].Netns = 4026531840, 4026532999
		}, levelCrit, []string{
			"The conntrack table of network namespace 4026531840 is full: new connections fail, whatever ports are left.",
			"The conntrack table of network namespace 4026532999 is full: new connections fail, whatever ports are left.",
		}},
		{"a table that stays a little below its limit", func(v *metrics.View) {
			v.Kernel = []metrics.Kernel{tracked(99, math.Inf(1))}
		}, levelCrit, []string{"The conntrack table is full: new connections fail, whatever ports are left."}},
		{"an allowance", func(v *metrics.View) {
			v.Allowances = []metrics.Allowance{{Interface: "ens5", Known: true, Forecast: true}}
		}, levelCrit, []string{"EC2's connection tracking of ens5 is used up: new connections fail, whatever ports are left."}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			st := calmState()
			tt.change(st.View)
			got := newTestServer(t, st).page.data(st, time.Second)
			if diff := cmp.Diff(tt.want, got.Doubts); diff != "" || got.Level != tt.level {
				t.Errorf("level %s, want %s; beside the verdict (-want +got):\n%s", got.Level, tt.level, diff)
			}
		})
	}
}
