package budget_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

func ptr[T any](v T) *T { return &v }

// terms is what a test wants of one protocol.
type terms struct {
	Ports, Effective, Total int
	Unique                  budget.Uniqueness
	Idle, HalfOpen          time.Duration
	// Of FIN, RST, Timeout, Idle, Unknown, Evicted.
	FIN, RST, Gone, Unknown, Evicted time.Duration
}

func termsOf(t budget.Terms) terms {
	c := t.CoolDown
	return terms{
		Ports: t.Ports, Effective: t.Effective, Total: t.Total, Unique: t.Unique, Idle: t.Idle, HalfOpen: t.HalfOpen,
		FIN: c[collector.FIN], RST: c[collector.RST], Gone: c[collector.Idle],
		Unknown: c[collector.ReasonUnknown], Evicted: c[collector.Evicted],
	}
}

// The vendors' own worked examples, or where they give none their numbers.
func TestModels(t *testing.T) {
	t.Parallel()
	const s, m = time.Second, time.Minute
	azTCP := func(ports int) terms {
		return terms{Ports: ports, Effective: ports, Idle: 4 * m, HalfOpen: 4 * m, FIN: 240 * s, RST: 15 * s, Unknown: 240 * s, Evicted: 240 * s}
	}
	azAssumed := []string{"tcp.cool_down.rst"} // RST only in the texts up to 2020
	azUDP := func(ports int) terms {
		return terms{Ports: ports, Effective: ports, Unique: budget.PerAddress, Idle: 4 * m, HalfOpen: 4 * m}
	}
	gcpTCP := func(ports int) terms {
		return terms{Ports: ports, Effective: ports, Idle: 1200 * s, HalfOpen: 30 * s, FIN: 120 * s, RST: 120 * s, Unknown: 120 * s, Evicted: 120 * s}
	}
	gcpAssumed := []string{"tcp.cool_down.fin", "tcp.cool_down.rst"}
	gcpUDP := func(ports int) terms {
		return terms{Ports: ports, Effective: ports, Idle: 30 * s, HalfOpen: 30 * s}
	}
	blockAssumed := []string{"tcp.unique", "tcp.idle", "tcp.half_open", "tcp.cool_down.fin", "tcp.cool_down.rst", "udp.unique", "udp.idle", "udp.cool_down.idle"}
	blockTCP := func(ports int) terms {
		return terms{Ports: ports, Effective: ports, Unique: budget.PerNothing, Idle: 124 * m, HalfOpen: 4 * m, FIN: 120 * s, RST: 120 * s, Unknown: 120 * s, Evicted: 120 * s}
	}
	blockUDP := func(ports int) terms {
		return terms{Ports: ports, Effective: ports, Unique: budget.PerNothing, Idle: 5 * m, HalfOpen: 5 * m, Gone: 120 * s, Unknown: 120 * s}
	}
	tests := []struct {
		name     string
		p        budget.Params
		tcp, udp terms
		scope    budget.Scope
		assumed  []string
	}{
		{"azure-lb, 100 VMs, one frontend", budget.Params{Model: "azure-lb", Nodes: 100}, azTCP(512), azUDP(512), 0, azAssumed},
		{"azure-lb, 100 VMs, two frontends", budget.Params{Model: "azure-lb", Nodes: 100, VIPCount: 2}, azTCP(1024), azUDP(1024), 0, azAssumed},
		{"azure-lb, 100 VMs, three frontends are capped", budget.Params{Model: "azure-lb", Nodes: 100, VIPCount: 3}, azTCP(1024), azUDP(1024), 0, azAssumed},
		{"azure-lb, 50 VMs gain nothing from a second frontend", budget.Params{Model: "azure-lb", Nodes: 50, VIPCount: 2}, azTCP(1024), azUDP(1024), 0, azAssumed},
		{"azure-lb-2018, 50 VMs, two frontends", budget.Params{Model: "azure-lb-2018", Nodes: 50, VIPCount: 2}, azTCP(2048), azUDP(2048), 0, azAssumed},
		{
			"azure-lb on AKS, idle 30 minutes",
			budget.Params{Model: "azure-lb", Nodes: 52, TCP: budget.Overrides{Idle: ptr(30 * m)}},
			terms{Ports: 512, Effective: 512, Idle: 30 * m, HalfOpen: 30 * m, FIN: 240 * s, RST: 15 * s, Unknown: 240 * s, Evicted: 240 * s},
			azUDP(512), 0, azAssumed,
		},
		{
			"azure-lb, strict UDP",
			budget.Params{Model: "azure-lb", Nodes: 1, UDP: budget.Overrides{Unique: ptr(budget.PerNothing)}},
			azTCP(1024),
			terms{Ports: 1024, Effective: 1024, Unique: budget.PerNothing, Idle: 4 * m, HalfOpen: 4 * m},
			0, azAssumed,
		},
		{
			"azure-lb, a TCP rule gives no UDP",
			budget.Params{Model: "azure-lb", Nodes: 1, UDP: budget.Overrides{Ports: ptr(0)}},
			azTCP(1024),
			terms{},
			0, azAssumed,
		},
		{"azure-lb-manual, 10000 for 6 VMs", budget.Params{Model: "azure-lb-manual", Ports: 10000, Nodes: 6}, azTCP(10000), azUDP(10000), 0, azAssumed},
		{"azure-lb-manual, IPs do not add", budget.Params{Model: "azure-lb-manual", Ports: 4000, Nodes: 16, VIPCount: 2}, azTCP(4000), azUDP(4000), 0, azAssumed},
		{
			"azure-classic starts with 160",
			budget.Params{Model: "azure-classic"},
			azTCP(160),
			terms{Ports: 160, Effective: 160, Unique: budget.PerNothing, Idle: 4 * m, HalfOpen: 4 * m},
			0,
			[]string{"ports"},
		},
		{
			"azure-nat-gateway, 50000 per VIP and destination",
			budget.Params{Model: "azure-nat-gateway", VIPCount: 16},
			terms{Ports: 800000, Effective: 800000, Total: 2000000, Idle: 4 * m, HalfOpen: 30 * s, FIN: 65 * s, RST: 16 * s, Unknown: 65 * s, Evicted: 65 * s},
			terms{Ports: 800000, Effective: 800000, Total: 2000000, Idle: 4 * m, HalfOpen: 4 * m, Gone: 65 * s, Unknown: 65 * s},
			budget.ScopeShared, nil,
		},
		{"azure-app-service", budget.Params{Model: "azure-app-service"}, azTCP(128), azUDP(128), 0, []string{"tcp.idle", "tcp.cool_down.rst", "udp.idle", "udp.unique"}},
		{
			"azure-firewall, 250 VIPs and 2 instances",
			budget.Params{Model: "azure-firewall", VIPCount: 250},
			terms{Ports: 1248000, Effective: 1248000, Idle: 4 * m, HalfOpen: 4 * m, FIN: 240 * s, RST: 16 * s, Unknown: 240 * s, Evicted: 240 * s},
			terms{Ports: 1248000, Effective: 1248000, Unique: budget.PerAddress, Idle: 300 * s, HalfOpen: 300 * s},
			budget.ScopeShared,
			[]string{"tcp.unique", "tcp.cool_down.fin", "tcp.cool_down.rst", "udp.unique", "udp.idle"},
		},
		{
			"aws-nat-gateway, 8 addresses",
			budget.Params{Model: "aws-nat-gateway", VIPCount: 8},
			terms{Ports: 440000, Effective: 440000, Idle: 350 * s, HalfOpen: 350 * s, FIN: 60 * s, RST: 16 * s, Unknown: 60 * s, Evicted: 60 * s},
			terms{Ports: 440000, Effective: 440000, Idle: 350 * s, HalfOpen: 350 * s},
			budget.ScopeShared,
			[]string{"tcp.cool_down.fin", "tcp.cool_down.rst"},
		},
		{
			"aws-nat-gateway, a cool-down given is not assumed",
			budget.Params{Model: "aws-nat-gateway", TCP: budget.Overrides{
				CoolDown: map[collector.Reason]time.Duration{collector.FIN: 5 * s},
			}},
			terms{Ports: 55000, Effective: 55000, Idle: 350 * s, HalfOpen: 350 * s, FIN: 5 * s, RST: 16 * s, Unknown: 16 * s, Evicted: 5 * s},
			terms{Ports: 55000, Effective: 55000, Idle: 350 * s, HalfOpen: 350 * s},
			budget.ScopeShared,
			[]string{"tcp.cool_down.rst"},
		},
		{"gcp-nat-static, default", budget.Params{Model: "gcp-nat-static"}, gcpTCP(64), gcpUDP(64), 0, gcpAssumed},
		{"gcp-nat-static, GKE node", budget.Params{Model: "gcp-nat-static", AliasRanges: true}, gcpTCP(1024), gcpUDP(1024), 0, gcpAssumed},
		{"gcp-nat-static, GKE node at Google's default", budget.Params{Model: "gcp-nat-static", AliasRanges: true, Ports: 64}, gcpTCP(1024), gcpUDP(1024), 0, gcpAssumed},
		{"gcp-nat-static, GKE node above", budget.Params{Model: "gcp-nat-static", AliasRanges: true, Ports: 2048}, gcpTCP(2048), gcpUDP(2048), 0, gcpAssumed},
		{"gcp-nat-dynamic, GKE node at a minimum below", budget.Params{Model: "gcp-nat-dynamic", AliasRanges: true, Ports: 64, MaxPorts: 2048}, gcpTCP(2048), gcpUDP(2048), 0, gcpAssumed},
		{"gcp-nat-static, 1008 VMs fill one VIP", budget.Params{Model: "gcp-nat-static", Nodes: 1008, VIPCount: 1}, gcpTCP(64), gcpUDP(64), 0, gcpAssumed},
		{"gcp-nat-dynamic, the VIP ends before the default maximum", budget.Params{Model: "gcp-nat-dynamic"}, gcpTCP(64512), gcpUDP(64512), 0, gcpAssumed},
		{"gcp-nat-dynamic, two VIPs", budget.Params{Model: "gcp-nat-dynamic", VIPCount: 2}, gcpTCP(65536), gcpUDP(65536), 0, gcpAssumed},
		{"gcp-nat-dynamic, maximum given", budget.Params{Model: "gcp-nat-dynamic", Ports: 64, MaxPorts: 4096}, gcpTCP(4096), gcpUDP(4096), 0, gcpAssumed},
		{
			"oci-nat-gateway",
			budget.Params{Model: "oci-nat-gateway"},
			terms{Ports: 20000, Effective: 20000, Idle: 1200 * s, HalfOpen: 1200 * s, FIN: 240 * s, RST: 16 * s, Unknown: 240 * s, Evicted: 240 * s},
			terms{Ports: 20000, Effective: 20000, Idle: 300 * s, HalfOpen: 300 * s},
			budget.ScopeShared,
			[]string{"tcp.idle", "tcp.cool_down.fin", "tcp.cool_down.rst", "udp.idle"},
		},
		{
			"huawei-nat-gateway, documented timers",
			budget.Params{Model: "huawei-nat-gateway"},
			terms{Ports: 55000, Effective: 55000, Idle: 900 * s, HalfOpen: 900 * s, FIN: 5 * s, RST: 5 * s, Unknown: 5 * s, Evicted: 5 * s},
			terms{Ports: 55000, Effective: 55000, Idle: 300 * s, HalfOpen: 300 * s},
			budget.ScopeShared, nil,
		},
		{
			"huawei-nat-gateway, a small one ends before any destination does",
			budget.Params{Model: "huawei-nat-gateway", Ports: 10000},
			terms{Ports: 10000, Effective: 10000, Unique: budget.PerNothing, Idle: 900 * s, HalfOpen: 900 * s, FIN: 5 * s, RST: 5 * s, Unknown: 5 * s, Evicted: 5 * s},
			terms{Ports: 10000, Effective: 10000, Unique: budget.PerNothing, Idle: 300 * s, HalfOpen: 300 * s},
			budget.ScopeShared, nil,
		},
		{
			"huawei-nat-gateway, a large one has a total beside",
			budget.Params{Model: "huawei-nat-gateway", Ports: 200000},
			terms{Ports: 55000, Effective: 55000, Total: 200000, Idle: 900 * s, HalfOpen: 900 * s, FIN: 5 * s, RST: 5 * s, Unknown: 5 * s, Evicted: 5 * s},
			terms{Ports: 55000, Effective: 55000, Total: 200000, Idle: 300 * s, HalfOpen: 300 * s},
			budget.ScopeShared, nil,
		},
		{
			"aws-nat-gateway-regional, 32 addresses in a zone",
			budget.Params{Model: "aws-nat-gateway-regional", VIPCount: 32},
			terms{Ports: 1760000, Effective: 1760000, Idle: 350 * s, HalfOpen: 350 * s, FIN: 60 * s, RST: 16 * s, Unknown: 60 * s, Evicted: 60 * s},
			terms{Ports: 1760000, Effective: 1760000, Idle: 350 * s, HalfOpen: 350 * s},
			budget.ScopeShared,
			[]string{"tcp.cool_down.fin", "tcp.cool_down.rst"},
		},
		{
			"alibaba-nat-gateway, 55000 for each address, not said for which destinations",
			budget.Params{Model: "alibaba-nat-gateway", VIPCount: 2},
			terms{Ports: 110000, Effective: 110000, Total: 2000000, Unique: budget.PerNothing, Idle: 900 * s, HalfOpen: 900 * s, FIN: 240 * s, RST: 16 * s, Unknown: 240 * s, Evicted: 240 * s},
			terms{Ports: 110000, Effective: 110000, Total: 2000000, Unique: budget.PerNothing, Idle: 60 * s, HalfOpen: 60 * s},
			budget.ScopeShared,
			[]string{"tcp.unique", "tcp.cool_down.fin", "tcp.cool_down.rst", "udp.unique"},
		},
		{
			"tencent-nat-gateway, 10 addresses, 550000 for each destination",
			budget.Params{Model: "tencent-nat-gateway", VIPCount: 10, Ports: 3000000},
			terms{Ports: 550000, Effective: 550000, Total: 3000000, Idle: 1200 * s, HalfOpen: 1200 * s, FIN: 240 * s, RST: 16 * s, Unknown: 240 * s, Evicted: 240 * s},
			terms{Ports: 550000, Effective: 550000, Total: 3000000, Idle: 300 * s, HalfOpen: 300 * s},
			budget.ScopeShared,
			[]string{"tcp.idle", "tcp.cool_down.fin", "tcp.cool_down.rst", "udp.idle"},
		},
		{"port-block, FortiGate's 8 blocks of 128", budget.Params{Model: "port-block", Ports: 128, Blocks: 8}, blockTCP(1024), blockUDP(1024), 0, blockAssumed},
		{"port-block, Cisco ACI's block of 3000", budget.Params{Model: "port-block", Ports: 3000}, blockTCP(3000), blockUDP(3000), 0, blockAssumed},
		{"port-block, Linode's port set of 4096", budget.Params{Model: "port-block", Ports: 4096}, blockTCP(4096), blockUDP(4096), 0, blockAssumed},
		{
			"pf, the default range",
			budget.Params{Model: "pf"},
			terms{Ports: 15535, Effective: 15535, Idle: 24 * 60 * m, HalfOpen: 30 * s, FIN: 90 * s, RST: 90 * s, Unknown: 90 * s, Evicted: 90 * s},
			terms{Ports: 15535, Effective: 15535, Idle: 60 * s, HalfOpen: 60 * s},
			budget.ScopeShared,
			[]string{"tcp.idle", "tcp.half_open", "tcp.cool_down.fin", "tcp.cool_down.rst", "udp.idle"},
		},
		{
			"linux, default range",
			budget.Params{Model: "linux"},
			terms{Ports: 64512, Effective: 59351, FIN: 120 * s, RST: 10 * s},
			terms{Ports: 64512, Effective: 59351},
			0, nil,
		},
		{
			"linux, 1024 ports on two VIPs that retry",
			budget.Params{Model: "linux", VIPCount: 2, PortRange: collector.PortRange{First: 1024, Last: 2047}},
			terms{Ports: 2048, Effective: 1884, FIN: 120 * s, RST: 10 * s},
			terms{Ports: 2048, Effective: 1884},
			0, nil,
		},
		{
			"linux, 1024 ports on each of two VIPs",
			budget.Params{Model: "linux", VIPCount: 2, SpacePerVIP: true, PortRange: collector.PortRange{First: 1024, Last: 2047}},
			terms{Ports: 1024, Effective: 942, FIN: 120 * s, RST: 10 * s},
			terms{Ports: 1024, Effective: 942},
			0, nil,
		},
		{
			"linux, 128 ports are scanned to the last",
			budget.Params{Model: "linux", PortRange: collector.PortRange{First: 1000, Last: 1127}},
			terms{Ports: 128, Effective: 128, FIN: 120 * s, RST: 10 * s},
			terms{Ports: 128, Effective: 128},
			0, nil,
		},
		{
			"linux, 129 ports are not",
			budget.Params{Model: "linux", PortRange: collector.PortRange{First: 1000, Last: 1128}},
			terms{Ports: 129, Effective: 118, FIN: 120 * s, RST: 10 * s},
			terms{Ports: 129, Effective: 118},
			0, nil,
		},
		{
			"linux, closed entries hold their ports for as long as the kernel is told to keep them",
			budget.Params{Model: "linux", EntryFIN: 7 * s, EntryRST: 3 * s},
			terms{Ports: 64512, Effective: 59351, FIN: 7 * s, RST: 3 * s},
			terms{Ports: 64512, Effective: 59351},
			0, nil,
		},
		{
			"linux, closed entries are evicted",
			budget.Params{Model: "linux", EvictsTimeWait: true, EntryFIN: 7 * s},
			terms{Ports: 64512, Effective: 59351},
			terms{Ports: 64512, Effective: 59351},
			0, nil,
		},
		{
			"cilium, 32 retries",
			budget.Params{Model: "cilium"},
			terms{Ports: 32767, Effective: 28179, Idle: 8000 * s, HalfOpen: 60 * s, FIN: 310 * s, RST: 310 * s, Gone: 300 * s, Unknown: 310 * s, Evicted: 310 * s},
			terms{Ports: 32767, Effective: 28179, Idle: 60 * s, HalfOpen: 60 * s, Gone: 300 * s, Unknown: 300 * s},
			0,
			[]string{"tcp.cool_down.fin", "tcp.cool_down.rst", "tcp.cool_down.idle", "udp.cool_down.idle"},
		},
		{
			"cilium, 128 retries",
			budget.Params{Model: "cilium", Retries: 128},
			terms{Ports: 32767, Effective: 31456, Idle: 8000 * s, HalfOpen: 60 * s, FIN: 310 * s, RST: 310 * s, Gone: 300 * s, Unknown: 310 * s, Evicted: 310 * s},
			terms{Ports: 32767, Effective: 31456, Idle: 60 * s, HalfOpen: 60 * s, Gone: 300 * s, Unknown: 300 * s},
			0,
			[]string{"tcp.cool_down.fin", "tcp.cool_down.rst", "tcp.cool_down.idle", "udp.cool_down.idle"},
		},
		{
			"cilium, two egress IPs of which policy fixes one for each flow",
			budget.Params{Model: "cilium", VIPCount: 2, SpacePerVIP: true},
			terms{Ports: 32767, Effective: 28179, Idle: 8000 * s, HalfOpen: 60 * s, FIN: 310 * s, RST: 310 * s, Gone: 300 * s, Unknown: 310 * s, Evicted: 310 * s},
			terms{Ports: 32767, Effective: 28179, Idle: 60 * s, HalfOpen: 60 * s, Gone: 300 * s, Unknown: 300 * s},
			0,
			[]string{"tcp.cool_down.fin", "tcp.cool_down.rst", "tcp.cool_down.idle", "udp.cool_down.idle"},
		},
		{
			"local, default range",
			budget.Params{Model: "local"},
			terms{Ports: 28232, Effective: 28232, FIN: 60 * s, Unknown: 60 * s, Evicted: 60 * s},
			terms{Ports: 28232, Effective: 28232, Unique: budget.PerNothing},
			0, nil,
		},
		{
			"local, reserved ports overlap and lie partly outside",
			budget.Params{
				Model: "local", PortRange: collector.PortRange{First: 40000, Last: 40099},
				Reserved: []collector.PortRange{{First: 40090, Last: 50000}, {First: 40095, Last: 40096}, {First: 1, Last: 2}},
			},
			terms{Ports: 90, Effective: 90, FIN: 60 * s, Unknown: 60 * s, Evicted: 60 * s},
			terms{Ports: 90, Effective: 90, Unique: budget.PerNothing},
			0, nil,
		},
		{
			"instance-ip",
			budget.Params{Model: "instance-ip"},
			terms{Ports: 28232, Effective: 28232, FIN: 60 * s, Unknown: 60 * s, Evicted: 60 * s},
			terms{Ports: 28232, Effective: 28232, Unique: budget.PerNothing},
			0, nil,
		},
		{
			"static, each protocol its own",
			budget.Params{Model: "static", Shared: true, EffectiveCeiling: 0.5, TCP: budget.Overrides{Ports: ptr(100)}, UDP: budget.Overrides{Ports: ptr(10)}},
			terms{Ports: 100, Effective: 50},
			terms{Ports: 10, Effective: 5},
			budget.ScopeShared, nil,
		},
	}
	resolved := map[string]bool{}
	for _, tt := range tests {
		resolved[tt.p.Model] = true
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, err := budget.Resolve(tt.p)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]terms{tt.tcp, tt.udp}, []terms{termsOf(b.TCP), termsOf(b.UDP)}); diff != "" {
				t.Errorf("terms of tcp, udp (-want +got):\n%s", diff)
			}
			if b.Scope != tt.scope {
				t.Errorf("scope %v, want %v", b.Scope, tt.scope)
			}
			if diff := cmp.Diff(tt.assumed, b.Assumed, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("assumed (-want +got):\n%s", diff)
			}
			if b.Source == "" || b.FailureSignal == "" {
				t.Error("no source or no failure signal")
			}
		})
	}
	for _, m := range budget.Models() {
		if !resolved[m.Name] {
			t.Errorf("model %s has no case", m.Name)
		}
	}
}

// A NAT further out forgets a silent flow while the kernel here still has its entry, so each of them has an idle time. What
// this machine holds itself ends with the entry or the socket.
func TestIdleTimes(t *testing.T) {
	t.Parallel()
	here := map[string]bool{"linux": true, "local": true, "instance-ip": true, "static": true} // static: if it is given one
	for _, m := range budget.Models() {
		if got := m.TCP.Idle == 0 || m.UDP.Idle == 0; got != here[m.Name] {
			t.Errorf("%s: idle times %v and %v", m.Name, m.TCP.Idle, m.UDP.Idle)
		}
	}
}
