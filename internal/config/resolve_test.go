package config

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/collector/natrules"
	"github.com/snatwatch/snatwatch/detector/budget"
)

func addrs(texts ...string) []netip.Addr {
	var as []netip.Addr
	for _, s := range texts {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

// text is a budget in one line.
func text(b *budget.Budget) string {
	return fmt.Sprintf("%s: %s, ports %d/%d effective %d/%d, vips %v count %d each %v, range %d-%d, nodes %d, netns %d, %d in %d out",
		b.Name, b.Model, b.TCP.Ports, b.UDP.Ports, b.TCP.Effective, b.UDP.Effective, b.VIPs, b.VIPCount, b.SpacePerVIP,
		b.PortRange.First, b.PortRange.Last, b.Nodes, b.Netns, len(b.Include), len(b.Exclude))
}

func TestResolve(t *testing.T) {
	t.Parallel()
	snat := natrules.Rule{Table: "ip nat", Chain: "post", Handle: 4, VIPs: addrs("198.51.100.1"), Ports: collector.PortRange{First: 1024, Last: 2047}}
	tcp, udp, both := snat, snat, snat
	tcp.TCP, udp.UDP = true, true
	both.TCP, both.UDP = true, true
	hashed := both
	hashed.VIPs, hashed.SpacePerVIP = addrs("198.51.100.2", "198.51.100.3"), true
	masquerade := natrules.Rule{Table: "ip nat", Chain: "post", Handle: 5, Masquerade: true, SpacePerVIP: true, TCP: true, UDP: true}
	lowPorts := collector.Limits{Netns: 42, LocalPorts: collector.PortRange{First: 10000, Last: 19999}, Reserved: []collector.PortRange{{First: 10000, Last: 10099}}}
	const auto = "budgets: [{name: nat, model: auto}]"
	const local = "ports 28232/28232 effective 28232/28232, vips [] count 1 each false, range 32768-60999"
	tests := []struct {
		name, yaml string
		machine    Machine
		want       []string
		notes      []string
	}{
		{
			"nothing known", auto,
			Machine{},
			[]string{"nat: local, " + local + ", nodes 0, netns 0, 0 in 0 out"},
			[]string{"nat: no NAT rule on this machine and no VIPs from cloud metadata: the budget is its ephemeral ports"},
		},
		{
			"rules that could not be read", auto,
			Machine{RulesUnread: true, Notes: []string{"missing CAP_NET_ADMIN"}},
			[]string{"nat: local, " + local + ", nodes 0, netns 0, 0 in 0 out"},
			[]string{"missing CAP_NET_ADMIN", "nat: no NAT rule to be read and no VIPs from cloud metadata: the budget is its ephemeral ports"},
		},
		{
			"no budgets at all are auto", "budgets: []",
			Machine{Limits: lowPorts},
			[]string{"auto: local, ports 9900/9900 effective 9900/9900, vips [] count 1 each false, range 10000-19999, nodes 0, netns 42, 0 in 0 out"},
			[]string{"auto: no NAT rule on this machine and no VIPs from cloud metadata: the budget is its ephemeral ports"},
		},
		{
			"masquerade", auto,
			Machine{Rules: natrules.Ruleset{Rules: []natrules.Rule{masquerade, masquerade}}},
			[]string{"nat: linux, ports 64512/64512 effective 59351/59351, vips [] count 1 each true, range 0-0, nodes 0, netns 0, 0 in 0 out", "nat-local: local, " + local + ", nodes 0, netns 0, 0 in 0 out"},
			nil,
		},
		{
			"one rule for each protocol", auto,
			Machine{Rules: natrules.Ruleset{Rules: []natrules.Rule{tcp, udp}}},
			[]string{"nat: linux, ports 1024/1024 effective 942/942, vips [198.51.100.1] count 1 each false, range 1024-2047, nodes 0, netns 0, 1 in 0 out", "nat-local: local, " + local + ", nodes 0, netns 0, 0 in 0 out"},
			nil,
		},
		{
			"a rule for TCP alone", auto,
			Machine{Rules: natrules.Ruleset{Rules: []natrules.Rule{tcp}}},
			[]string{"nat: linux, ports 1024/0 effective 942/0, vips [198.51.100.1] count 1 each false, range 1024-2047, nodes 0, netns 0, 1 in 0 out", "nat-local: local, " + local + ", nodes 0, netns 0, 0 in 0 out"},
			nil,
		},
		{
			"rules that give out different ports", auto,
			Machine{Rules: natrules.Ruleset{Rules: []natrules.Rule{both, hashed}}},
			[]string{
				"nat-198.51.100.1:1024-2047: linux, ports 1024/1024 effective 942/942, vips [198.51.100.1] count 1 each false, range 1024-2047, nodes 0, netns 0, 1 in 0 out",
				"nat-198.51.100.2..198.51.100.3:1024-2047: linux, ports 1024/1024 effective 942/942, vips [198.51.100.2 198.51.100.3] count 2 each true, range 1024-2047, nodes 0, netns 0, 1 in 0 out",
				"nat-local: local, " + local + ", nodes 0, netns 0, 0 in 0 out",
			},
			nil,
		},
		{
			"rules that share ports", auto,
			Machine{Rules: natrules.Ruleset{Rules: []natrules.Rule{both, masquerade}}},
			[]string{
				"nat-198.51.100.1:1024-2047: linux, ports 1024/1024 effective 942/942, vips [198.51.100.1] count 1 each false, range 1024-2047, nodes 0, netns 0, 1 in 0 out",
				"nat: linux, ports 64512/64512 effective 59351/59351, vips [] count 1 each true, range 0-0, nodes 0, netns 0, 0 in 0 out",
				"nat-local: local, " + local + ", nodes 0, netns 0, 0 in 0 out",
			},
			nil,
		},
		{
			"a rule not understood", auto,
			Machine{Rules: natrules.Ruleset{Unknown: 1, Problems: []string{"table ip nat, chain post, handle 9: an address that depends on the flow"}}},
			[]string{"nat: local, " + local + ", nodes 0, netns 0, 0 in 0 out"},
			[]string{
				"nat: NAT rule not understood: table ip nat, chain post, handle 9: an address that depends on the flow: " +
					"the flows that it translates are in no budget, unless one of model linux names its vips and port_range",
				"nat: no NAT rule that is understood and no VIPs from cloud metadata: the budget is its ephemeral ports",
			},
		},
		{
			"iptables-legacy that cannot be read", auto,
			Machine{Rules: natrules.Ruleset{Read: true, LegacyUnread: true, Remarks: []string{"iptables-legacy: not known"}}},
			[]string{"nat: local, " + local + ", nodes 0, netns 0, 0 in 0 out"},
			[]string{
				"nat: iptables-legacy: not known",
				"nat: no NAT rule of nftables on this machine and no VIPs from cloud metadata: the budget is its ephemeral ports",
			},
		},
		{
			"Azure without a pool size", auto,
			Machine{Cloud: cloud.Metadata{Provider: "azure", VIPs: addrs("203.0.113.1", "203.0.113.2")}},
			[]string{"nat: local, " + local + ", nodes 0, netns 0, 0 in 0 out"},
			[]string{"nat: Azure's load balancer translates this machine to 203.0.113.1, 203.0.113.2, but its metadata does not tell the pool size: " +
				"set budgets[0].nodes or nodes_file (model azure-lb, or azure-lb-manual with ports); until then only ephemeral ports are watched"},
		},
		{
			"Azure with a pool size", "budgets: [{name: nat, model: auto, nodes: 60}]",
			Machine{Cloud: cloud.Metadata{Provider: "azure", VIPs: addrs("203.0.113.1", "203.0.113.2")}},
			[]string{"nat: azure-lb, ports 1024/1024 effective 1024/1024, vips [203.0.113.1 203.0.113.2] count 2 each false, range 0-0, nodes 60, netns 0, 1 in 15 out"},
			nil,
		},
		{
			"a public IP of its own", auto,
			Machine{Cloud: cloud.Metadata{Provider: "azure", VIPs: addrs("203.0.113.1"), PublicIPs: addrs("203.0.113.7")}},
			[]string{"nat: instance-ip, ports 28232/28232 effective 28232/28232, vips [203.0.113.7] count 1 each false, range 32768-60999, nodes 0, netns 0, 1 in 15 out"},
			nil,
		},
		{
			"VIPs of a configured azure-lb from Azure", "budgets: [{name: lb, model: azure-lb-2018, nodes: 10}]",
			Machine{Cloud: cloud.Metadata{VIPs: addrs("203.0.113.1", "203.0.113.2")}},
			[]string{"lb: azure-lb-2018, ports 2048/2048 effective 2048/2048, vips [203.0.113.1 203.0.113.2] count 2 each false, range 0-0, nodes 10, netns 0, 1 in 15 out"},
			nil,
		},
		{
			"configured VIPs win", "budgets: [{name: lb, model: azure-lb-2018, nodes: 10, vip_count: 3}]",
			Machine{Cloud: cloud.Metadata{VIPs: addrs("203.0.113.1")}},
			[]string{"lb: azure-lb-2018, ports 3072/3072 effective 3072/3072, vips [] count 3 each false, range 0-0, nodes 10, netns 0, 1 in 15 out"},
			nil,
		},
		{
			"the file wins over nodes", "budgets: [{name: lb, model: azure-lb, nodes: 10, nodes_file: /n}]",
			Machine{Nodes: map[string]int{"/n": 101}},
			[]string{"lb: azure-lb, ports 256/256 effective 256/256, vips [] count 1 each false, range 0-0, nodes 101, netns 0, 1 in 15 out"},
			[]string{"lb: neither vips nor vip_count is given: taken to be one VIP, 256 TCP ports; with two there are 512"},
		},
		{
			"destinations of the budget, of the file, of neither", "destinations: {exclude: [10.0.0.0/8]}\nbudgets:\n" +
				"- {name: a, model: aws-nat-gateway, destinations: {include: [203.0.113.0/24], exclude: []}, netns: x}\n" +
				"- {name: b, model: linux, netns: y}\n",
			Machine{Netns: map[string]uint64{"x": 7, "y": 8}},
			[]string{
				"a: aws-nat-gateway, ports 55000/55000 effective 55000/55000, vips [] count 1 each false, range 0-0, nodes 0, netns 7, 1 in 0 out",
				"b: linux, ports 64512/64512 effective 59351/59351, vips [] count 1 each false, range 0-0, nodes 0, netns 8, 0 in 1 out",
			},
			[]string{"a: neither vips nor vip_count is given: taken to be one VIP, 55000 TCP ports; with two there are 110000"},
		},
		{
			"what is configured comes before what is found", "budgets: [{name: nat, model: auto}, {name: own, model: local}]",
			Machine{},
			[]string{"own: local, " + local + ", nodes 0, netns 0, 0 in 0 out"},
			[]string{
				"nat: no NAT rule on this machine and no VIPs from cloud metadata: the budget is its ephemeral ports",
				"nat: what was found, local, shares flows with budget own and is not counted apart",
			},
		},
		{
			"a local budget beside a NAT", "budgets: [{name: nat, model: linux}, {name: own, model: local}]",
			Machine{},
			[]string{
				"nat: linux, ports 64512/64512 effective 59351/59351, vips [] count 1 each false, range 0-0, nodes 0, netns 0, 0 in 0 out",
				"own: local, " + local + ", nodes 0, netns 0, 0 in 0 out",
			},
			nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := Parse("f.yaml", []byte(tt.yaml))
			if err != nil {
				t.Fatal(err)
			}
			budgets, notes, err := c.Resolve(tt.machine)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, b := range budgets {
				got = append(got, text(b))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("budgets (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.notes, notes); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
		})
	}
}

// Cool-downs, uniqueness, the kernel's eviction and its timeouts reach the model.
func TestResolveTerms(t *testing.T) {
	t.Parallel()
	c, err := Parse("f.yaml", []byte(`
budgets:
  - name: lb
    model: azure-lb
    nodes: 1
    tcp: {idle: 30m, half_open: 1m, cool_down: {fin: 1s, rst: 2s, timeout: 3s, idle: 4s, evicted: 5s, unknown: 6s}}
    udp: {unique: nothing}
    destinations: {include: [203.0.113.0/24]}
  - {name: nat, model: linux, netns: x}
  - {name: old, model: linux, evict_time_wait: false, netns: y}
  - {name: app, model: azure-app-service, netns: x}
`))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Resolve(Machine{Netns: map[string]uint64{"x": 1, "y": 2}}); err == nil {
		t.Fatal("lb counts in every namespace and overlaps the others: no error")
	}
	c.Budgets[0].Netns = "z"
	m := Machine{EvictsTimeWait: true, Netns: map[string]uint64{"x": 1, "y": 2, "z": 3}}
	m.Limits = collector.Limits{Netns: 2, Timeouts: map[string]time.Duration{"tcp_timeout_time_wait": 7 * time.Second}}
	budgets, _, err := c.Resolve(m)
	if err != nil {
		t.Fatal(err)
	}
	lb := budgets[0]
	want := [collector.NumReasons]time.Duration{6 * time.Second, time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second, 5 * time.Second}
	if lb.TCP.CoolDown != want || lb.TCP.Idle != 30*time.Minute || lb.TCP.HalfOpen != time.Minute || lb.UDP.Unique != budget.PerNothing {
		t.Errorf("lb: %+v, %+v", lb.TCP, lb.UDP)
	}
	if evicts, not := budgets[1].TCP.CoolDown[collector.FIN], budgets[2].TCP.CoolDown[collector.FIN]; evicts != 0 || not != 7*time.Second {
		t.Errorf("cool-down where the kernel evicts %v, where it does not %v", evicts, not)
	}
}

// Mistakes that only show when a model is resolved.
func TestResolveRefuses(t *testing.T) {
	t.Parallel()
	const overlap = "want budgets under one of which each flow counts: tell them apart by destinations, netns, or VIPs and port_range of model linux"
	tests := []struct {
		name, yaml string
		machine    Machine
		want       []string
	}{
		{
			name: "a pool of 1001 nodes", yaml: "budgets:\n- name: a\n  model: azure-lb\n  nodes: 1001\n",
			want: []string{"f.yaml:4: budgets[0].nodes: 1001: want 1 to 1000: the provider documents no allocation for other pool sizes"},
		},
		{
			name: "no pool size", yaml: "budgets:\n- name: a\n  model: azure-lb\n",
			want: []string{"f.yaml:2: budgets[0].nodes: 0: want 1 to 1000: the provider documents no allocation for other pool sizes"},
		},
		{
			name: "1001 nodes in the file", yaml: "budgets:\n- name: a\n  model: azure-lb\n  nodes_file: /n\n", machine: Machine{Nodes: map[string]int{"/n": 1001}},
			want: []string{"f.yaml:4: budgets[0].nodes_file: 1001 in /n: want 1 to 1000: the provider documents no allocation for other pool sizes"},
		},
		{
			name: "1001 nodes of auto", yaml: "budgets:\n- {name: a, model: auto, nodes: 1001}\n", machine: Machine{Cloud: cloud.Metadata{VIPs: addrs("203.0.113.1")}},
			want: []string{"f.yaml:2: budgets[0].nodes: 1001: want 1 to 1000: the provider documents no allocation for other pool sizes"},
		},
		{
			name: "VIP twice", yaml: "budgets:\n- name: a\n  model: linux\n  vips:\n  - 203.0.113.1\n  - 203.0.113.1\n",
			want: []string{"f.yaml:6: budgets[0].vips[1]: 203.0.113.1: want each VIP once"},
		},
		{
			name: "a VIP that is no address of its own", yaml: "budgets:\n- name: a\n  model: linux\n  vips: [0.0.0.0]\n",
			want: []string{"f.yaml:4: budgets[0].vips[0]: 0.0.0.0: want the address that SNAT puts on flows"},
		},
		{
			name: "destinations of another family than the VIPs", yaml: "budgets:\n- name: a\n  model: azure-lb\n  nodes: 1\n  vips: [198.51.100.1]\n  destinations: {include: [2001:db8::/32]}\n",
			want: []string{"f.yaml:6: budgets[0].destinations.include: [2001:db8::/32]: want destinations of the address family of vips, 198.51.100.1, some at least (vip_count says how many there are without their addresses)"},
		},
		{
			name: "a key of another model", yaml: "budgets:\n- name: a\n  model: aws-nat-gateway\n  retries: 3\n",
			want: []string{"f.yaml:4: budgets[0].retries: given: want no such key: aws-nat-gateway takes pool, nodes and vips"},
		},
		{
			name: "an idle timeout that the provider fixes", yaml: "budgets:\n- name: a\n  model: aws-nat-gateway\n  tcp: {idle: 60s}\n",
			want: []string{"f.yaml:4: budgets[0].tcp.idle: 1m0s: want 5m50s: the provider fixes it"},
		},
		{
			name: "two budgets for all", yaml: "budgets:\n- {name: a, model: aws-nat-gateway}\n- {name: b, model: static, ports: 100}\n",
			want: []string{"f.yaml:3: budgets[1]: b overlaps a: " + overlap},
		},
		{
			name: "two NATs of this machine for all", yaml: "budgets:\n- {name: a, model: linux}\n- {name: b, model: cilium}\n",
			want: []string{"f.yaml:3: budgets[1]: b overlaps a: " + overlap},
		},
		{
			name: "destinations within another's", yaml: "budgets:\n- {name: a, model: aws-nat-gateway}\n- {name: b, model: azure-app-service, destinations: {include: [203.0.113.0/24]}}\n",
			want: []string{"f.yaml:3: budgets[1]: b overlaps a: " + overlap},
		},
		{
			name: "all mistakes", yaml: "budgets:\n- {name: a, model: azure-lb, nodes: 1001}\n- {name: b, model: static}\n",
			want: []string{
				"f.yaml:2: budgets[0].nodes: 1001: want 1 to 1000: the provider documents no allocation for other pool sizes",
				"f.yaml:3: budgets[1].ports: missing: want the ports of one port space, 1 to 16777216",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := Parse("f.yaml", []byte(tt.yaml))
			if err != nil {
				t.Fatal(err)
			}
			budgets, _, err := c.Resolve(tt.machine)
			if got, want := fmt.Sprint(err), strings.Join(tt.want, "\n"); got != want || budgets != nil {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}
