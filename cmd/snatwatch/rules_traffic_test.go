package main

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// uplinks gives ns an address inside, 10.1.0.5, two ways out, and a route by each: 198.18.0.0/16 by eth0,
// 198.19.0.0/16 by eth1.
func uplinks(t *testing.T, ns *netns.Handle) {
	t.Helper()
	err := ns.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		inside := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 1, 0, 5), Mask: net.CIDRMask(32, 32)}}
		if err := netlink.AddrAdd(lo, inside); err != nil {
			return err
		}
		for i, address := range []string{"192.0.2.10/24", "203.0.113.9/24"} {
			name := fmt.Sprintf("eth%d", i)
			link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "to-" + name}
			if err := netlink.LinkAdd(link); err != nil {
				return err
			}
			a, err := netlink.ParseAddr(address)
			if err != nil {
				return err
			}
			if err := netlink.AddrAdd(link, a); err != nil {
				return err
			}
			peer, err := netlink.LinkByName("to-" + name)
			if err != nil {
				return err
			}
			for _, l := range []netlink.Link{link, peer} {
				if err := netlink.LinkSetUp(l); err != nil {
					return err
				}
			}
			_, to, _ := net.ParseCIDR(fmt.Sprintf("198.%d.0.0/16", 18+i))
			if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: to, Scope: netlink.SCOPE_LINK}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// openSome sends the first packet of n flows of a protocol from inside to a destination; nobody answers.
func openSome(t *testing.T, ns *netns.Handle, n int, protocol, to string) {
	t.Helper()
	openFrom(t, ns, n, protocol, "10.1.0.5", 0, to)
}

// openFrom does so from an address, and from the n ports from first on, where that is not 0.
func openFrom(t *testing.T, ns *netns.Handle, n int, protocol, from string, first int, to string) {
	t.Helper()
	kind := unix.SOCK_STREAM
	if protocol == "udp" {
		kind = unix.SOCK_DGRAM
	}
	a, err := net.ResolveTCPAddr("tcp4", to)
	if err != nil {
		t.Fatal(err)
	}
	err = ns.Do(func() error {
		for i := range n {
			port := 0
			if first != 0 {
				port = first + i
			}
			fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = unix.Close(fd) })
			if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: netip.MustParseAddr(from).As4()}); err != nil {
				return err
			}
			err = unix.Connect(fd, &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())})
			if kind == unix.SOCK_DGRAM && err == nil {
				_, err = unix.Write(fd, []byte("x"))
			}
			if err != nil && err != unix.EINPROGRESS && err != unix.EPERM { // no port left
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// loadRules has a tool load rules.
func loadRules(t *testing.T, ns *netns.Handle, tool, rules string) {
	t.Helper()
	path := kerneltest.Program(t, tool, "nftables iptables")
	args := map[string][]string{"nft": {"-f", "-"}}[tool]
	err := ns.Do(func() error {
		cmd := exec.Command(path, args...)
		cmd.Stdin = strings.NewReader(rules)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// heldByConntrack counts the flows of conntrack -L by protocol, VIP and destination.
func heldByConntrack(t *testing.T, ns *netns.Handle) map[string]int {
	t.Helper()
	path := kerneltest.Program(t, "conntrack", "conntrack")
	var out []byte
	err := ns.Do(func() (err error) {
		out, err = exec.Command(path, "-L").Output()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	held := map[string]int{}
	line := regexp.MustCompile(`^(tcp|udp) .*? src=\S+ dst=(198\.\S+) sport=\d+ dport=(\d+) .*src=\S+ dst=(\S+) sport=\d+ dport=\d+`)
	for text := range strings.Lines(string(out)) {
		if m := line.FindStringSubmatch(text); m != nil {
			held[m[1]+" "+m[4]+" "+m[2]+":"+m[3]]++
		}
	}
	return held
}

// Flows that real rules translate are held where conntrack -L shows them: by VIP and destination.
func TestKernelRulesMeetTraffic(t *testing.T) {
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	const several = "*"
	tests := []struct {
		name, tool, rules string
		// vips are those of the budgets that have one and do not show it as a label.
		vips map[string]string
	}{
		{
			"two rules of one address", "iptables-nft-restore",
			"*nat\n-A POSTROUTING -p udp -j MASQUERADE --to-ports 40000-49999\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n", nil,
		},
		{
			"two uplinks", "iptables-nft-restore",
			"*nat\n-A POSTROUTING -o eth0 -j MASQUERADE\n-A POSTROUTING -o eth1 -j MASQUERADE\n-A POSTROUTING -o ppp0 -j MASQUERADE\nCOMMIT\n", nil,
		},
		{
			"spread by numgen over ranges", "nft",
			"table ip n {\n chain post {\n type nat hook postrouting priority 100\n" +
				" meta l4proto { tcp, udp } snat ip to numgen inc mod 2 map { 0 : 198.51.100.1 . 1024-2047, 1 : 198.51.100.2 . 4096-8191 }\n }\n}\n",
			map[string]string{"auto": several},
		},
		{
			"a VIP by destination, the rest by masquerade", "iptables-nft-restore",
			"*nat\n-A POSTROUTING -d 198.18.0.1/32 -j SNAT --to-source 198.51.100.7\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n",
			map[string]string{"auto-198.51.100.7": "198.51.100.7"},
		},
		{
			"iptables-legacy", "iptables-legacy-restore",
			"*nat\n:OUT - [0:0]\n-A POSTROUTING -o eth0 -g OUT\n-A POSTROUTING -j MASQUERADE\n" +
				"-A OUT -p tcp -j SNAT --to-source 198.51.100.9:1024-2047\n-A OUT -j MASQUERADE\nCOMMIT\n",
			map[string]string{"auto-198.51.100.9:1024-2047": "198.51.100.9"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ns := kerneltest.Netns(t)
			uplinks(t, ns)
			loadRules(t, ns, tt.tool, tt.rules)
			a := startAgent(t, "--netns", fmt.Sprintf("/proc/self/fd/%d", ns.FD()), "--source=conntrack", "--poll-interval=500ms", "--strategy=poll", "--cpu-budget=1")
			a.eventually("it is ready", func() bool { status, _ := a.get(http.MethodGet, "/-/ready"); return status == http.StatusOK })
			for i, n := range []int{30, 20} {
				for _, protocol := range []string{"tcp", "udp"} {
					openSome(t, ns, n, protocol, fmt.Sprintf("198.%d.0.1:443", 18+i))
					openSome(t, ns, n/2, protocol, fmt.Sprintf("198.%d.0.2:53", 18+i))
				}
			}
			var want, got map[string]int
			a.eventually("flows are held where conntrack shows them", func() bool {
				want, got = heldByConntrack(t, ns), map[string]int{}
				for _, m := range regexp.MustCompile(
					`(?m)^snat_ports_live\{budget="(.*?)",destination="(198.*?)",gateway="",protocol="(.*?)",vip="(.*?)"\} (\d+)$`).FindAllStringSubmatch(a.metrics(), -1) {
					vip, n := m[4], 0
					if vip == "" {
						vip = tt.vips[m[1]]
					}
					_, _ = fmt.Sscan(m[5], &n)
					got[m[3]+" "+vip+" "+m[2]] += n
				}
				if tt.vips["auto"] == several { // one port space: conntrack's VIPs together
					all := map[string]int{}
					for k, n := range want {
						words := strings.Fields(k)
						all[words[0]+" "+several+" "+words[2]] += n
					}
					want = all
				}
				return len(want) >= 8 && cmp.Equal(want, got)
			})
			a.stop()
		})
	}
}
