package budget_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// What vendors and their code work out themselves, each with where it stands and of when that is.
func TestWorkedExamples(t *testing.T) {
	t.Parallel()
	must := func(p budget.Params) *budget.Budget {
		t.Helper()
		b, err := budget.Resolve(p)
		if err != nil {
			t.Fatalf("%+v: %v", p, err)
		}
		return b
	}
	ports := func(p budget.Params) int { t.Helper(); return must(p).TCP.Ports }
	// perSecond is how many short flows a second to one destination use up the ports: each rests after its FIN.
	perSecond := func(p budget.Params) float64 {
		b := must(p)
		return float64(b.TCP.Ports) / b.TCP.CoolDown[collector.FIN].Seconds()
	}
	// nodes is how many nodes share the ports before the next is refused.
	nodes := func(p budget.Params) int {
		n := 1
		for ; n < 5000; n++ {
			p.Nodes = n + 1
			var k *budget.KeyError
			if _, err := budget.Resolve(p); errors.As(err, &k) {
				break
			}
		}
		return n
	}
	manual := func(ports, vips int) int {
		return nodes(budget.Params{Model: "azure-lb-manual", Ports: ports, VIPCount: vips})
	}
	gcp := func(ports, vips int) int {
		return nodes(budget.Params{Model: "gcp-nat-static", Ports: ports, VIPCount: vips})
	}
	// blocks is how many nodes get a block of each range of ports that a device gives out by blocks.
	blocks := func(first, last, each int) int {
		whole := must(budget.Params{Model: "linux", PortRange: collector.PortRange{First: uint16(first), Last: uint16(last)}})
		return whole.TCP.Ports / ports(budget.Params{Model: "port-block", Ports: each})
	}
	// ceiling is the effective ceiling of random picks in percent.
	ceiling := func(tries int) float64 {
		b := must(budget.Params{Model: "cilium", Retries: tries})
		return math.Floor(100 * float64(b.TCP.Effective+1) / float64(b.TCP.Ports))
	}
	const lb, aks = "Azure: outbound-connections, 2026-07", "AKS: load balancer page, 2026-08"
	fits := func(err error) int {
		if err != nil {
			return 0
		}
		return 1
	}
	_, surge := budget.Resolve(budget.Params{Model: "azure-lb-manual", Ports: 4000, VIPCount: 7, Nodes: 102})
	gateway := must(budget.Params{Model: "azure-nat-gateway"})
	huawei := must(budget.Params{Model: "huawei-nat-gateway"})
	examples := map[int]bool{}
	for _, tt := range []struct {
		number    int
		source    string
		name      string
		got, want float64
	}{
		{1, lb, "100 VMs, one frontend", float64(ports(budget.Params{Model: "azure-lb", Nodes: 100})), 512},
		{1, lb, "100 VMs, two frontends", float64(ports(budget.Params{Model: "azure-lb", Nodes: 100, VIPCount: 2})), 1024},
		{1, lb, "100 VMs, three frontends", float64(ports(budget.Params{Model: "azure-lb", Nodes: 100, VIPCount: 3})), 1024},
		{2, aks, "48 nodes", float64(ports(budget.Params{Model: "azure-lb", Nodes: 48})), 1024},
		{2, aks, "52 nodes", float64(ports(budget.Params{Model: "azure-lb", Nodes: 52})), 512},
		{3, aks, "1,000 ports, 2 IPs", float64(manual(1000, 2)), 128},
		{3, aks, "1,000 ports, 7 IPs", float64(manual(1000, 7)), 448},
		{3, aks, "4,000 ports, 2 IPs", float64(manual(4000, 2)), 32},
		{3, aks, "4,000 ports, 7 IPs", float64(manual(4000, 7)), 112},
		{4, aks, "100 nodes and a surge of 2 fit 7 IPs", float64(fits(surge)), 1},
		{5, lb, "a port serves two destinations", float64(must(budget.Params{Model: "azure-lb", Nodes: 1}).TCP.Unique), float64(budget.PerEndpoint)},
		{6, "Azure: nat-gateway-snat, 2023-07", "a closed flow's port rests", gateway.TCP.CoolDown[collector.FIN].Seconds(), 65},
		{6, "Azure: nat-gateway-snat, 2023-07", "a port serves another endpoint", float64(gateway.TCP.Unique), float64(budget.PerEndpoint)},
		{7, "Azure: nat-gateway-resource, 2025-11", "16 IPs to one destination", float64(ports(budget.Params{Model: "azure-nat-gateway", VIPCount: 16})), 800_000},
		{7, "Azure: nat-gateway-resource, 2025-11", "short flows a second", math.Floor(perSecond(budget.Params{Model: "azure-nat-gateway"})), 769},
		{8, "Azure: firewall, 2022-02", "250 IPs, 2 instances", float64(ports(budget.Params{Model: "azure-firewall", VIPCount: 250})), 1_248_000},
		{9, "Azure: App Service, 2023-06", "an App Service Environment of 50 instances", float64(ports(budget.Params{Model: "azure-lb", Nodes: 50})), 1024},
		{9, "Azure: App Service, 2023-06", "of 51", float64(ports(budget.Params{Model: "azure-lb", Nodes: 51})), 512},
		{10, "AWS: vpc-nat-gateway, until 2022", "about 900 short flows a second", math.Round(perSecond(budget.Params{Model: "aws-nat-gateway"}) / 100), 9},
		{10, "AWS: nat-gateway-basics, 2026", "8 IPs", float64(ports(budget.Params{Model: "aws-nat-gateway", VIPCount: 8})), 440_000},
		{10, "AWS: nat-gateways-regional, 2026", "32 IPs of a zone", float64(ports(budget.Params{Model: "aws-nat-gateway-regional", VIPCount: 32})), 1_760_000},
		{11, "Google: ports-and-addresses, 2026", "64 ports, one IP", float64(gcp(64, 1)), 1008},
		{11, "Google: ports-and-addresses, 2026", "64 ports, two IPs", float64(gcp(64, 2)), 2016},
		{11, "Google: ports-and-addresses, 2026", "4,096 ports", float64(gcp(4096, 1)), 15},
		{11, "Google: ports-and-addresses, 2026", "1,024 ports", float64(gcp(1024, 1)), 63},
		{11, "Google: ports-and-addresses, 2026", "2,048 ports", float64(gcp(2048, 1)), 31},
		{12, "Google: Cloud NAT release note, 2026-03", "TIME_WAIT of 120 s", math.Round(perSecond(budget.Params{Model: "gcp-nat-static"}) * 100), 53},
		{12, "Google: Cloud NAT release note, 2026-03", "TIME_WAIT of 30 s", math.Floor(perSecond(budget.Params{
			Model: "gcp-nat-static",
			TCP:   budget.Overrides{CoolDown: map[collector.Reason]time.Duration{collector.FIN: 30 * time.Second}},
		}) * 10), 21},
		{13, "Huawei: nat_faq_0002, OTC, 2026", "seconds at 100 flows a second", float64(huawei.TCP.Ports) / 100, 550},
		{14, "Tencent: NAT Gateway limits, 2024-01", "10 EIPs", float64(ports(budget.Params{Model: "tencent-nat-gateway", VIPCount: 10})), 550_000},
		{15, "Cilium: egress-gateway-troubleshooting, 2026-03", "the random pick of the default range", float64(ports(budget.Params{Model: "cilium"})), 32_767},
		{15, "Cilium: egress-gateway-troubleshooting, 2026-03", "node-port-range 1024-1025", float64(ports(budget.Params{
			Model: "cilium", PortRange: collector.PortRange{First: 1026, Last: 65535},
		})) + 1, 64_510},
		{16, "Cilium, 2026-03", "percent of the ports at which 128 random picks fail once in a hundred", ceiling(128), math.Floor(100 * math.Pow(0.01, 1.0/128))},
		{16, "Cilium, 2026-03", "and 32", ceiling(32), math.Floor(100 * math.Pow(0.01, 1.0/32))},
		{17, "FortiGate: tech tip, 2025", "5117-65535 by 448", float64(blocks(5117, 65535, 448)), 134},
		{17, "FortiGate: tech tip, 2025", "5117-65148 by 448", float64(blocks(5117, 65148, 448)), 134},
		{18, "FortiGate: tech tip, 2024-01", "512 ports over 6 blades", float64(must(budget.Params{Model: "static", Ports: 512 / 6}).TCP.Ports), 85},
		{19, "Cisco aci-containers, 2026-07", "5000-65000 by 3,000", float64(blocks(5000, 65000, 3000)), 20},
		{20, "VyOS: test suite, 2026", "40000-60000 by 5,000", float64(blocks(40000, 60000, 5000)), 4},
		{20, "VyOS: test suite, 2026", "1024-65535 by 10,000", float64(blocks(1024, 65535, 10_000)), 6},
		{21, "Linode: API specification, 2026", "4,096 each", float64(blocks(1024, 65535, 4096)), 15},
		{22, "Palo Alto: DIPP, 2024-07", "64 K to one address", float64(must(budget.Params{Model: "static", Ports: 64 * 1024}).TCP.Ports), 65_536},
	} {
		examples[tt.number] = true
		if tt.got != tt.want {
			t.Errorf("%d (%s), %s: %v, want %v", tt.number, tt.source, tt.name, tt.got, tt.want)
		}
	}
	for n := 1; n <= 22; n++ {
		if !examples[n] {
			t.Errorf("no example %d", n)
		}
	}
}
