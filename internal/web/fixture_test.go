package web

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

const fixtureNetns = 4026531840

var fixtureAt = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// busyState is what readers see while a slow store eats the ports of one budget.
func busyState() *State {
	const ports = 1024
	web := &budget.Budget{
		Name: "web", Model: "azure-lb-2018", Pool: "web-pool", Gateway: "lb-1",
		Assumed: []string{"udp.idle"}, VIPCount: 1, VIPs: []netip.Addr{netip.MustParseAddr("198.51.100.1")},
		Nodes: 48, NodesToNextTier: 2, NextTierPorts: 512,
		TCP: budget.Terms{Ports: ports, Effective: ports, Idle: 4 * time.Minute},
		UDP: budget.Terms{Ports: ports, Effective: ports},
	}
	nat := &budget.Budget{
		Name: "masquerade", Model: "linux", VIPCount: 1, Translated: true,
		TCP: budget.Terms{Ports: 28232, Effective: 25973}, UDP: budget.Terms{Ports: 28232, Effective: 25973},
	}
	tcp := detector.AccountSnapshot{
		Protocol: collector.TCP, Terms: web.TCP, Held: 1420, Live: 1090, Cooling: 330, Busiest: 967,
		Opening: 12, Stalled: 3, Opened: 88_123, Unanswered: 4, Refused: 2, NoPorts: 19, Tracked: 340,
		Lifetime: detector.Histogram{Bounds: []float64{1, 10}, Counts: []uint64{1, 2, 3}, Sum: 99},
		Hold:     detector.Histogram{Bounds: []float64{1, 10}, Counts: []uint64{1, 2, 3}, Sum: 99},
		Other:    detector.SpaceSnapshot{Held: 61, Live: 40, Cooling: 21},
		Owners: []detector.OwnerTotals{
			{Number: 2, Owner: busyOwners()[0].Owner, Opened: 60_120, MeanLifetime: 29 * time.Second},
		},
	}
	for i, held := range []int{967, 251, 120, 54, 12, 9, 4, 1, 1, 1} {
		s := detector.SpaceSnapshot{
			Destination: fmt.Sprintf("203.0.113.%d:443", 7+i), Held: held, Live: held * 3 / 4, Cooling: held - held*3/4,
			OpensPerSecond: float64(held) / 31, MeanHold: 31 * time.Second,
		}
		if i == 0 {
			s.Owners = busyOwners()
		}
		if i == 3 {
			s.Destination = "[2001:db8:1234:5678:9abc:def0:1234:5678]:8443"
		}
		if i < 3 {
			m := float64(held)
			s.Forecast = &detector.Forecast{
				Mean: [4]float64{m * 1.03, m * 1.1, m * 1.2, m * 1.22}, Variance: [4]float64{m, 3 * m, 9 * m, 16 * m},
				Probability: [4]float64{0.08, 0.93, 0.996, 0.999}, TimeToExhaustion: 141, Urgency: 0.8125,
			}
			if i > 0 {
				s.Forecast.Probability = [4]float64{0, 0, 0.0004, 0.02}
				s.Forecast.TimeToExhaustion, s.Forecast.Urgency = math.Inf(1), 0
			}
		}
		tcp.Spaces = append(tcp.Spaces, s)
	}
	udp := detector.AccountSnapshot{
		Protocol: collector.UDP, Terms: web.UDP, Held: 14, Live: 14, Busiest: 14, Tracked: 1,
		Spaces: []detector.SpaceSnapshot{{Destination: "203.0.113.53:*", Held: 14, Live: 14, OpensPerSecond: 0.4, MeanHold: 33 * time.Second}},
	}
	none := [4]float64{math.NaN(), math.NaN(), math.NaN(), math.NaN()}
	snap := &detector.Snapshot{
		At:    collector.Time(fixtureAt.UnixNano()),
		Netns: []detector.NetnsSnapshot{{Netns: fixtureNetns, Exact: true, Flows: 1434}},
		Budgets: []detector.BudgetSnapshot{
			{Budget: nat, Brier: none, Protocols: []detector.AccountSnapshot{
				{Protocol: collector.TCP, Terms: nat.TCP, Held: 210, Live: 200, Cooling: 10, Busiest: 180, Tracked: 1, Spaces: []detector.SpaceSnapshot{
					{VIP: "198.51.100.9", Destination: "192.0.2.80:80", Held: 180, Live: 170, Cooling: 10, OpensPerSecond: 11, MeanHold: 4 * time.Millisecond},
				}},
				{Protocol: collector.UDP, Terms: nat.UDP},
			}},
			{Budget: web, Brier: [4]float64{0.01, 0.03, math.NaN(), math.NaN()}, Protocols: []detector.AccountSnapshot{tcp, udp}},
		},
	}
	return &State{
		Ready:   true,
		Budgets: []*budget.Budget{nat, web},
		Cloud:   &Cloud{Provider: "azure", Region: "westeurope", Instance: "web_3"},
		Notices: []string{"sockets of other network namespaces are not seen: needs CAP_SYS_PTRACE and CAP_SYS_ADMIN"},
		View: &metrics.View{
			Snapshot: snap, At: fixtureAt, Outer: []uint64{fixtureNetns},
			Sources: []metrics.Source{{Netns: fixtureNetns, Name: "conntrack", Strategy: "poll", Why: "conntrack tracks 1434 flows here"}},
			Kernel: []metrics.Kernel{{
				Counters: collector.Counters{Netns: fixtureNetns, Entries: 230_000}, EntriesMax: 262_144, SecondsToFull: 380, Forecast: true,
			}},
			Causes: metrics.Causes{Further: []string{metrics.CauseUnanswered, metrics.CauseRefused, metrics.CausePorts}}, Stalled: true,
			Reload: metrics.Reload{OK: true, At: fixtureAt}, Build: metrics.Build{Version: "1.2.3", Revision: "abc", GoVersion: "go1.26"},
		},
	}
}

// busyOwners hold the 967 ports of the fullest port space.
func busyOwners() []detector.OwnerHeld {
	return []detector.OwnerHeld{
		{Number: 2, Owner: collector.Owner{Kind: collector.KindPod, Name: "payments/checkout-7d9f", Container: "api", Workload: "checkout", WorkloadKind: "Deployment"}, Held: 612},
		{Number: 3, Owner: collector.Owner{Kind: collector.KindContainer, Name: "fetcher"}, Held: 200},
		{Number: 4, Owner: collector.Owner{Kind: collector.KindUnit, Name: "backup.service"}, Held: 100},
		{Number: 5, Owner: collector.Owner{Kind: collector.KindClient, Name: "10.0.0.7"}, Held: 50},
		{Number: collector.OwnerUnknown, Owner: collector.Owner{Kind: collector.KindUnknown, Name: "unknown"}, Held: 3},
		{Number: collector.OwnerOther, Owner: collector.Owner{Kind: collector.KindOther, Name: "other"}, Held: 2},
	}
}

func newTestServer(t testing.TB, st *State) *Server {
	t.Helper()
	s, err := New(Config{
		State: func() *State { return st }, Age: func() time.Duration { return time.Second },
		Reload:    func() error { return errors.New("budgets[0].nodes 1001: want 1 to 1000") },
		Lifecycle: true, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// startingView is what readers see before the first tick.
func startingView() *metrics.View {
	return &metrics.View{
		Sources: []metrics.Source{{Netns: fixtureNetns, Name: "sockets", Why: "conntrack is not loaded in this namespace"}},
		Build:   metrics.Build{Version: "1.2.3"},
	}
}
