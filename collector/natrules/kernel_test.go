package natrules_test

import (
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/natrules"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

func addrs(texts ...string) []netip.Addr {
	var as []netip.Addr
	for _, s := range texts {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

// wide is what the tests' rules pick from.
func wide() collector.PortRange { return collector.PortRange{First: 1024, Last: 2047} }

// read reads the rules of ns and drops where they stand.
func read(t *testing.T, ns *netns.Handle) natrules.Ruleset {
	t.Helper()
	s, err := natrules.Read(ns)
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Rules {
		if s.Rules[i].Table == "" || s.Rules[i].Chain == "" || s.Rules[i].Handle == 0 {
			t.Errorf("%v: does not say where it stands", s.Rules[i])
		}
		s.Rules[i].Table, s.Rules[i].Chain, s.Rules[i].Handle = "", "", 0
	}
	return s
}

func compare(t *testing.T, want, got []natrules.Rule) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}

// packages are Debian's, by program.
func packages() map[string]string {
	return map[string]string{
		"nft": "nftables", "iptables-nft": "iptables", "ip6tables-nft": "iptables",
		"iptables-legacy-restore": "iptables", "ip6tables-legacy-restore": "iptables",
	}
}

// command runs a tool inside ns, or skips the test where there is no such tool.
func command(t *testing.T, ns *netns.Handle, stdin, name string, args ...string) {
	t.Helper()
	run(t, ns, stdin, kerneltest.Program(t, name, packages()[name]), args...)
}

// run runs a program inside ns.
func run(t testing.TB, ns *netns.Handle, stdin, path string, args ...string) {
	t.Helper()
	err := ns.Do(func() error {
		cmd := exec.Command(path, args...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Logf("%s %s: %s", path, strings.Join(args, " "), out)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Rules as nft writes them: what each gives out.
func TestKernelNft(t *testing.T) {
	t.Parallel()
	const one, two = "198.51.100.1", "198.51.100.2"
	tests := []struct {
		name, rule string
		want       []natrules.Rule
		problem    string
		remark     string
	}{
		{name: "nothing about sources", rule: "ip protocol tcp counter accept"},
		{
			name: "one VIP", rule: "snat to 198.51.100.1",
			want: []natrules.Rule{{VIPs: addrs(one), TCP: true, UDP: true}},
		},
		{
			name: "one VIP and a port range", rule: "ip protocol tcp snat to 198.51.100.1:1024-2047",
			want: []natrules.Rule{{VIPs: addrs(one), Ports: wide(), TCP: true}},
		},
		{
			name: "one port", rule: "ip protocol udp snat to 198.51.100.1:5000",
			want: []natrules.Rule{{VIPs: addrs(one), Ports: collector.PortRange{First: 5000, Last: 5000}, UDP: true}},
		},
		{
			name: "both protocols by a set", rule: "meta l4proto { tcp, udp } snat to 198.51.100.1:1024-2047",
			want: []natrules.Rule{{VIPs: addrs(one), Ports: wide(), TCP: true, UDP: true}},
		},
		{
			name: "all protocols but one", rule: "meta l4proto != tcp snat to 198.51.100.1",
			want: []natrules.Rule{{VIPs: addrs(one), UDP: true}},
		},
		{name: "another protocol", rule: "meta l4proto sctp snat to 198.51.100.1"},
		{
			name: "an IP range hashes to one VIP", rule: "meta l4proto tcp snat to 198.51.100.1-198.51.100.3:1024-2047 persistent",
			want: []natrules.Rule{{VIPs: addrs(one, two, "198.51.100.3"), Ports: wide(), SpacePerVIP: true, TCP: true}},
		},
		{
			name: "numgen picks again for each try", rule: "meta l4proto tcp snat to numgen inc mod 2 map { 0 : 198.51.100.1, 1 : 198.51.100.2 }:1024-2047",
			want: []natrules.Rule{{VIPs: addrs(one, two), Ports: wide(), TCP: true}},
		},
		{
			name: "numgen with weights", rule: "meta l4proto tcp snat to numgen random mod 10 map { 0-6 : 198.51.100.1, 7-9 : 198.51.100.2 }:1024-2047",
			want: []natrules.Rule{{VIPs: addrs(one, two), Ports: wide(), TCP: true}},
		},
		{
			name: "numgen with ports in the map", rule: "meta l4proto tcp snat ip to numgen random mod 2 map { 0 : 198.51.100.1 . 1024-2047, 1 : 198.51.100.2 . 1024-2047 }",
			want: []natrules.Rule{{VIPs: addrs(one, two), Ports: wide(), TCP: true}},
		},
		{
			name: "numgen with different ports", rule: "meta l4proto tcp snat ip to numgen random mod 2 map { 0 : 198.51.100.1 . 1024-2047, 1 : 198.51.100.2 . 2048-4095 }",
			want: []natrules.Rule{{
				VIPs: addrs(one, two), Ports: collector.PortRange{First: 1024, Last: 4095}, TCP: true,
				Pools: []natrules.Pool{
					{VIP: addrs(one)[0], Ports: wide()},
					{VIP: addrs(two)[0], Ports: collector.PortRange{First: 2048, Last: 4095}},
				},
			}},
		},
		{
			name: "jhash gives the same VIP again", rule: "meta l4proto tcp snat to jhash ip saddr . tcp sport mod 2 map { 0 : 198.51.100.1, 1 : 198.51.100.2 }:1024-2047",
			want: []natrules.Rule{{VIPs: addrs(one, two), Ports: wide(), SpacePerVIP: true, TCP: true}},
		},
		{
			name: "a VIP for each source", rule: "snat to ip saddr map { 10.0.0.1 : 198.51.100.1, 10.0.0.2 : 198.51.100.2 }",
			want: []natrules.Rule{{VIPs: addrs(one, two), SpacePerVIP: true, TCP: true, UDP: true}},
		},
		{
			name: "ports for each source", rule: "meta l4proto tcp snat ip to ip saddr map { 10.0.0.1 : 198.51.100.1 . 1024-2047, 10.0.0.2 : 198.51.100.1 . 2048-3071 }",
			want: []natrules.Rule{
				{VIPs: addrs(one), Ports: wide(), TCP: true},
				{VIPs: addrs(one), Ports: collector.PortRange{First: 2048, Last: 3071}, TCP: true},
			},
		},
		{
			name: "a range for each source", rule: "snat ip to ip saddr map { 10.0.0.1 : 198.51.100.1-198.51.100.2 }",
			want: []natrules.Rule{{VIPs: addrs(one, two), SpacePerVIP: true, TCP: true, UDP: true}},
		},
		{
			name: "masquerade on any interface", rule: "masquerade fully-random",
			want: []natrules.Rule{{Masquerade: true, SpacePerVIP: true, TCP: true, UDP: true}},
		},
		{
			name: "masquerade to ports", rule: `oifname "up0" meta l4proto tcp masquerade to :1024-2047`,
			want: []natrules.Rule{{Masquerade: true, VIPs: addrs("192.0.2.1"), Ports: wide(), TCP: true}},
		},
		{
			name: "the kernel's default range spelled out", rule: `meta l4proto tcp masquerade to :1024-65535`,
			want: []natrules.Rule{{Masquerade: true, SpacePerVIP: true, TCP: true}},
		},
		{
			name: "masquerade beside snat has the interface's address", rule: `meta l4proto udp snat to 198.51.100.1; oifname "up0" masquerade`,
			want: []natrules.Rule{{VIPs: addrs(one), UDP: true}, {Masquerade: true, VIPs: addrs("192.0.2.1"), TCP: true}},
		},
		{
			name: "interface by index and by wildcard", rule: `oif "up1" meta l4proto tcp masquerade to :1024-2047; oifname "up*" masquerade`,
			want: []natrules.Rule{
				// 192.0.2.10 is a secondary address, which masquerade does not take.
				{Masquerade: true, VIPs: addrs("192.0.2.9"), Ports: wide(), TCP: true},
				{Masquerade: true, VIPs: addrs("192.0.2.1", "192.0.2.9"), SpacePerVIP: true, TCP: true, UDP: true},
			},
		},
		{
			name: "masquerade on the rest", rule: `meta l4proto tcp snat to 192.0.2.9:1024-2047; masquerade`,
			want: []natrules.Rule{
				{VIPs: addrs("192.0.2.9"), Ports: wide(), TCP: true},
				{Masquerade: true, SpacePerVIP: true, UDP: true},
			},
		},
		{
			name: "a prefix one to one", rule: "snat ip prefix to ip saddr map { 10.0.0.0/24 : 198.51.100.0/24 }",
			remark: "translates a prefix one to one: it holds no ports",
		},
		{
			name: "more addresses than are listed", rule: "snat to 198.18.0.0-198.19.255.255",
			problem: "198.18.0.0-198.19.255.255 is more than 4096 addresses",
		},
		{name: "dnat and redirect leave sources alone", rule: "meta l4proto tcp accept"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ns := kerneltest.Netns(t)
			kerneltest.Uplink(t, ns, "up0", "192.0.2.1/29")
			kerneltest.Uplink(t, ns, "up1", "192.0.2.9/29", "192.0.2.10/29")
			command(t, ns, `table ip router {
				chain before { type nat hook prerouting priority -100; tcp dport 80 dnat to 10.0.0.1; tcp dport 81 redirect to :8080; }
				chain after { type nat hook postrouting priority 100; jump rules; }
				chain rules { `+tt.rule+`; }
			}`, "nft", "-f", "-")
			s := read(t, ns)
			compare(t, tt.want, s.Rules)
			if got := strings.Join(s.Remarks, "\n"); !strings.HasSuffix(got, tt.remark) || tt.remark == "" && got != "" {
				t.Errorf("remarks %q, want one: %q", got, tt.remark)
			}
			if tt.problem == "" && s.Unknown == 0 {
				return
			}
			if s.Unknown != 1 || len(s.Problems) != 1 || !strings.HasPrefix(s.Problems[0], "table ip router, chain rules, handle ") || !strings.HasSuffix(s.Problems[0], ": "+tt.problem) {
				t.Errorf("%d not understood: %q, want one: %q", s.Unknown, s.Problems, tt.problem)
			}
		})
	}
}

// IPv6, the inet family, and tables that cannot translate.
func TestKernelNftFamilies(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	kerneltest.Uplink(t, ns, "up0", "192.0.2.1/24", "2001:db8:1::1/64")
	command(t, ns, `
		table ip6 six {
			chain c { type nat hook postrouting priority 100; meta l4proto tcp snat to [2001:db8::1]-[2001:db8::2]:1024-2047; meta l4proto tcp oifname "up0" masquerade; }
		}
		table inet both {
			chain c {
				type nat hook postrouting priority 100
				meta l4proto tcp snat ip to 198.51.100.1:1024-2047
				meta l4proto udp snat ip6 to numgen inc mod 2 map { 0 : 2001:db8::3, 1 : 2001:db8::4 }
			}
		}
		table inet filter {
			chain c { type filter hook forward priority 0; counter; }
		}
		table bridge b {
			chain c { type filter hook forward priority 0; counter; }
		}
	`, "nft", "-f", "-")
	s := read(t, ns)
	compare(t, []natrules.Rule{ // of chains with the same priority the last one made runs first
		{VIPs: addrs("198.51.100.1"), Ports: wide(), TCP: true},
		{VIPs: addrs("2001:db8::3", "2001:db8::4"), UDP: true},
		{VIPs: addrs("2001:db8::1", "2001:db8::2"), Ports: wide(), SpacePerVIP: true, TCP: true},
	}, s.Rules)
	if s.Shadowed != 1 {
		t.Errorf("%d shadowed, want the masquerade rule of IPv6 behind snat", s.Shadowed)
	}
	if s.Unknown != 0 {
		t.Errorf("not understood: %q", s.Problems)
	}
}

// A masquerade rule of the inet family gives an address of each family that it is for.
func TestKernelNftMasqueradeOfBothFamilies(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		match string
		want  []natrules.Rule
	}{
		"of both": {"", []natrules.Rule{
			{VIPs: addrs("192.0.2.1"), Masquerade: true, TCP: true, UDP: true},
			{VIPs: addrs("2001:db8:1::1"), Masquerade: true, TCP: true, UDP: true},
		}},
		"of IPv6 alone":     {"meta nfproto ipv6", []natrules.Rule{{VIPs: addrs("2001:db8:1::1"), Masquerade: true, TCP: true, UDP: true}}},
		"of an IPv6 source": {`ip6 saddr 2001:db8::/64`, []natrules.Rule{{VIPs: addrs("2001:db8:1::1"), Masquerade: true, TCP: true, UDP: true}}},
		"of an IPv4 source": {"ip saddr 10.0.0.0/8", []natrules.Rule{{VIPs: addrs("192.0.2.1"), Masquerade: true, TCP: true, UDP: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := kerneltest.Netns(t)
			kerneltest.Uplink(t, ns, "up0", "192.0.2.1/24", "2001:db8:1::1/64")
			command(t, ns, `
				table ip first {
					chain c { type nat hook postrouting priority 99; ip daddr 203.0.113.1 snat to 198.51.100.1; }
				}
				table inet both {
					chain c { type nat hook postrouting priority 100; oifname "up0" `+tt.match+` masquerade; }
				}
			`, "nft", "-f", "-")
			compare(t, append([]natrules.Rule{{VIPs: addrs("198.51.100.1"), TCP: true, UDP: true}}, tt.want...), read(t, ns).Rules)
		})
	}
}

// The same targets as iptables-nft writes them.
func TestKernelIptables(t *testing.T) {
	t.Parallel()
	kerneltest.Program(t, "iptables-nft", packages()["iptables-nft"])
	ns := kerneltest.Netns(t)
	kerneltest.Uplink(t, ns, "up0", "192.0.2.1/24", "2001:db8:1::1/64")
	for _, rule := range []string{
		"iptables-nft -t nat -A POSTROUTING -o up0 -p tcp -j MASQUERADE --to-ports 1024-2047 --random-fully",
		"iptables-nft -t nat -A POSTROUTING ! -o docker0 -s 172.17.0.0/16 -j MASQUERADE",
		"iptables-nft -t nat -A POSTROUTING -s 10.1.0.0/16 -j SNAT --to-source 198.51.100.1-198.51.100.3",
		"iptables-nft -t nat -A POSTROUTING -s 10.2.0.0/16 -p udp -j SNAT --to-source 198.51.100.1:1024-2047",
		"iptables-nft -t nat -A PREROUTING -p udp -j DNAT --to-destination 198.51.100.1:1024-2047",
		"iptables-nft -t nat -A POSTROUTING -s 10.0.0.0/24 -j NETMAP --to 198.51.100.0/24",
		"ip6tables-nft -t nat -A POSTROUTING -s fd00::/64 -p tcp -j SNAT --to-source [2001:db8::1]:1024-2047",
		"ip6tables-nft -t nat -A POSTROUTING -p tcp -o up+ -j MASQUERADE --to-ports 3000",
	} {
		args := strings.Fields(rule)
		command(t, ns, "", args[0], args[1:]...)
	}
	s := read(t, ns)
	compare(t, []natrules.Rule{
		{VIPs: addrs("2001:db8::1"), Ports: wide(), TCP: true},
		{VIPs: addrs("2001:db8:1::1"), Masquerade: true, Ports: collector.PortRange{First: 3000, Last: 3000}, TCP: true},
		{VIPs: addrs("192.0.2.1"), Masquerade: true, Ports: wide(), TCP: true},
		{Masquerade: true, SpacePerVIP: true, TCP: true, UDP: true},
		{VIPs: addrs("198.51.100.1", "198.51.100.2", "198.51.100.3"), SpacePerVIP: true, TCP: true, UDP: true},
		{VIPs: addrs("198.51.100.1"), Ports: wide(), UDP: true},
	}, s.Rules)
	if s.Unknown != 0 || len(s.Remarks) != 1 || !strings.Contains(s.Remarks[0], "NETMAP") {
		t.Errorf("%d not understood: %q, remarks %q, want one of NETMAP", s.Unknown, s.Problems, s.Remarks)
	}
}

// A namespace without rules.
func TestKernelNone(t *testing.T) {
	t.Parallel()
	if s := read(t, kerneltest.Netns(t)); len(s.Rules) != 0 || s.Unknown != 0 {
		t.Errorf("empty namespace: %+v", s)
	}
}

func TestRuleString(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rule natrules.Rule
		want string
	}{
		{natrules.Rule{Table: "ip nat", Chain: "post", Handle: 4, Masquerade: true}, "masquerade (table ip nat, chain post, handle 4)"},
		{natrules.Rule{Table: "ip nat", Chain: "post", Handle: 4, VIPs: addrs("198.51.100.1"), Ports: wide()}, "snat 198.51.100.1 ports 1024-2047 (table ip nat, chain post, handle 4)"},
		{natrules.Rule{VIPs: slices.Repeat(addrs("198.51.100.1"), 9)}, "snat 198.51.100.1 198.51.100.1 198.51.100.1 … (9 VIPs) (table , chain , handle 0)"},
	}
	for _, tt := range tests {
		if got := tt.rule.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
