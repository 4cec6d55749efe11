package budget

import (
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// Model is one row of the table: how a provider gives out ports and takes them
// back.
type Model struct {
	Name string
	// Summary is its rule in one line.
	Summary string
	// Source is where its numbers come from.
	Source string
	// FailureSignal is where the provider itself tells of exhaustion.
	FailureSignal string
	Scope         Scope
	// Keys it takes beside those that every model takes (name, pool, gateway, nodes,
	// vips, netns, destinations, effective_ceiling, tcp, udp).
	Keys []string
	// MaxVIPs that the provider allows, 0 where no limit is documented.
	MaxVIPs int
	// Local, Translated and OnNode as in Budget.
	Local, Translated, OnNode bool
	// AnyFamily: IPv6 destinations count too when no VIP says otherwise.
	AnyFamily bool
	// AllDestinations: private, link-local, loopback and metadata destinations count
	// too, because the flow itself shows that it holds a port.
	AllDestinations bool
	TCP, UDP        ModelTerms
	// Assumed names the terms that the provider does not document, as a config does.
	Assumed []string

	// anyPorts: tcp.ports and udp.ports may be any number and not only 0.
	anyPorts bool
	// ports is the allocation of one protocol.
	ports func(p *Params) (int, *KeyError)
	// ceiling is the effective ceiling as a fraction; nil is 1.
	ceiling func(p *Params) (float64, *KeyError)
	// total is how many ports all port spaces together may hold, 0 for no such limit; nil is none. Where it is below
	// the limit of one port space, it is the only one that binds.
	total func(p *Params) int
	// table: the allocation follows the pool size, with tableCap ports at most (0 is no cap).
	table    bool
	tableCap int
}

// ModelTerms are the terms of one protocol that do not depend on parameters.
type ModelTerms struct {
	Unique Uniqueness
	Idle   time.Duration
	// IdleMin and IdleMax bound what may be configured; zero is no bound.
	IdleMin, IdleMax time.Duration
	// HalfOpen 0: an unanswered first packet is idle like any other flow.
	HalfOpen time.Duration
	FIN, RST time.Duration
	// Gone is for an end that the idle timeout or no answer brought about.
	Gone time.Duration
	// Forgets: the port is free as soon as the kernel's entry is gone for any other
	// reason. Otherwise an evicted entry counts as FIN, an unknown end as the longest.
	Forgets bool
}

const (
	azureLBDocs = "learn.microsoft.com: load-balancer-outbound-connections (2026-07), outbound-rules (2024-04), " +
		"load-balancer-tcp-idle-timeout (2025-02): " +
		"idle 4 minutes by default, 30 under AKS; a NAT gateway on the subnet wins over the load balancer and metadata " +
		"does not show it; " +
		"4 minutes after FIN in texts of App Service and API Management (2023), RST only in the versions up to 2020"
	azureLBSignal = "SnatConnectionCount with ConnectionState=Failed above 0; health events HighSnatPortUsage, " +
		"SnatPortExhaustion"
)

// What a provider does not document is taken from whoever documents the longest.
const (
	assumedFIN     = 240 * time.Second  // Azure Load Balancer
	awsFIN         = 60 * time.Second   // user guides until 2022: 900 new connections a second use up 55,000 ports
	assumedRST     = 16 * time.Second   // Azure NAT Gateway
	assumedUDPIdle = 300 * time.Second  // Huawei NAT gateway
	assumedTCPIdle = 1200 * time.Second // Google Cloud NAT
)

func azureLBTerms() (tcp, udp ModelTerms) {
	tcp = ModelTerms{
		Idle: 4 * time.Minute, IdleMin: 4 * time.Minute, IdleMax: 120 * time.Minute, FIN: 240 * time.Second,
		RST: 15 * time.Second,
	}
	udp = ModelTerms{Unique: PerAddress, Idle: 4 * time.Minute, IdleMin: 4 * time.Minute, IdleMax: 120 * time.Minute}
	return tcp, udp
}

// FindModel returns the model of that name.
func FindModel(name string) (Model, bool) {
	all := Models()
	i := slices.IndexFunc(all, func(m Model) bool { return m.Name == name })
	if i < 0 {
		return Model{}, false
	}
	return all[i], true
}

// Models returns the table of all models.
func Models() []Model {
	lbTCP, lbUDP := azureLBTerms()
	return append([]Model{{
		Name:    "azure-lb",
		Summary: "Azure Standard Load Balancer, default allocation: the table times VIPs, at most 1024 in total",
		Source:  azureLBDocs, FailureSignal: azureLBSignal,
		TCP: lbTCP, UDP: lbUDP,
		Assumed: []string{"tcp.cool_down.rst"},
		table:   true, tableCap: 1024, ports: tablePorts(1024),
	}, {
		Name:    "azure-lb-2018",
		Summary: "Azure Load Balancer from 2018 until the cap of 2023: the table times VIPs",
		Source:  azureLBDocs + "; table per frontend IP without a cap: version of 2019", FailureSignal: azureLBSignal,
		TCP: lbTCP, UDP: lbUDP,
		Assumed: []string{"tcp.cool_down.rst"},
		table:   true, ports: tablePorts(0),
	}, {
		Name:    "azure-lb-manual",
		Summary: "Azure outbound rule with allocatedOutboundPorts: ports per node, in total over its VIPs",
		Source:  azureLBDocs, FailureSignal: azureLBSignal,
		Keys: []string{"ports"},
		TCP:  lbTCP, UDP: lbUDP,
		Assumed: []string{"tcp.cool_down.rst"},
		ports:   manualPorts,
	}, {
		Name:    "azure-classic",
		Summary: "Azure before 2018: 160 ports, then more on demand, freed after 4 idle minutes",
		Source:  "azure.microsoft.com/blog: Azure Load Balancer to become more efficient (2018-02)", FailureSignal: "none",
		Keys: []string{"ports"},
		TCP: ModelTerms{
			Idle: 4 * time.Minute, IdleMin: 4 * time.Minute, IdleMax: 4 * time.Minute, FIN: 240 * time.Second,
			RST: 15 * time.Second,
		},
		UDP: ModelTerms{Unique: PerNothing, Idle: 4 * time.Minute, IdleMin: 4 * time.Minute, IdleMax: 4 * time.Minute},
		// How far the allocation grows on demand was never published.
		Assumed: []string{"ports"},
		ports:   givenPorts(160, 160, azurePortsPerVIP),
	}, {
		Name:    "azure-nat-gateway",
		Summary: "Azure NAT Gateway, Standard and V2: at most 50000 flows per VIP to one destination, 2 million in all",
		Source: "learn.microsoft.com: nat-gateway-resource (2025-11), nat-gateway-snat, nat-sku (2026-07); IPv6 addresses " +
			"of V2 are a budget of their own",
		FailureSignal: "SNAT Connection Count with ConnectionState=Failed above 0; Dropped Packets; " +
			"Datapath Availability below 90 %",
		Scope: ScopeShared, MaxVIPs: 16,
		TCP: ModelTerms{
			Idle: 4 * time.Minute, IdleMin: 4 * time.Minute, IdleMax: 120 * time.Minute,
			HalfOpen: 30 * time.Second, FIN: 65 * time.Second, RST: 16 * time.Second,
		},
		UDP:   ModelTerms{Idle: 4 * time.Minute, IdleMin: 4 * time.Minute, IdleMax: 4 * time.Minute, Gone: 65 * time.Second},
		ports: perVIP(50000), total: fixedTotal(2_000_000),
	}, {
		Name:          "azure-app-service",
		Summary:       "Azure App Service and Functions: 128 ports per instance, more only as the platform sees fit",
		Source:        "learn.microsoft.com: troubleshoot-intermittent-outbound-connection-errors (2023-06)",
		FailureSignal: "diagnostics blade of the app only",
		TCP:           ModelTerms{Idle: 4 * time.Minute, FIN: 240 * time.Second, RST: 15 * time.Second},
		UDP:           ModelTerms{Unique: PerAddress, Idle: 4 * time.Minute},
		Assumed:       []string{"tcp.idle", "tcp.cool_down.rst", "udp.idle", "udp.unique"},
		ports:         func(*Params) (int, *KeyError) { return 128, nil },
	}, {
		Name: "azure-firewall",
		Summary: "Azure Firewall: 2496 ports per VIP and instance; not with a NAT gateway on its subnet, " +
			"whose ports then count",
		Source:        "learn.microsoft.com: firewall/integrate-with-nat-gateway, firewall/tcp-session-behavior",
		FailureSignal: "SNAT port utilization above 95 %",
		Scope:         ScopeShared, MaxVIPs: 250, Keys: []string{"instances"},
		TCP: ModelTerms{
			Idle: 4 * time.Minute, IdleMin: 4 * time.Minute, IdleMax: 15 * time.Minute, FIN: assumedFIN,
			RST: assumedRST,
		},
		UDP:     ModelTerms{Unique: PerAddress, Idle: assumedUDPIdle},
		Assumed: []string{"tcp.unique", "tcp.cool_down.fin", "tcp.cool_down.rst", "udp.unique", "udp.idle"},
		ports:   firewallPorts,
	}, {
		Name:          "aws-nat-gateway",
		Summary:       "AWS NAT gateway, zonal: 55000 flows per VIP to one destination",
		Source:        "docs.aws.amazon.com: vpc/latest/userguide/nat-gateway-basics, vpc-nat-gateway-cloudwatch",
		FailureSignal: "ErrorPortAllocation above 0; PacketsDropCount",
		Scope:         ScopeShared, MaxVIPs: 8,
		TCP: ModelTerms{
			Idle: 350 * time.Second, IdleMin: 350 * time.Second, IdleMax: 350 * time.Second, FIN: awsFIN,
			RST: assumedRST,
		},
		UDP:     ModelTerms{Idle: 350 * time.Second, IdleMin: 350 * time.Second, IdleMax: 350 * time.Second},
		Assumed: []string{"tcp.cool_down.fin", "tcp.cool_down.rst"},
		ports:   perVIP(55000),
	}, {
		Name:    "gcp-nat-static",
		Summary: "Google Cloud NAT, static allocation: minPortsPerVm, 64 by default, at least 1024 with alias ranges",
		Source:  gcpDocs, FailureSignal: gcpSignal,
		Keys: []string{"ports", "alias_ranges"},
		TCP:  gcpTCP(), UDP: ModelTerms{Idle: 30 * time.Second},
		Assumed: []string{"tcp.cool_down.fin", "tcp.cool_down.rst"},
		ports:   gcpStaticPorts,
	}, {
		Name:    "gcp-nat-dynamic",
		Summary: "Google Cloud NAT, dynamic allocation: doubles from ports to max_ports when nearly used up",
		Source:  gcpDocs, FailureSignal: gcpSignal,
		Keys: []string{"ports", "max_ports", "alias_ranges"},
		TCP:  gcpTCP(), UDP: ModelTerms{Idle: 30 * time.Second},
		Assumed: []string{"tcp.cool_down.fin", "tcp.cool_down.rst"},
		ports:   gcpDynamicPorts,
	}, {
		Name:    "oci-nat-gateway",
		Summary: "Oracle Cloud NAT gateway: about 20000 flows of the whole VCN to one destination",
		Source:  "docs.oracle.com: Networking, NAT gateway", FailureSignal: "none",
		Scope: ScopeShared, MaxVIPs: 1,
		TCP:     ModelTerms{Idle: assumedTCPIdle, FIN: assumedFIN, RST: assumedRST},
		UDP:     ModelTerms{Idle: assumedUDPIdle},
		Assumed: []string{"tcp.idle", "tcp.cool_down.fin", "tcp.cool_down.rst", "udp.idle"},
		ports:   func(*Params) (int, *KeyError) { return 20000, nil },
	}, {
		Name: "huawei-nat-gateway",
		Summary: "Huawei Cloud NAT gateway: 55000 flows to one destination, and as many in all as the gateway's " +
			"size allows",
		Source: "support.huaweicloud.com: nat_faq_0002; NAT API: ListNatGatewaySpecs (2025-09), " +
			"session_conf (2026-08)",
		FailureSignal: "SNAT connection metrics of Cloud Eye",
		Scope:         ScopeShared, Keys: []string{"ports"},
		TCP: ModelTerms{
			Idle: 900 * time.Second, IdleMin: 40 * time.Second, IdleMax: 2 * time.Hour, FIN: 5 * time.Second,
			RST: 5 * time.Second,
		},
		UDP:   ModelTerms{Idle: 300 * time.Second, IdleMin: 40 * time.Second, IdleMax: 2 * time.Hour},
		ports: sizedPorts(55000, 10_000, 50_000, 200_000, 1_000_000, 10_000_000),
		total: func(p *Params) int { return p.Ports },
	}, {
		Name:    "linux",
		Summary: "netfilter masquerade or snat on this machine, in its port range",
		Source: "linux: net/netfilter/nf_nat_core.c, Documentation/networking/nf_conntrack-sysctl.rst; ceiling " +
			"measured on Linux 6.18",
		FailureSignal: "snat_conntrack_insert_failed_total, snat_conntrack_drop_total; SYN retransmits",
		Keys:          []string{"port_range", "space_per_vip", "evict_time_wait"},
		Translated:    true, AnyFamily: true, AllDestinations: true,
		TCP:   ModelTerms{FIN: 120 * time.Second, RST: 10 * time.Second, Forgets: true},
		UDP:   ModelTerms{Forgets: true},
		ports: rangePorts, ceiling: linuxCeiling,
	}, {
		Name: "cilium",
		Summary: "Cilium eBPF masquerade: ports above the NodePort range, of one egress IP where policy fixes " +
			"it (space_per_vip)",
		Source: "cilium: bpf/lib/nat.h; cmdref bpf-ct-timeout-regular-*; ceiling from the number of retries; " +
			"without BPF NodePort set port_range to ip_local_port_range's first to 65535",
		FailureSignal: `cilium_drop_count_total{reason="No mapping for NAT masquerade"}; map ` +
			`cilium_snat_v4_alloc_retries rises before`,
		Keys: []string{"port_range", "retries", "space_per_vip"}, AnyFamily: true, OnNode: true,
		// Entries go 10 s after a close and 60 s after the last datagram, at the next
		// garbage collection; its interval adapts and is taken to be 5 minutes.
		TCP: ModelTerms{
			Idle: 8000 * time.Second, HalfOpen: 60 * time.Second, FIN: 310 * time.Second,
			RST: 310 * time.Second, Gone: 300 * time.Second,
		},
		UDP:     ModelTerms{Idle: 60 * time.Second, Gone: 300 * time.Second},
		Assumed: []string{"tcp.cool_down.fin", "tcp.cool_down.rst", "tcp.cool_down.idle", "udp.cool_down.idle"},
		ports:   ciliumPorts, ceiling: ciliumCeiling,
	}, {
		Name:          "local",
		Summary:       "no NAT: the machine's own ephemeral ports, ip_local_port_range without the reserved ones",
		Source:        "linux: Documentation/networking/ip-sysctl.rst, net/ipv4/inet_hashtables.c",
		FailureSignal: "connect returns EADDRNOTAVAIL",
		Keys:          []string{"port_range", "reserved_ports"},
		Local:         true, AnyFamily: true, AllDestinations: true,
		TCP:   ModelTerms{FIN: 60 * time.Second},
		UDP:   ModelTerms{Unique: PerNothing, Forgets: true},
		ports: localPorts,
	}, {
		Name:    "instance-ip",
		Summary: "a public IP of its own, one to one: only the machine's own ephemeral ports bound it",
		Source: "learn.microsoft.com: load-balancer-outbound-connections (2023-03); linux: " +
			"Documentation/networking/ip-sysctl.rst", FailureSignal: "connect returns EADDRNOTAVAIL",
		Keys: []string{"port_range", "reserved_ports"}, MaxVIPs: 1,
		Local: true,
		TCP:   ModelTerms{FIN: 60 * time.Second},
		UDP:   ModelTerms{Unique: PerNothing, Forgets: true},
		ports: localPorts,
	}, {
		Name:    "static",
		Summary: "the numbers given, whatever they come from",
		Source:  "the configuration", FailureSignal: "none",
		Keys:      []string{"ports", "shared", "space_per_vip"},
		AnyFamily: true,
		anyPorts:  true, ports: staticPorts,
	}}, gatewayModels()...)
}

const (
	gcpDocs = "cloud.google.com: nat/docs/ports-and-addresses, nat/docs/troubleshooting; TIME_WAIT is 120 s for " +
		"gateways made before 2026-06-30, 30 s for " +
		"those made from 2026-09-30, either in between: effectiveTcpTimeWaitTimeoutSec of the Compute " +
		"API's RouterNat tells; " +
		"at least 1024 ports with alias ranges is documented for ranges of /24"
	gcpSignal = "nat/dropped_sent_packets_count with reason OUT_OF_RESOURCES; nat/nat_allocation_failed"
)

func gcpTCP() ModelTerms {
	return ModelTerms{Idle: 1200 * time.Second, HalfOpen: 30 * time.Second, FIN: 120 * time.Second, RST: 120 * time.Second}
}

// coolDown spreads the model's cool-downs over all reasons.
func (t ModelTerms) coolDown() (c [collector.NumReasons]time.Duration) {
	c[collector.FIN], c[collector.RST] = t.FIN, t.RST
	c[collector.Timeout], c[collector.Idle] = t.Gone, t.Gone
	if !t.Forgets {
		c[collector.Evicted], c[collector.ReasonUnknown] = t.FIN, max(t.FIN, t.RST, t.Gone)
	}
	return c
}
