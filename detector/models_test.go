package detector_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
)

func ptr[T any](v T) *T { return &v }

// terms is what a test wants of one protocol.
type terms struct {
	Ports, Effective int
	Unique           detector.Uniqueness
	Idle, HalfOpen   time.Duration
	// Of FIN, RST, Timeout, Idle, Unknown, Evicted.
	FIN, RST, Gone, Unknown, Evicted time.Duration
}

func termsOf(t detector.Terms) terms {
	c := t.CoolDown
	return terms{
		Ports: t.Ports, Effective: t.Effective, Unique: t.Unique, Idle: t.Idle, HalfOpen: t.HalfOpen,
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
	azUDP := func(ports int) terms {
		return terms{Ports: ports, Effective: ports, Unique: detector.PerAddress, Idle: 4 * m, HalfOpen: 4 * m}
	}
	gcpTCP := func(ports int) terms {
		return terms{Ports: ports, Effective: ports, Idle: 1200 * s, HalfOpen: 30 * s, FIN: 120 * s, RST: 120 * s, Unknown: 120 * s, Evicted: 120 * s}
	}
	gcpUDP := func(ports int) terms {
		return terms{Ports: ports, Effective: ports, Idle: 30 * s, HalfOpen: 30 * s}
	}
	tests := []struct {
		name     string
		p        detector.Params
		tcp, udp terms
		scope    detector.Scope
		assumed  []string
	}{
		{"azure-lb, 100 VMs, one frontend", detector.Params{Model: "azure-lb", Nodes: 100}, azTCP(512), azUDP(512), 0, nil},
		{"azure-lb, 100 VMs, two frontends", detector.Params{Model: "azure-lb", Nodes: 100, VIPCount: 2}, azTCP(1024), azUDP(1024), 0, nil},
		{"azure-lb, 100 VMs, three frontends are capped", detector.Params{Model: "azure-lb", Nodes: 100, VIPCount: 3}, azTCP(1024), azUDP(1024), 0, nil},
		{"azure-lb, 50 VMs gain nothing from a second frontend", detector.Params{Model: "azure-lb", Nodes: 50, VIPCount: 2}, azTCP(1024), azUDP(1024), 0, nil},
		{"azure-lb-2018, 50 VMs, two frontends", detector.Params{Model: "azure-lb-2018", Nodes: 50, VIPCount: 2}, azTCP(2048), azUDP(2048), 0, nil},
		{
			"azure-lb on AKS, idle 30 minutes",
			detector.Params{Model: "azure-lb", Nodes: 52, TCP: detector.Overrides{Idle: ptr(30 * m)}},
			terms{Ports: 512, Effective: 512, Idle: 30 * m, HalfOpen: 30 * m, FIN: 240 * s, RST: 15 * s, Unknown: 240 * s, Evicted: 240 * s},
			azUDP(512), 0, nil,
		},
		{
			"azure-lb, strict UDP",
			detector.Params{Model: "azure-lb", Nodes: 1, UDP: detector.Overrides{Unique: ptr(detector.PerNothing)}},
			azTCP(1024),
			terms{Ports: 1024, Effective: 1024, Unique: detector.PerNothing, Idle: 4 * m, HalfOpen: 4 * m},
			0, nil,
		},
		{
			"azure-lb, a TCP rule gives no UDP",
			detector.Params{Model: "azure-lb", Nodes: 1, UDP: detector.Overrides{Ports: ptr(0)}},
			azTCP(1024),
			terms{},
			0, nil,
		},
		{"azure-lb-manual, 10000 for 6 VMs", detector.Params{Model: "azure-lb-manual", Ports: 10000, Nodes: 6}, azTCP(10000), azUDP(10000), 0, nil},
		{"azure-lb-manual, IPs do not add", detector.Params{Model: "azure-lb-manual", Ports: 4000, Nodes: 16, VIPCount: 2}, azTCP(4000), azUDP(4000), 0, nil},
		{
			"azure-classic starts with 160",
			detector.Params{Model: "azure-classic"},
			azTCP(160),
			terms{Ports: 160, Effective: 160, Unique: detector.PerNothing, Idle: 4 * m, HalfOpen: 4 * m},
			0,
			[]string{"ports"},
		},
		{
			"azure-nat-gateway, 50000 per VIP and destination",
			detector.Params{Model: "azure-nat-gateway", VIPCount: 16},
			terms{Ports: 800000, Effective: 800000, Idle: 4 * m, HalfOpen: 30 * s, FIN: 65 * s, RST: 16 * s, Unknown: 65 * s, Evicted: 65 * s},
			terms{Ports: 800000, Effective: 800000, Idle: 4 * m, HalfOpen: 4 * m, Gone: 65 * s, Unknown: 65 * s},
			detector.ScopeShared, nil,
		},
		{"azure-app-service", detector.Params{Model: "azure-app-service"}, azTCP(128), azUDP(128), 0, []string{"tcp.idle", "udp.idle", "udp.unique"}},
		{
			"azure-firewall, 250 VIPs and 2 instances",
			detector.Params{Model: "azure-firewall", VIPCount: 250},
			terms{Ports: 1248000, Effective: 1248000, Idle: 4 * m, HalfOpen: 4 * m, FIN: 240 * s, RST: 16 * s, Unknown: 240 * s, Evicted: 240 * s},
			terms{Ports: 1248000, Effective: 1248000, Unique: detector.PerAddress, Idle: 300 * s, HalfOpen: 300 * s},
			detector.ScopeShared,
			[]string{"tcp.unique", "tcp.cool_down.fin", "tcp.cool_down.rst", "udp.unique", "udp.idle"},
		},
		{
			"aws-nat-gateway, 8 addresses",
			detector.Params{Model: "aws-nat-gateway", VIPCount: 8},
			terms{Ports: 440000, Effective: 440000, Idle: 350 * s, HalfOpen: 350 * s, FIN: 240 * s, RST: 16 * s, Unknown: 240 * s, Evicted: 240 * s},
			terms{Ports: 440000, Effective: 440000, Idle: 350 * s, HalfOpen: 350 * s},
			detector.ScopeShared,
			[]string{"tcp.cool_down.fin", "tcp.cool_down.rst"},
		},
		{
			"aws-nat-gateway, a cool-down given is not assumed",
			detector.Params{Model: "aws-nat-gateway", TCP: detector.Overrides{
				CoolDown: map[collector.Reason]time.Duration{collector.FIN: 5 * s},
			}},
			terms{Ports: 55000, Effective: 55000, Idle: 350 * s, HalfOpen: 350 * s, FIN: 5 * s, RST: 16 * s, Unknown: 16 * s, Evicted: 5 * s},
			terms{Ports: 55000, Effective: 55000, Idle: 350 * s, HalfOpen: 350 * s},
			detector.ScopeShared,
			[]string{"tcp.cool_down.rst"},
		},
		{"gcp-nat-static, default", detector.Params{Model: "gcp-nat-static"}, gcpTCP(64), gcpUDP(64), 0, []string{"tcp.cool_down.rst"}},
		{"gcp-nat-static, GKE node", detector.Params{Model: "gcp-nat-static", AliasRanges: true}, gcpTCP(1024), gcpUDP(1024), 0, []string{"tcp.cool_down.rst"}},
		{"gcp-nat-static, 1008 VMs fill one VIP", detector.Params{Model: "gcp-nat-static", Nodes: 1008, VIPCount: 1}, gcpTCP(64), gcpUDP(64), 0, []string{"tcp.cool_down.rst"}},
		{"gcp-nat-dynamic, the VIP ends before the default maximum", detector.Params{Model: "gcp-nat-dynamic"}, gcpTCP(64512), gcpUDP(64512), 0, []string{"tcp.cool_down.rst"}},
		{"gcp-nat-dynamic, two VIPs", detector.Params{Model: "gcp-nat-dynamic", VIPCount: 2}, gcpTCP(65536), gcpUDP(65536), 0, []string{"tcp.cool_down.rst"}},
		{"gcp-nat-dynamic, maximum given", detector.Params{Model: "gcp-nat-dynamic", Ports: 64, MaxPorts: 4096}, gcpTCP(4096), gcpUDP(4096), 0, []string{"tcp.cool_down.rst"}},
		{
			"oci-nat-gateway",
			detector.Params{Model: "oci-nat-gateway"},
			terms{Ports: 20000, Effective: 20000, Idle: 1200 * s, HalfOpen: 1200 * s, FIN: 240 * s, RST: 16 * s, Unknown: 240 * s, Evicted: 240 * s},
			terms{Ports: 20000, Effective: 20000, Idle: 300 * s, HalfOpen: 300 * s},
			detector.ScopeShared,
			[]string{"tcp.idle", "tcp.cool_down.fin", "tcp.cool_down.rst", "udp.idle"},
		},
		{
			"huawei-nat-gateway",
			detector.Params{Model: "huawei-nat-gateway"},
			terms{Ports: 55000, Effective: 55000, Idle: 900 * s, HalfOpen: 900 * s, FIN: 240 * s, RST: 16 * s, Unknown: 240 * s, Evicted: 240 * s},
			terms{Ports: 55000, Effective: 55000, Idle: 300 * s, HalfOpen: 300 * s},
			detector.ScopeShared,
			[]string{"tcp.cool_down.fin", "tcp.cool_down.rst"},
		},
		{
			"huawei-nat-gateway, small",
			detector.Params{Model: "huawei-nat-gateway", Ports: 10000},
			terms{Ports: 10000, Effective: 10000, Idle: 900 * s, HalfOpen: 900 * s, FIN: 240 * s, RST: 16 * s, Unknown: 240 * s, Evicted: 240 * s},
			terms{Ports: 10000, Effective: 10000, Idle: 300 * s, HalfOpen: 300 * s},
			detector.ScopeShared,
			[]string{"tcp.cool_down.fin", "tcp.cool_down.rst"},
		},
		{
			"linux, default range",
			detector.Params{Model: "linux"},
			terms{Ports: 64512, Effective: 59351, FIN: 120 * s, RST: 10 * s},
			terms{Ports: 64512, Effective: 59351},
			0, nil,
		},
		{
			"linux, 1024 ports on two VIPs that retry",
			detector.Params{Model: "linux", VIPCount: 2, PortRange: collector.PortRange{First: 1024, Last: 2047}},
			terms{Ports: 2048, Effective: 1884, FIN: 120 * s, RST: 10 * s},
			terms{Ports: 2048, Effective: 1884},
			0, nil,
		},
		{
			"linux, 1024 ports on each of two VIPs",
			detector.Params{Model: "linux", VIPCount: 2, SpacePerVIP: true, PortRange: collector.PortRange{First: 1024, Last: 2047}},
			terms{Ports: 1024, Effective: 942, FIN: 120 * s, RST: 10 * s},
			terms{Ports: 1024, Effective: 942},
			0, nil,
		},
		{
			"linux, 128 ports are scanned to the last",
			detector.Params{Model: "linux", PortRange: collector.PortRange{First: 1000, Last: 1127}},
			terms{Ports: 128, Effective: 128, FIN: 120 * s, RST: 10 * s},
			terms{Ports: 128, Effective: 128},
			0, nil,
		},
		{
			"linux, 129 ports are not",
			detector.Params{Model: "linux", PortRange: collector.PortRange{First: 1000, Last: 1128}},
			terms{Ports: 129, Effective: 118, FIN: 120 * s, RST: 10 * s},
			terms{Ports: 129, Effective: 118},
			0, nil,
		},
		{
			"linux, closed entries are evicted",
			detector.Params{Model: "linux", EvictsTimeWait: true},
			terms{Ports: 64512, Effective: 59351},
			terms{Ports: 64512, Effective: 59351},
			0, nil,
		},
		{
			"cilium, 32 retries",
			detector.Params{Model: "cilium"},
			terms{Ports: 32767, Effective: 28179, Idle: 8000 * s, HalfOpen: 60 * s, FIN: 310 * s, RST: 310 * s, Gone: 300 * s, Unknown: 310 * s, Evicted: 310 * s},
			terms{Ports: 32767, Effective: 28179, Idle: 60 * s, HalfOpen: 60 * s, Gone: 300 * s, Unknown: 300 * s},
			0,
			[]string{"tcp.cool_down.fin", "tcp.cool_down.rst", "tcp.cool_down.idle", "udp.cool_down.idle"},
		},
		{
			"cilium, 128 retries",
			detector.Params{Model: "cilium", Retries: 128},
			terms{Ports: 32767, Effective: 31456, Idle: 8000 * s, HalfOpen: 60 * s, FIN: 310 * s, RST: 310 * s, Gone: 300 * s, Unknown: 310 * s, Evicted: 310 * s},
			terms{Ports: 32767, Effective: 31456, Idle: 60 * s, HalfOpen: 60 * s, Gone: 300 * s, Unknown: 300 * s},
			0,
			[]string{"tcp.cool_down.fin", "tcp.cool_down.rst", "tcp.cool_down.idle", "udp.cool_down.idle"},
		},
		{
			"local, default range",
			detector.Params{Model: "local"},
			terms{Ports: 28232, Effective: 28232, FIN: 60 * s, Unknown: 60 * s, Evicted: 60 * s},
			terms{Ports: 28232, Effective: 28232, Unique: detector.PerNothing},
			0, nil,
		},
		{
			"local, reserved ports overlap and lie partly outside",
			detector.Params{
				Model: "local", PortRange: collector.PortRange{First: 40000, Last: 40099},
				Reserved: []collector.PortRange{{First: 40090, Last: 50000}, {First: 40095, Last: 40096}, {First: 1, Last: 2}},
			},
			terms{Ports: 90, Effective: 90, FIN: 60 * s, Unknown: 60 * s, Evicted: 60 * s},
			terms{Ports: 90, Effective: 90, Unique: detector.PerNothing},
			0, nil,
		},
		{
			"instance-ip",
			detector.Params{Model: "instance-ip"},
			terms{Ports: 28232, Effective: 28232, FIN: 60 * s, Unknown: 60 * s, Evicted: 60 * s},
			terms{Ports: 28232, Effective: 28232, Unique: detector.PerNothing},
			0, nil,
		},
		{
			"static, each protocol its own",
			detector.Params{Model: "static", Shared: true, EffectiveCeiling: 0.5, TCP: detector.Overrides{Ports: ptr(100)}, UDP: detector.Overrides{Ports: ptr(10)}},
			terms{Ports: 100, Effective: 50},
			terms{Ports: 10, Effective: 5},
			detector.ScopeShared, nil,
		},
	}
	resolved := map[string]bool{}
	for _, tt := range tests {
		resolved[tt.p.Model] = true
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, err := detector.Resolve(tt.p)
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
	for _, m := range detector.Models() {
		if !resolved[m.Name] {
			t.Errorf("model %s has no case", m.Name)
		}
	}
}

// The edges of the table, on both sides of each.
func TestTableEdges(t *testing.T) {
	t.Parallel()
	type edge struct{ Ports, ToNext, Next int }
	tests := []struct {
		model       string
		nodes, vips int
		want        edge
	}{
		{"azure-lb", 1, 1, edge{1024, 49, 512}},
		{"azure-lb", 48, 1, edge{1024, 2, 512}},
		{"azure-lb", 50, 1, edge{1024, 0, 512}},
		{"azure-lb", 51, 1, edge{512, 49, 256}},
		{"azure-lb", 100, 1, edge{512, 0, 256}},
		{"azure-lb", 101, 1, edge{256, 99, 128}},
		{"azure-lb", 200, 1, edge{256, 0, 128}},
		{"azure-lb", 201, 1, edge{128, 199, 64}},
		{"azure-lb", 400, 1, edge{128, 0, 64}},
		{"azure-lb", 401, 1, edge{64, 399, 32}},
		{"azure-lb", 800, 1, edge{64, 0, 32}},
		{"azure-lb", 801, 1, edge{32, 199, 0}},
		{"azure-lb", 1000, 1, edge{32, 0, 0}},
		// The cap hides the edge at 50, with four VIPs that at 100 too.
		{"azure-lb", 40, 2, edge{1024, 60, 512}},
		{"azure-lb", 40, 3, edge{1024, 60, 768}},
		{"azure-lb", 40, 4, edge{1024, 160, 512}},
		{"azure-lb", 900, 32, edge{1024, 100, 0}},
		{"azure-lb-2018", 50, 2, edge{2048, 0, 1024}},
		{"azure-lb-2018", 51, 2, edge{1024, 49, 512}},
		{"azure-lb-2018", 1000, 64, edge{2048, 0, 0}},
	}
	for _, tt := range tests {
		b, err := detector.Resolve(detector.Params{Model: tt.model, Nodes: tt.nodes, VIPCount: tt.vips})
		if err != nil {
			t.Errorf("%s, %d nodes, %d VIPs: %v", tt.model, tt.nodes, tt.vips, err)
			continue
		}
		if got := (edge{b.TCP.Ports, b.NodesToNextTier, b.NextTierPorts}); got != tt.want {
			t.Errorf("%s, %d nodes, %d VIPs: %+v, want %+v", tt.model, tt.nodes, tt.vips, got, tt.want)
		}
	}
}

// What a model refuses: the key, the value, and a want that helps.
func TestResolveRefuses(t *testing.T) {
	t.Parallel()
	a, a6 := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8::1")
	none := detector.Overrides{Ports: ptr(0)}
	tests := []struct {
		name       string
		p          detector.Params
		key, value string
	}{
		{"no model of that name", detector.Params{Model: "azure"}, "model", "azure"},
		{"a table without nodes", detector.Params{Model: "azure-lb"}, "nodes", "0"},
		{"a table beyond its end", detector.Params{Model: "azure-lb", Nodes: 1001}, "nodes", "1001"},
		{"the other table beyond its end", detector.Params{Model: "azure-lb-2018", Nodes: 1001}, "nodes", "1001"},
		{"negative nodes", detector.Params{Model: "local", Nodes: -1}, "nodes", "-1"},
		{"VIP twice", detector.Params{Model: "azure-lb", Nodes: 1, VIPs: []netip.Addr{a, a}}, "vips[1]", "203.0.113.1"},
		{"VIPs of two families", detector.Params{Model: "azure-lb", Nodes: 1, VIPs: []netip.Addr{a, a6}}, "vips[1]", "2001:db8::1"},
		{"VIP that is none", detector.Params{Model: "azure-lb", Nodes: 1, VIPs: []netip.Addr{{}}}, "vips[0]", "invalid IP"},
		{"count and list differ", detector.Params{Model: "azure-lb", Nodes: 1, VIPs: []netip.Addr{a}, VIPCount: 2}, "vip_count", "2"},
		{"negative count", detector.Params{Model: "azure-lb", Nodes: 1, VIPCount: -2}, "vip_count", "-2"},
		{"a key of another model", detector.Params{Model: "azure-lb", Nodes: 1, Ports: 1024}, "ports", "given"},
		{"10000 ports for 7 VMs on one IP", detector.Params{Model: "azure-lb-manual", Ports: 10000, Nodes: 7}, "ports", "10000"},
		{"not a multiple of 8", detector.Params{Model: "azure-lb-manual", Ports: 1001}, "ports", "1001"},
		{"manual without ports", detector.Params{Model: "azure-lb-manual"}, "ports", "0"},
		{"manual above one VIP", detector.Params{Model: "azure-lb-manual", Ports: 64008}, "ports", "64008"},
		{"classic below its first 160", detector.Params{Model: "azure-classic", Ports: 80}, "ports", "80"},
		{"17 VIPs on a NAT gateway", detector.Params{Model: "azure-nat-gateway", VIPCount: 17}, "vips", "17"},
		{"9 VIPs on AWS", detector.Params{Model: "aws-nat-gateway", VIPCount: 9}, "vips", "9"},
		{"AWS fixes idle", detector.Params{Model: "aws-nat-gateway", TCP: detector.Overrides{Idle: ptr(time.Minute)}}, "tcp.idle", "1m0s"},
		{"Azure NAT gateway fixes idle of UDP", detector.Params{Model: "azure-nat-gateway", UDP: detector.Overrides{Idle: ptr(time.Hour)}}, "udp.idle", "1h0m0s"},
		{"Azure idle below 4 minutes", detector.Params{Model: "azure-lb", Nodes: 1, TCP: detector.Overrides{Idle: ptr(time.Minute)}}, "tcp.idle", "1m0s"},
		{"Azure idle above 120 minutes", detector.Params{Model: "azure-lb", Nodes: 1, TCP: detector.Overrides{Idle: ptr(121 * time.Minute)}}, "tcp.idle", "2h1m0s"},
		{"negative idle", detector.Params{Model: "linux", TCP: detector.Overrides{Idle: ptr(-time.Minute)}}, "tcp.idle", "-1m0s"},
		{"negative half_open", detector.Params{Model: "linux", UDP: detector.Overrides{HalfOpen: ptr(-time.Minute)}}, "udp.half_open", "-1m0s"},
		{"cool-down of a day", detector.Params{Model: "linux", TCP: detector.Overrides{CoolDown: map[collector.Reason]time.Duration{collector.RST: 24 * time.Hour}}}, "tcp.cool_down.rst", "24h0m0s"},
		{"one firewall instance", detector.Params{Model: "azure-firewall", Instances: 1}, "instances", "1"},
		{"GKE node below 1024", detector.Params{Model: "gcp-nat-static", AliasRanges: true, Ports: 512}, "ports", "512"},
		{"1009 VMs on one VIP", detector.Params{Model: "gcp-nat-static", Nodes: 1009, VIPCount: 1}, "nodes", "1009"},
		{"static above a VIP", detector.Params{Model: "gcp-nat-static", Ports: 64513}, "ports", "64513"},
		{"dynamic minimum no power of two", detector.Params{Model: "gcp-nat-dynamic", Ports: 100}, "ports", "100"},
		{"dynamic maximum not above the minimum", detector.Params{Model: "gcp-nat-dynamic", Ports: 64, MaxPorts: 64}, "max_ports", "64"},
		{"dynamic maximum too large", detector.Params{Model: "gcp-nat-dynamic", MaxPorts: 131072}, "max_ports", "131072"},
		{"Huawei above its limit", detector.Params{Model: "huawei-nat-gateway", Ports: 55001}, "ports", "55001"},
		{"port range upside down", detector.Params{Model: "linux", PortRange: collector.PortRange{First: 2047, Last: 1024}}, "port_range", "2047-1024"},
		{"port range from 0", detector.Params{Model: "linux", PortRange: collector.PortRange{Last: 1024}}, "port_range", "0-1024"},
		{"reserved range upside down", detector.Params{Model: "local", Reserved: []collector.PortRange{{First: 2, Last: 1}}}, "reserved_ports[0]", "2-1"},
		{"all ports reserved", detector.Params{Model: "local", Reserved: []collector.PortRange{{First: 1, Last: 65535}}}, "reserved_ports", "1-65535"},
		{"retries of no build", detector.Params{Model: "cilium", Retries: 64}, "retries", "64"},
		{"one port of cilium", detector.Params{Model: "cilium", PortRange: collector.PortRange{First: 5, Last: 5}}, "port_range", "5-5"},
		{"ceiling above 1", detector.Params{Model: "linux", EffectiveCeiling: 1.1}, "effective_ceiling", "1.1"},
		{"static without ports", detector.Params{Model: "static"}, "ports", ""},
		{"static with too many", detector.Params{Model: "static", UDP: detector.Overrides{Ports: ptr(1 << 25)}}, "udp.ports", "33554432"},
		{"ports of a protocol", detector.Params{Model: "azure-lb", Nodes: 1, TCP: detector.Overrides{Ports: ptr(7)}}, "tcp.ports", "7"},
		{"no protocol", detector.Params{Model: "azure-lb", Nodes: 1, TCP: none, UDP: none}, "udp.ports", "0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, err := detector.Resolve(tt.p)
			var key *detector.KeyError
			if !errors.As(err, &key) || b != nil {
				t.Fatalf("got %v, %v, want a KeyError", b, err)
			}
			if key.Key != tt.key || key.Value != tt.value || key.Want == "" {
				t.Errorf("got %q, want key %q and value %q", err, tt.key, tt.value)
			}
		})
	}
}

// Which flows a resolved budget counts.
func TestResolveDestinations(t *testing.T) {
	t.Parallel()
	v4, v6 := netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")
	given := netip.MustParsePrefix("203.0.113.0/24")
	tests := []struct {
		name string
		p    detector.Params
		want []netip.Prefix
	}{
		{"a cloud's VIPs are IPv4", detector.Params{Model: "aws-nat-gateway"}, []netip.Prefix{v4}},
		{"an IPv4 VIP", detector.Params{Model: "linux", VIPs: []netip.Addr{netip.MustParseAddr("203.0.113.1")}}, []netip.Prefix{v4}},
		{"an IPv6 VIP", detector.Params{Model: "azure-lb", Nodes: 1, VIPs: []netip.Addr{netip.MustParseAddr("2001:db8::1")}}, []netip.Prefix{v6}},
		{"masquerade to any address", detector.Params{Model: "linux"}, nil},
		{"as given", detector.Params{Model: "azure-lb", Nodes: 1, Include: []netip.Prefix{given}}, []netip.Prefix{given}},
	}
	for _, tt := range tests {
		b, err := detector.Resolve(tt.p)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if !slices.Equal(b.Include, tt.want) {
			t.Errorf("%s: includes %v, want %v", tt.name, b.Include, tt.want)
		}
	}
}

// What another VIP or another pool would give, and that asking changes nothing.
func TestBudgetWith(t *testing.T) {
	t.Parallel()
	vip := netip.MustParseAddr("203.0.113.1")
	b, err := detector.Resolve(detector.Params{Model: "azure-lb-2018", Nodes: 60, VIPs: []netip.Addr{vip}})
	if err != nil {
		t.Fatal(err)
	}
	two, err := b.WithVIPs(2)
	if err != nil {
		t.Fatal(err)
	}
	small, err := b.WithNodes(50)
	if err != nil {
		t.Fatal(err)
	}
	if got := [...]int{b.TCP.Ports, two.TCP.Ports, small.TCP.Ports, b.VIPCount, two.VIPCount}; got != [...]int{512, 1024, 1024, 1, 2} {
		t.Errorf("ports as is, with two VIPs, with 50 nodes, and VIPs: %v", got)
	}
	if _, err := b.WithNodes(1001); err == nil {
		t.Error("1001 nodes: no error")
	}
}
