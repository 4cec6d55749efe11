package lab

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
)

func TestMissing(t *testing.T) {
	t.Parallel()
	none := netns.Capabilities(0)
	admin, net := none.With(netns.SysAdmin), none.With(netns.NetAdmin)
	for _, tt := range []struct {
		name string
		have netns.Capabilities
		says []string // nothing: nothing is missing
		not  string
	}{
		{"root", ^none, nil, ""},
		{"both", admin.With(netns.NetAdmin), nil, ""},
		{"none", none, []string{"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "run it as root"}, "\n"},
		{"no namespaces", net, []string{"CAP_SYS_ADMIN (to make network namespaces)"}, "CAP_NET_ADMIN"},
		{"no links", admin, []string{"CAP_NET_ADMIN (to set up links"}, "CAP_SYS_ADMIN"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := missing(tt.have)
			if (err == nil) != (len(tt.says) == 0) {
				t.Fatalf("missing: %v", err)
			}
			for _, s := range tt.says {
				if !strings.Contains(err.Error(), s) || strings.Contains(err.Error(), tt.not) {
					t.Errorf("%q does not say %q, or says %q", err, s, tt.not)
				}
			}
		})
	}
}

func TestNetstat(t *testing.T) {
	t.Parallel()
	const text = "TcpExt: SyncookiesSent TCPSynRetrans\nTcpExt: 7 152\nIpExt: InNoRoutes TCPSynRetrans\nIpExt: 1 2\n"
	for _, tt := range []struct {
		name, text, counter string
		want                uint64
		bad                 bool
	}{
		{"found", text, "TCPSynRetrans", 152, false},
		{"unknown counter", text, "TCPTimeouts", 0, true},
		{"values missing", "TcpExt: SyncookiesSent TCPSynRetrans\nTcpExt: 7\n", "TCPSynRetrans", 0, true},
		{"no number", "TcpExt: TCPSynRetrans\nTcpExt: x\n", "TCPSynRetrans", 0, true},
		{"empty", "", "TCPSynRetrans", 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := netstat(tt.text, "TcpExt:", tt.counter)
			if got != tt.want || (err != nil) != tt.bad {
				t.Errorf("%d, %v; want %d, error %v", got, err, tt.want, tt.bad)
			}
		})
	}
}

func TestCheckRule(t *testing.T) {
	t.Parallel()
	a, c := VIP(0), VIP(2)
	for _, tt := range []struct {
		name string
		rule NAT
		says string // empty: fine
	}{
		{"one VIP", NAT{VIPs: []netip.Addr{a}, Ports: testPorts}, ""},
		{"map with a gap", NAT{Form: Numgen, VIPs: []netip.Addr{a, c}, Ports: testPorts}, ""},
		{"masquerade", NAT{Form: Masquerade}, ""},
		{"no VIP", NAT{Ports: testPorts}, "no VIP"},
		{"no ports", NAT{VIPs: []netip.Addr{a}}, "is no range"},
		{"upside down", NAT{VIPs: []netip.Addr{a}, Ports: collector.PortRange{First: 2, Last: 1}}, "2-1 is no range"},
		{"range with a gap", NAT{VIPs: []netip.Addr{a, c}, Ports: testPorts}, "198.51.100.3 does not follow 198.51.100.1"},
		{"two families", NAT{Form: Numgen, VIPs: []netip.Addr{a, vip6(0)}, Ports: testPorts}, "two families"},
		{"node beyond the last", NAT{Nodes: []int{1, 2}, Form: Masquerade}, "node 2 of 2"},
		{"masquerade with ports", NAT{Form: Masquerade, Ports: testPorts}, "neither VIPs nor ports"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.rule.check(2)
			if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v, want %q", err, tt.says)
			}
		})
	}
}

func TestReuseKnowsBothKernels(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		n    int
		ok   bool
	}{
		{"evicts", 981, true},
		{"evicts too few", 700, false},
		{"holds", 24, true},
		{"holds too few", 300, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if want, means := reuse(tt.n); want.holds(float64(tt.n)) != tt.ok || means == "" {
				t.Errorf("%d: expected %v, %q", tt.n, want, means)
			}
		})
	}
}

// vip6 is the i-th public IPv6 address.
func vip6(i int) netip.Addr { return addr6(0x5100, byte(i+1)) }
