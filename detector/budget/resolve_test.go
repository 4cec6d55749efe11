package budget_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// What a model refuses: the key, the value, and a want that helps.
func TestResolveRefuses(t *testing.T) {
	t.Parallel()
	a, a6 := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8::1")
	none := budget.Overrides{Ports: ptr(0)}
	tests := []struct {
		name       string
		p          budget.Params
		key, value string
	}{
		{"no model of that name", budget.Params{Model: "azure"}, "model", "azure"},
		{"a table without nodes", budget.Params{Model: "azure-lb"}, "nodes", "0"},
		{"a table beyond its end", budget.Params{Model: "azure-lb", Nodes: 1001}, "nodes", "1001"},
		{"the other table beyond its end", budget.Params{Model: "azure-lb-2018", Nodes: 1001}, "nodes", "1001"},
		{"negative nodes", budget.Params{Model: "local", Nodes: -1}, "nodes", "-1"},
		{"VIP twice", budget.Params{Model: "azure-lb", Nodes: 1, VIPs: []netip.Addr{a, a}}, "vips[1]", "203.0.113.1"},
		{"VIPs of two families", budget.Params{Model: "azure-lb", Nodes: 1, VIPs: []netip.Addr{a, a6}}, "vips[1]", "2001:db8::1"},
		{"VIP that is none", budget.Params{Model: "azure-lb", Nodes: 1, VIPs: []netip.Addr{{}}}, "vips[0]", "invalid IP"},
		{"count and list differ", budget.Params{Model: "azure-lb", Nodes: 1, VIPs: []netip.Addr{a}, VIPCount: 2}, "vip_count", "2"},
		{"VIP that is any", budget.Params{Model: "linux", VIPs: []netip.Addr{netip.IPv6Unspecified()}}, "vips[0]", "::"},
		{"IPv6 VIP for IPv4 destinations", budget.Params{Model: "linux", VIPs: []netip.Addr{a6}, Include: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, "destinations.include", "[192.0.2.0/24]"},
		{"IPv6 VIP for several IPv4 destinations", budget.Params{Model: "linux", VIPs: []netip.Addr{a6}, Include: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24")}}, "destinations.include", "[192.0.2.0/24 198.51.100.0/24]"},
		{"negative count", budget.Params{Model: "azure-lb", Nodes: 1, VIPCount: -2}, "vip_count", "-2"},
		{"more VIPs than can be", budget.Params{Model: "azure-lb-2018", Nodes: 1, VIPCount: 1 << 62}, "vip_count", "4611686018427387904"},
		{"more instances than can be", budget.Params{Model: "azure-firewall", Instances: 1 << 40}, "instances", "1099511627776"},
		{"a key of another model", budget.Params{Model: "azure-lb", Nodes: 1, Ports: 1024}, "ports", "given"},
		{"10000 ports for 7 VMs on one IP", budget.Params{Model: "azure-lb-manual", Ports: 10000, Nodes: 7}, "ports", "10000"},
		{"not a multiple of 8", budget.Params{Model: "azure-lb-manual", Ports: 1001}, "ports", "1001"},
		{"manual without ports", budget.Params{Model: "azure-lb-manual"}, "ports", "0"},
		{"manual above one VIP", budget.Params{Model: "azure-lb-manual", Ports: 64008}, "ports", "64008"},
		{"classic below its first 160", budget.Params{Model: "azure-classic", Ports: 80}, "ports", "80"},
		{"17 VIPs on a NAT gateway", budget.Params{Model: "azure-nat-gateway", VIPCount: 17}, "vips", "17"},
		{"9 VIPs on AWS", budget.Params{Model: "aws-nat-gateway", VIPCount: 9}, "vips", "9"},
		{"AWS fixes idle", budget.Params{Model: "aws-nat-gateway", TCP: budget.Overrides{Idle: ptr(time.Minute)}}, "tcp.idle", "1m0s"},
		{"Azure NAT gateway fixes idle of UDP", budget.Params{Model: "azure-nat-gateway", UDP: budget.Overrides{Idle: ptr(time.Hour)}}, "udp.idle", "1h0m0s"},
		{"Azure idle below 4 minutes", budget.Params{Model: "azure-lb", Nodes: 1, TCP: budget.Overrides{Idle: ptr(time.Minute)}}, "tcp.idle", "1m0s"},
		{"Azure idle above 120 minutes", budget.Params{Model: "azure-lb", Nodes: 1, TCP: budget.Overrides{Idle: ptr(121 * time.Minute)}}, "tcp.idle", "2h1m0s"},
		{"negative idle", budget.Params{Model: "linux", TCP: budget.Overrides{Idle: ptr(-time.Minute)}}, "tcp.idle", "-1m0s"},
		{"negative half_open", budget.Params{Model: "linux", UDP: budget.Overrides{HalfOpen: ptr(-time.Minute)}}, "udp.half_open", "-1m0s"},
		{"cool-down of a day", budget.Params{Model: "linux", TCP: budget.Overrides{CoolDown: map[collector.Reason]time.Duration{collector.RST: 24 * time.Hour}}}, "tcp.cool_down.rst", "24h0m0s"},
		{"one firewall instance", budget.Params{Model: "azure-firewall", Instances: 1}, "instances", "1"},
		{"63 GKE nodes fill one VIP", budget.Params{Model: "gcp-nat-static", AliasRanges: true, Ports: 64, Nodes: 64, VIPCount: 1}, "nodes", "64"},
		{"GKE node whose maximum is its least", budget.Params{Model: "gcp-nat-dynamic", AliasRanges: true, Ports: 64, MaxPorts: 1024}, "max_ports", "1024"},
		{"1009 VMs on one VIP", budget.Params{Model: "gcp-nat-static", Nodes: 1009, VIPCount: 1}, "nodes", "1009"},
		{"static above a VIP", budget.Params{Model: "gcp-nat-static", Ports: 64513}, "ports", "64513"},
		{"dynamic minimum no power of two", budget.Params{Model: "gcp-nat-dynamic", Ports: 100}, "ports", "100"},
		{"dynamic maximum not above the minimum", budget.Params{Model: "gcp-nat-dynamic", Ports: 64, MaxPorts: 64}, "max_ports", "64"},
		{"dynamic maximum too large", budget.Params{Model: "gcp-nat-dynamic", MaxPorts: 131072}, "max_ports", "131072"},
		{"Huawei above its limit", budget.Params{Model: "huawei-nat-gateway", Ports: 55001}, "ports", "55001"},
		{"port range upside down", budget.Params{Model: "linux", PortRange: collector.PortRange{First: 2047, Last: 1024}}, "port_range", "2047-1024"},
		{"port range from 0", budget.Params{Model: "linux", PortRange: collector.PortRange{Last: 1024}}, "port_range", "0-1024"},
		{"reserved range upside down", budget.Params{Model: "local", Reserved: []collector.PortRange{{First: 2, Last: 1}}}, "reserved_ports[0]", "2-1"},
		{"all ports reserved", budget.Params{Model: "local", Reserved: []collector.PortRange{{First: 1, Last: 65535}}}, "reserved_ports", "1-65535"},
		{"retries of no build", budget.Params{Model: "cilium", Retries: 64}, "retries", "64"},
		{"one port of cilium", budget.Params{Model: "cilium", PortRange: collector.PortRange{First: 5, Last: 5}}, "port_range", "5-5"},
		{"ceiling above 1", budget.Params{Model: "linux", EffectiveCeiling: 1.1}, "effective_ceiling", "1.1"},
		{"static without ports", budget.Params{Model: "static"}, "ports", ""},
		{"static with too many", budget.Params{Model: "static", UDP: budget.Overrides{Ports: ptr(1 << 25)}}, "udp.ports", "33554432"},
		{"ports of a protocol", budget.Params{Model: "azure-lb", Nodes: 1, TCP: budget.Overrides{Ports: ptr(7)}}, "tcp.ports", "7"},
		{"no protocol", budget.Params{Model: "azure-lb", Nodes: 1, TCP: none, UDP: none}, "udp.ports", "0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, err := budget.Resolve(tt.p)
			var key *budget.KeyError
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
		p    budget.Params
		want []netip.Prefix
	}{
		{"a cloud's VIPs are IPv4", budget.Params{Model: "aws-nat-gateway"}, []netip.Prefix{v4}},
		{"an IPv4 VIP", budget.Params{Model: "linux", VIPs: []netip.Addr{netip.MustParseAddr("203.0.113.1")}}, []netip.Prefix{v4}},
		{"an IPv6 VIP", budget.Params{Model: "azure-lb", Nodes: 1, VIPs: []netip.Addr{netip.MustParseAddr("2001:db8::1")}}, []netip.Prefix{v6}},
		{"masquerade to any address", budget.Params{Model: "linux"}, nil},
		{"an IPv4 VIP for NAT64", budget.Params{Model: "aws-nat-gateway", VIPs: []netip.Addr{netip.MustParseAddr("203.0.113.1")}, Include: []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96")}}, []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96")}},
		{"a list for VIPs of both families", budget.Params{Model: "linux", VIPs: []netip.Addr{netip.MustParseAddr("2001:db8::1")}, Include: []netip.Prefix{given, v6}}, []netip.Prefix{given, v6}},
		{"as given", budget.Params{Model: "azure-lb", Nodes: 1, Include: []netip.Prefix{given}}, []netip.Prefix{given}},
	}
	for _, tt := range tests {
		b, err := budget.Resolve(tt.p)
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
	b, err := budget.Resolve(budget.Params{Model: "azure-lb-2018", Nodes: 60, VIPs: []netip.Addr{vip}})
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
