package metrics_test

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/golden"
)

const (
	host = 4026531840 // inode of the namespace in which flows leave
	pod  = 4026532100
)

// whole returns a view that has something to say for every metric of the table.
func whole() *metrics.View {
	web := &budget.Budget{
		Name: "web", Model: "azure-lb-2018", Pool: "web", Gateway: "lb-1",
		Assumed: []string{"udp cool-down", "idle"}, VIPCount: 1,
		Nodes: 48, NodesToNextTier: 2, NextTierPorts: 512,
	}
	hist := detector.Histogram{
		Bounds: []float64{0.1, 1, 10}, Counts: []uint64{50, 30, 15, 5}, Sum: 180.5,
	}
	return &metrics.View{
		Age: 1500 * time.Millisecond,
		At:  time.UnixMilli(1_767_225_600_500),
		Snapshot: &detector.Snapshot{
			At: collector.Time(1_767_225_600_500_000_000),
			Netns: []detector.NetnsSnapshot{
				{Netns: host, Exact: true, EventsLost: 2, Resyncs: 2, Flows: 1210, OtherProtocols: 3},
				{Netns: pod, Exact: true, Flows: 5},
				{Netns: pod + 1, Exact: false, Flows: 6, EventsLost: 1},
			},
			Budgets: []detector.BudgetSnapshot{{
				Budget: web,
				Protocols: []detector.AccountSnapshot{{
					Protocol: collector.TCP, Terms: budget.Terms{Ports: 1024, Effective: 1024, Total: 50_000},
					Held: 1200, Live: 900, Cooling: 300, Busiest: 1000, Opening: 7, Stalled: 4,
					Opened: 100, Closed: [collector.NumReasons]uint64{1, 70, 20, 4, 3, 2},
					Lifetime: hist, Hold: hist, Unanswered: 4, Refused: 20, NoPorts: 9,
					Tracked: 3, Folded: 12, FoldedMax: 2,
					Spaces: []detector.SpaceSnapshot{
						{
							Destination: "203.0.113.7:443", Held: 1000, Live: 800, Cooling: 200,
							Forecast: &detector.Forecast{
								Mean:             [4]float64{1010, 1100, 1300, 1400},
								Variance:         [4]float64{90, 300, 900, 1600},
								Probability:      [4]float64{0.07, 0.9, 0.99, 0.99},
								TimeToExhaustion: 125.5, Urgency: 0.875,
							},
							Owners: []detector.OwnerHeld{
								{Number: 2, Owner: api(), Held: 612},
								{Number: 3, Owner: collector.Owner{Kind: collector.KindUnit, Name: "nginx.service"}, Held: 300},
								{Number: collector.OwnerUnknown, Owner: collector.Owner{Kind: collector.KindUnknown, Name: "unknown"}, Held: 50},
								{Number: collector.OwnerOther, Owner: collector.Owner{Kind: collector.KindOther, Name: "other"}, Held: 38},
							},
						},
						{
							VIP: "198.51.100.1", Destination: "[2001:db8::7]:443", Held: 150, Live: 80, Cooling: 70,
							Forecast: &detector.Forecast{
								Variance:         [4]float64{math.NaN(), math.Inf(1), 1, 1},
								TimeToExhaustion: math.Inf(1),
							},
						},
					},
					Other: detector.SpaceSnapshot{Held: 50, Live: 20, Cooling: 30},
					Owners: []detector.OwnerTotals{
						{Number: 2, Owner: checkout(), Opened: 60, MeanLifetime: 31 * time.Second},
						{Number: 3, Owner: collector.Owner{Kind: collector.KindUnit, Name: "nginx.service"}, Opened: 20},
					},
					Forecast: detector.Totals{
						Spaces:      3,
						Mean:        [4]float64{1020, 1115, 1320, 1425},
						Variance:    [4]float64{math.NaN(), math.Inf(1), 901, 1601},
						Probability: [4]float64{0.07, 0.9, 0.99, 0.99},
					},
				}},
				Contradicted: true,
				Brier:        [4]float64{0.01, 0.02, math.NaN(), math.NaN()},
			}},
		},
		Outer: []uint64{host},
		Sources: []metrics.Source{
			{Netns: host, Name: "conntrack", Strategy: "poll", DecodeErrors: 1, Dump: 120 * time.Millisecond},
			{Netns: pod, Name: "sockets", DecodeErrors: 1, Dump: 2 * time.Millisecond},
			{Netns: pod + 1, Name: "sockets", DecodeErrors: 2, Dump: time.Millisecond},
		},
		Allowances: []metrics.Allowance{{Interface: "eth0", Available: 136_812, Exceeded: 7, Known: true, SecondsToExhaustion: 1200, Forecast: true}},
		Kernel: []metrics.Kernel{{
			Counters:   collector.Counters{Netns: host, Entries: 1300, Found: 8000, InsertFailed: 40, Drop: 1, EarlyDrop: 2},
			EntriesMax: 262144, Counted: true, SecondsToFull: math.Inf(1), Forecast: true,
		}},
		Causes:    every(metrics.CauseUnanswered, metrics.CauseRefused, metrics.CausePorts),
		Stalled:   true,
		PoolStale: map[string]bool{"web": true},
		NATRules:  &metrics.NATRules{Read: 4, NotRead: 1, Shadowed: 2},
		Measures: func(*detector.BudgetSnapshot) []metrics.Measure {
			return []metrics.Measure{{Name: "another VIP", Ports: 1024}}
		},
		Reload: metrics.Reload{OK: true, At: time.Unix(1_767_225_500, 0)},
		Build:  metrics.Build{Version: "1.2.3", Revision: "abcdef0", GoVersion: "go1.26"},
	}
}

// shared is whole with a budget that nodes share beside it. A thousandth of its ceiling is 55 ports.
func shared() *metrics.View {
	v := whole()
	unknown := math.NaN()
	v.Snapshot.Budgets = append(v.Snapshot.Budgets, detector.BudgetSnapshot{
		Budget: &budget.Budget{Name: "nat", Model: "aws-nat-gateway", Scope: budget.ScopeShared, Gateway: "nat-1"},
		Protocols: []detector.AccountSnapshot{{
			Protocol: collector.UDP, Terms: budget.Terms{Ports: 55_000, Effective: 55_000}, Held: 60, Live: 60, Busiest: 60,
			Spaces: []detector.SpaceSnapshot{{
				Destination: "203.0.113.9:53", Held: 60, Live: 60,
				Forecast: &detector.Forecast{Mean: [4]float64{62, 70.5, 40, 40}, TimeToExhaustion: math.Inf(1)},
			}},
		}},
		Brier: [4]float64{unknown, unknown, unknown, unknown},
	})
	return v
}

// api is a container of checkout.
func api() collector.Owner {
	w := checkout()
	w.Container = "api"
	return w
}

func checkout() collector.Owner {
	return collector.Owner{Kind: collector.KindPod, Name: "payments/checkout-7d9f", Workload: "checkout", WorkloadKind: "Deployment"}
}

func gather(t testing.TB, view *metrics.View) []*dto.MetricFamily {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(metrics.NewCollector(func() *metrics.View { return view }))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func text(t testing.TB, families []*dto.MetricFamily) string {
	t.Helper()
	var b bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	t.Parallel()
	golden.Compare(t, "testdata/metrics.prom", text(t, gather(t, shared())))
}

func TestEmittedAsInTheTable(t *testing.T) {
	t.Parallel()
	types := map[dto.MetricType]metrics.Type{
		dto.MetricType_GAUGE:     metrics.Gauge,
		dto.MetricType_COUNTER:   metrics.Counter,
		dto.MetricType_HISTOGRAM: metrics.Histogram,
	}
	type row struct {
		Type   metrics.Type
		Labels []string
	}
	want, got := map[metrics.Name]row{}, map[metrics.Name]row{}
	for _, m := range metrics.Metrics() {
		r := row{Type: m.Type}
		for _, l := range m.Labels {
			r.Labels = append(r.Labels, string(l))
		}
		slices.Sort(r.Labels)
		want[m.Name] = r
	}
	v := shared()
	p := &v.Snapshot.Budgets[0].Protocols[0]
	p.Spaces = append(p.Spaces, detector.SpaceSnapshot{
		Destination: "203.0.113.9:443", VIP: "ports 1-511", Class: budget.LowClass, Held: 3,
	})
	for _, f := range gather(t, v) {
		r := row{Type: types[f.GetType()]}
		for _, l := range f.GetMetric()[0].GetLabel() {
			r.Labels = append(r.Labels, l.GetName())
		}
		got[metrics.Name(f.GetName())] = r
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table and scrape (-table +scrape):\n%s", diff)
	}
}

func TestLint(t *testing.T) {
	t.Parallel()
	problems, err := testutil.CollectAndLint(metrics.NewCollector(whole))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestWhatIsNotKnownIsAbsent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		change  func(*metrics.View)
		absent  []metrics.Name
		present []metrics.Name
	}{
		{
			name:    "no snapshot yet",
			change:  func(v *metrics.View) { v.Snapshot = nil },
			absent:  []metrics.Name{metrics.PortsHeld, metrics.WarmingUp, metrics.LedgerExact, metrics.SnapshotTimestamp, metrics.SnapshotAge},
			present: []metrics.Name{metrics.SourceInfo, metrics.AgentBuildInfo, metrics.ConfigReloadSuccess},
		},
		{
			name:    "no sensor for failures",
			change:  func(v *metrics.View) { v.Causes, v.Stalled = metrics.Causes{}, false },
			absent:  []metrics.Name{metrics.OpenFailures, metrics.OpeningStalled, metrics.StalledAtCeiling},
			present: []metrics.Name{metrics.FlowsOpened},
		},
		{
			name:    "a driver that does not tell what is available",
			change:  func(v *metrics.View) { v.Allowances[0].Known, v.Allowances[0].Forecast = false, false },
			absent:  []metrics.Name{metrics.AllowanceAvailable, metrics.AllowanceTimeToExhaustion},
			present: []metrics.Name{metrics.AllowanceExceeded},
		},
		{
			name:    "kernel statistics not readable",
			change:  func(v *metrics.View) { v.Kernel[0].Counted = false },
			absent:  []metrics.Name{metrics.ConntrackDrop, metrics.ConntrackEarlyDrop, metrics.ConntrackFound, metrics.ConntrackInsertFailed},
			present: []metrics.Name{metrics.ConntrackEntries, metrics.ConntrackEntriesLimit},
		},
		{
			name: "model without a table",
			change: func(v *metrics.View) {
				v.Snapshot.Budgets[0].Budget = &budget.Budget{Name: "nat", Model: "linux"}
			},
			absent:  []metrics.Name{metrics.PoolNodes, metrics.PoolNodesToNextTier, metrics.NextTierPorts, metrics.VIPs, metrics.PoolStale},
			present: []metrics.Name{metrics.BudgetInfo, metrics.BudgetPorts},
		},
		{
			name: "no dump and no probability due yet",
			change: func(v *metrics.View) {
				v.Sources = v.Sources[:1]
				v.Sources[0].Dump = 0
				v.Snapshot.Budgets[0].Brier = [4]float64{math.NaN(), math.NaN(), math.NaN(), math.NaN()}
			},
			absent:  []metrics.Name{metrics.DumpSeconds, metrics.ForecastBrierScore},
			present: []metrics.Name{metrics.SourceInfo},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := whole()
			tt.change(v)
			got := map[metrics.Name]bool{}
			for _, f := range gather(t, v) {
				got[metrics.Name(f.GetName())] = true
			}
			for _, n := range tt.absent {
				if got[n] {
					t.Errorf("%s is there", n)
				}
			}
			for _, n := range tt.present {
				if !got[n] {
					t.Errorf("%s is missing", n)
				}
			}
		})
	}
}

// every says that the causes have a sensor whoever gives out the ports.
func every(causes ...string) metrics.Causes {
	return metrics.Causes{Further: causes, Here: causes, Local: causes}
}

// One sensor that works does not make the others read 0.
func TestCausesAreSeparate(t *testing.T) {
	t.Parallel()
	v := whole()
	v.Causes = every(metrics.CauseRefused)
	got := text(t, gather(t, v))
	if !strings.Contains(got, `cause="refused"`) || strings.Contains(got, `cause="ports"`) || strings.Contains(got, `cause="unanswered"`) {
		t.Errorf("only cause refused should be there:\n%s", got)
	}
}

// The ledger exports at most 50 port spaces per budget and protocol whatever it
// tracks; the number of series follows from that alone.
func TestCardinalityIsBounded(t *testing.T) {
	t.Parallel()
	series := func(v *metrics.View) int {
		n := 0
		for _, f := range gather(t, v) {
			n += len(f.GetMetric())
		}
		return n
	}
	small := series(crowded(50, 10_000, 50))
	large := series(crowded(50, 100_000, 90_000))
	if small != large {
		t.Errorf("%d series with 10 000 destinations, %d with 100 000", small, large)
	}
	if large > 1000 {
		t.Errorf("%d series for one budget and protocol, want at most 1000", large)
	}
}

// crowded returns a view of one budget whose ledger tracks so many port spaces
// and exports the first of them.
func crowded(exported, tracked, folded int) *metrics.View {
	v := whole()
	p := &v.Snapshot.Budgets[0].Protocols[0]
	p.Tracked, p.Folded = tracked, folded
	p.Spaces = nil
	for i := range exported {
		p.Spaces = append(p.Spaces, detector.SpaceSnapshot{
			Destination: fmt.Sprintf("203.0.%d.%d:443", i/250, i%250), Held: i, Live: i,
			Forecast: &detector.Forecast{},
		})
	}
	return v
}

// What alerts read is there for few port spaces: those likely to be exhausted, the one that holds most.
func TestAlertsReadLittle(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		probability [4]float64
		held        int // of 1200 in all
		want        map[metrics.Name]int
	}{
		{"calm", [4]float64{0, 0, 0.01, 0.0499}, 600, map[metrics.Name]int{}},
		{"likely within an hour", [4]float64{0, 0.01, 0.0499, 0.05}, 0, map[metrics.Name]int{metrics.LikelyExhaustion: 1}},
		{"likely soon", [4]float64{0.05, 0.9, 1, 1}, 601, map[metrics.Name]int{metrics.LikelyExhaustion: 4, metrics.DominantPortsHeld: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := whole()
			s := &v.Snapshot.Budgets[0].Protocols[0].Spaces[0]
			s.Held, s.Forecast.Probability = tt.held, tt.probability
			got := map[metrics.Name]int{}
			for _, f := range gather(t, v) {
				if n := metrics.Name(f.GetName()); n == metrics.LikelyExhaustion || n == metrics.DominantPortsHeld {
					got[n] = len(f.GetMetric())
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("series (-want +got):\n%s", diff)
			}
		})
	}
}

// A port space of low source ports has fewer ports than its budget says, and tells its fill of its own ceiling; all
// others tell what they hold, and the budget its ceiling.
func TestLowPortsTellTheirFill(t *testing.T) {
	t.Parallel()
	nat, err := budget.Resolve(budget.Params{Name: "nat", Model: "linux", VIPCount: 2})
	if err != nil {
		t.Fatal(err)
	}
	v := whole()
	p := &v.Snapshot.Budgets[0].Protocols[0]
	p.Terms = nat.TCP
	low, reserved := nat.TCP.OfClass(budget.LowClass), nat.TCP.OfClass(budget.ReservedClass)
	p.Spaces = []detector.SpaceSnapshot{
		{Destination: "203.0.113.7:443", Held: 3000},
		{Destination: "203.0.113.7:443", VIP: "ports 1-511", Class: budget.LowClass, Held: low.Effective},
		{Destination: "203.0.113.8:443", VIP: "ports 600-1023", Class: budget.ReservedClass, Held: reserved.Effective / 2},
	}
	got := map[string]float64{}
	for _, f := range gather(t, v) {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == string(metrics.LowPortsFill) && l.GetName() == string(metrics.LabelVIP) {
					got[l.GetValue()] = m.GetGauge().GetValue()
				}
			}
		}
	}
	want := map[string]float64{
		"ports 1-511":    1,
		"ports 600-1023": float64(reserved.Effective/2) / float64(reserved.Effective),
	}
	if diff := cmp.Diff(want, got); diff != "" || low.Effective > 1022 || reserved.Effective > 848 {
		t.Errorf("fills of %d and %d ports (-want +got):\n%s", low.Effective, reserved.Effective, diff)
	}
}

// What a port space of a shared budget holds above a small share of the ceiling is told apart, and nothing where it holds less.
func TestExcessIsAboveASmallShare(t *testing.T) {
	t.Parallel()
	behind := func(nodes int) *budget.Budget {
		return &budget.Budget{Name: "nat", Scope: budget.ScopeShared, Gateway: "nat-1", Nodes: nodes}
	}
	for _, tt := range []struct {
		name   string
		budget *budget.Budget
		held   int
		mean   [4]float64
		want   map[string]float64 // by horizon; "" is what is held now
	}{
		{"a node's own", &budget.Budget{Name: "lb"}, 1000, [4]float64{1000, 1000, 1000, 1000}, map[string]float64{}},
		{"below", behind(0), 55, [4]float64{55, 54.9, 0, 0}, map[string]float64{}},
		{"above", behind(0), 56, [4]float64{55.5, 155, 1055, 30}, map[string]float64{"": 1, "1m": 0.5, "5m": 100, "15m": 1000}},
		{"few nodes", behind(5), 2751, [4]float64{2750, 3750, 0, 0}, map[string]float64{"": 1, "5m": 1000}},
		{"many nodes", behind(1000), 14, [4]float64{13, 113, 0, 0}, map[string]float64{"": 1, "5m": 100}},
		{"more nodes than ports", behind(100_000), 2, [4]float64{1, 3, 0, 0}, map[string]float64{"": 1, "5m": 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := shared()
			v.Snapshot.Budgets = v.Snapshot.Budgets[1:]
			b := &v.Snapshot.Budgets[0]
			b.Budget = tt.budget
			b.Protocols[0].Spaces[0].Held, b.Protocols[0].Spaces[0].Forecast.Mean = tt.held, tt.mean
			got := map[string]float64{}
			for _, f := range gather(t, v) {
				if n := metrics.Name(f.GetName()); n != metrics.ExcessPortsHeld && n != metrics.ExcessForecastPortsMean {
					continue
				}
				for _, m := range f.GetMetric() {
					horizon := ""
					for _, l := range m.GetLabel() {
						if l.GetName() == string(metrics.LabelHorizon) {
							horizon = l.GetValue()
						}
					}
					got[horizon] = m.GetGauge().GetValue()
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("excess (-want +got):\n%s", diff)
			}
		})
	}
}

// What nodes share is told by the series themselves; a budget of the node's own carries no gateway there.
func TestSharedSpacesCarryTheirGateway(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		budget budget.Budget
		want   string
	}{
		{"a node's own", budget.Budget{Name: "lb", Gateway: "lb-1", Pool: "web"}, ""},
		{"named", budget.Budget{Name: "nat", Scope: budget.ScopeShared, Gateway: "nat-1", Pool: "web"}, "nat-1"},
		{"only the pool is", budget.Budget{Name: "nat", Scope: budget.ScopeShared, Pool: "web"}, "web"},
		{"neither", budget.Budget{Name: "nat", Scope: budget.ScopeShared}, "nat"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := whole()
			v.Snapshot.Budgets[0].Budget = &tt.budget
			seen := 0
			for _, f := range gather(t, v) {
				for _, m := range f.GetMetric() {
					for _, l := range m.GetLabel() {
						if l.GetName() != string(metrics.LabelGateway) || f.GetName() == string(metrics.BudgetInfo) && tt.want == "" {
							continue
						}
						seen++
						if l.GetValue() != tt.want {
							t.Errorf("%s has gateway %q, want %q", f.GetName(), l.GetValue(), tt.want)
						}
					}
				}
			}
			if seen == 0 {
				t.Error("no series has a gateway")
			}
		})
	}
}

// Of sockets that stall, those count towards a full port space that go there, and none where nobody knows the VIP.
func TestStallsAtTheCeiling(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*budget.Budget, *detector.AccountSnapshot)
		want   string
	}{
		{"one space is full, both stall", func(_ *budget.Budget, p *detector.AccountSnapshot) {
			p.Spaces[0].Held, p.Spaces[0].Stalled, p.Spaces[1].Stalled = 1024, 3, 5
		}, "3"},
		{"the full one does not stall", func(_ *budget.Budget, p *detector.AccountSnapshot) {
			p.Spaces[0].Held, p.Spaces[1].Stalled = 1024, 5
		}, "0"},
		{"no effective ceiling is known: the budget is it", func(_ *budget.Budget, p *detector.AccountSnapshot) {
			p.Terms.Effective, p.Spaces[0].Held, p.Spaces[0].Stalled = 0, 1023, 3
		}, "0"},
		{"a space for each VIP", func(b *budget.Budget, p *detector.AccountSnapshot) {
			b.SpacePerVIP, p.Spaces[0].Held, p.Spaces[0].Stalled = true, 1024, 3
			p.Spaces[0].VIP, p.Spaces[1].VIP = "198.51.100.1", "198.51.100.2"
		}, ""},
		{"a space for each VIP, and one VIP", func(b *budget.Budget, p *detector.AccountSnapshot) {
			b.SpacePerVIP, p.Spaces[0].Held, p.Spaces[0].Stalled = true, 1024, 3
			for i := range p.Spaces {
				p.Spaces[i].VIP = "198.51.100.1"
			}
		}, "3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := whole()
			tt.change(v.Snapshot.Budgets[0].Budget, &v.Snapshot.Budgets[0].Protocols[0])
			_, after, _ := strings.Cut(text(t, gather(t, v)), "\n"+string(metrics.StalledAtCeiling)+"{")
			_, value, _ := strings.Cut(after, "} ")
			value, _, _ = strings.Cut(value, "\n")
			if value != tt.want {
				t.Errorf("%s is %q, want %q", metrics.StalledAtCeiling, value, tt.want)
			}
		})
	}
}

// Boards read who holds the most of the port space that runs out first: a name, where one is known.
func TestSoonestOwner(t *testing.T) {
	t.Parallel()
	held := func(kind collector.OwnerKind, name string, ports int) detector.OwnerHeld {
		return detector.OwnerHeld{Owner: collector.Owner{Kind: kind, Name: name}, Held: ports}
	}
	for _, tt := range []struct {
		name   string
		owners []detector.OwnerHeld
		want   string
	}{
		{"the largest that is known", []detector.OwnerHeld{
			held(collector.KindUnit, "nginx.service", 20), held(collector.KindPod, "shop/cart", 30), held(collector.KindUnknown, "unknown", 90), held(collector.KindOther, "other", 80),
		}, `owner="shop/cart",owner_container="",owner_kind="pod",protocol="tcp",vip=""} 30`},
		{"none is known", []detector.OwnerHeld{held(collector.KindUnknown, "unknown", 90)}, ""},
		{"none is looked for", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := whole()
			v.Snapshot.Budgets[0].Protocols[0].Spaces = []detector.SpaceSnapshot{
				{Destination: "never", Held: 900, Forecast: &detector.Forecast{TimeToExhaustion: math.Inf(1)}, Owners: []detector.OwnerHeld{held(collector.KindPod, "a/b", 900)}},
				{Destination: "soon", Held: 100, Forecast: &detector.Forecast{TimeToExhaustion: 40}, Owners: tt.owners},
			}
			got := regexp.MustCompile(`snat_soonest_owner_ports_held\{.*`).FindString(text(t, gather(t, v)))
			if (got == "") != (tt.want == "") || !strings.HasSuffix(got, tt.want) {
				t.Errorf("%q, want %q at its end", got, tt.want)
			}
		})
	}
}

// Boards read one time to exhaustion of each budget and protocol: the soonest, and the fullest space's where none
// runs out.
func TestSoonestExhaustion(t *testing.T) {
	t.Parallel()
	ahead := func(to string, held int, left float64) detector.SpaceSnapshot {
		return detector.SpaceSnapshot{Destination: to, Held: held, Forecast: &detector.Forecast{TimeToExhaustion: left}}
	}
	for _, tt := range []struct {
		name   string
		spaces []detector.SpaceSnapshot
		want   string
	}{
		{"the soonest", []detector.SpaceSnapshot{ahead("full", 900, 500), ahead("soon", 100, 40), ahead("never", 950, math.Inf(1))}, `destination="soon",gateway="",protocol="tcp",vip=""} 40`},
		{"none runs out", []detector.SpaceSnapshot{ahead("a", 10, math.Inf(1)), ahead("b", 30, math.Inf(1)), ahead("c", 20, math.Inf(1))}, `destination="b",gateway="",protocol="tcp",vip=""} +Inf`},
		{"without a forecast", []detector.SpaceSnapshot{{Destination: "a", Held: 10}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := whole()
			v.Snapshot.Budgets[0].Protocols[0].Spaces = tt.spaces
			got := regexp.MustCompile(`snat_soonest_exhaustion_seconds\{.*`).FindString(text(t, gather(t, v)))
			if (got == "") != (tt.want == "") || !strings.HasSuffix(got, tt.want) {
				t.Errorf("%q, want %q at its end", got, tt.want)
			}
		})
	}
}
