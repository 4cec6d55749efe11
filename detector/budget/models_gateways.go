package budget

import "time"

// gatewayModels are the rows of NAT gateways and appliances that the table got in 2026. What no vendor documents is
// assumed: the strictest uniqueness, the longest times.
func gatewayModels() []Model {
	aws := func(t ModelTerms) ModelTerms {
		t.Idle, t.IdleMin, t.IdleMax = 350*time.Second, 350*time.Second, 350*time.Second
		return t
	}
	return []Model{{
		Name: "aws-nat-gateway-regional",
		Summary: "AWS regional NAT gateway: 55000 flows per VIP to one destination, up to 32 VIPs in each zone; " +
			"the pool is the zone",
		Source: "docs.aws.amazon.com: vpc/latest/userguide/nat-gateways-regional (2026): addresses come and go by " +
			"themselves in automatic mode", FailureSignal: "ErrorPortAllocation above 0; PacketsDropCount",
		Scope: ScopeShared, MaxVIPs: 32,
		TCP: aws(ModelTerms{FIN: awsFIN, RST: assumedRST}), UDP: aws(ModelTerms{}),
		Assumed: []string{"tcp.cool_down.fin", "tcp.cool_down.rst"},
		ports:   perVIP(55000),
	}, {
		Name:    "alibaba-nat-gateway",
		Summary: "Alibaba Cloud Internet NAT gateway: 55000 flows per VIP, 2 million in all",
		Source: "help.aliyun.com: NAT Gateway limits (2023-08), FAQ: the text does not say that a port can " +
			"serve two destinations", FailureSignal: "acs_nat_gateway: ErrorPortAllocationCount, SessionLimitDropConnection",
		Scope: ScopeShared, MaxVIPs: 64,
		TCP:     ModelTerms{Unique: PerNothing, Idle: 900 * time.Second, FIN: assumedFIN, RST: assumedRST},
		UDP:     ModelTerms{Unique: PerNothing, Idle: 60 * time.Second},
		Assumed: []string{"tcp.unique", "tcp.cool_down.fin", "tcp.cool_down.rst", "udp.unique"},
		ports:   perVIP(55000), total: fixedTotal(2_000_000),
	}, {
		Name: "tencent-nat-gateway",
		Summary: "Tencent Cloud public NAT gateway: 55000 flows per VIP to one destination, and as many in all as the " +
			"gateway's size allows",
		Source:        "cloud.tencent.com: NAT Gateway limits (2024-01); sizes of the classic gateway 1, 3 and 10 million",
		FailureSignal: "QCE/NAT_GATEWAY: WanOutDropPkg",
		Scope:         ScopeShared, MaxVIPs: 10, Keys: []string{"ports"},
		TCP:     ModelTerms{Idle: assumedTCPIdle, FIN: assumedFIN, RST: assumedRST},
		UDP:     ModelTerms{Idle: assumedUDPIdle},
		Assumed: []string{"tcp.idle", "tcp.cool_down.fin", "tcp.cool_down.rst", "udp.idle"},
		ports:   sizedPortsPerVIP(55000, 1_000_000, 3_000_000, 10_000_000), total: func(p *Params) int { return p.Ports },
	}, {
		Name: "port-block",
		Summary: "blocks of ports for each node: carrier NAT, FortiGate, Juniper, Cisco ACI, Linode; ports of a " +
			"block times blocks",
		Source: "RFC 6888 (a freed port rests 120 s), RFC 5382 and RFC 4787 (idle times); docs.fortinet.com: 128 ports, 8 " +
			"blocks; juniper.net: 128 and 8; " +
			"aci-containers: 3000 ports, 1 block; linode.com: 4096 ports, 1 block",
		FailureSignal: "the device's log of a pool or block that is used up",
		Keys:          []string{"ports", "blocks"},
		TCP: ModelTerms{
			Unique: PerNothing, Idle: 7440 * time.Second, HalfOpen: 240 * time.Second,
			FIN: 120 * time.Second, RST: 120 * time.Second,
		},
		UDP: ModelTerms{Unique: PerNothing, Idle: 300 * time.Second, Gone: 120 * time.Second},
		Assumed: []string{
			"tcp.unique", "tcp.idle", "tcp.half_open", "tcp.cool_down.fin", "tcp.cool_down.rst",
			"udp.unique", "udp.idle", "udp.cool_down.idle",
		},
		ports: blockPorts,
	}, {
		Name:    "pf",
		Summary: "a gateway with pf (OpenBSD, FreeBSD, pfSense, OPNsense): 15535 ports per VIP to one destination",
		Source: "pf: nat without static-port picks from 50001-65535; timeouts of pf.conf(5): tcp.finwait 45, tcp.closed " +
			"90, udp.multiple 60", FailureSignal: "pfctl -si: state-limit, no-route; pfctl -ss counts states",
		Scope: ScopeShared, Keys: []string{"port_range"}, AnyFamily: true,
		TCP:     ModelTerms{Idle: 24 * time.Hour, HalfOpen: 30 * time.Second, FIN: 90 * time.Second, RST: 90 * time.Second},
		UDP:     ModelTerms{Idle: 60 * time.Second},
		Assumed: []string{"tcp.idle", "tcp.half_open", "tcp.cool_down.fin", "tcp.cool_down.rst", "udp.idle"},
		ports:   pfPorts,
	}}
}
