package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// liveByBudget returns the live ports of a budget's TCP by VIP and destination, as the agent shows them.
func (a *runningAgent) liveByBudget(budget string) map[string]int {
	got := map[string]int{}
	line := regexp.MustCompile(`(?m)^snat_ports_live\{budget="` + regexp.QuoteMeta(budget) +
		`",destination="(198.*?)",gateway="",protocol="tcp",vip="(.*?)"\} (\d+)$`)
	for _, m := range line.FindAllStringSubmatch(a.metrics(), -1) {
		n := 0
		if _, _ = fmt.Sscan(m[3], &n); n > 0 {
			got[m[2]+" "+m[1]] += n
		}
	}
	return got
}

// watchNetns starts an agent in a namespace with a config.
func watchNetns(t *testing.T, ns *netns.Handle, config string) *runningAgent {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	a := startAgent(t, "--config", path, "--netns", fmt.Sprintf("/proc/self/fd/%d", ns.FD()),
		"--source=conntrack", "--poll-interval=500ms", "--strategy=poll", "--cpu-budget=1")
	a.eventually("it is ready", func() bool { status, _ := a.get(http.MethodGet, "/-/ready"); return status == http.StatusOK })
	return a
}

// neighbour enters a hardware address for an address that no machine has. First packets to it then leave and get no
// answer, and no ARP request fails.
func neighbour(t *testing.T, ns *netns.Handle, link, address string) {
	t.Helper()
	err := ns.Do(func() error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		return netlink.NeighAdd(&netlink.Neigh{
			LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT,
			IP: net.ParseIP(address), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1},
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The machine's own flows hold ports of the VIP although conntrack does not mark them as translated: the space is full
// when they and the translated ones have all ports. They hold ephemeral ports of the machine too.
func TestKernelOwnFlowsHoldPortsOfTheVIP(t *testing.T) {
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	t.Parallel()
	ns := kerneltest.Netns(t)
	uplinks(t, ns)
	loadRules(t, ns, "iptables-nft-restore", "*nat\n-A POSTROUTING -o eth0 -p tcp -j MASQUERADE --to-ports 40000-41023\nCOMMIT\n")
	a := watchNetns(t, ns, "cloud_metadata: false\n")
	const to = "198.18.0.1:443"
	const own, ports = 300, 1024
	neighbour(t, ns, "eth0", "198.18.0.1")
	openFrom(t, ns, own, "tcp", "192.0.2.10", 40000, to)
	for tries := 0; heldByConntrack(t, ns)["tcp 192.0.2.10 "+to] < ports && tries < 100; tries++ {
		openSome(t, ns, 100, "tcp", to)
	}
	var want, got, local map[string]int
	a.eventually("the space is full", func() bool {
		want = map[string]int{" " + to: heldByConntrack(t, ns)["tcp 192.0.2.10 "+to]}
		got, local = a.liveByBudget("auto"), a.liveByBudget("auto-local")
		return cmp.Equal(want, got) && got[" "+to] == ports && local["192.0.2.10 "+to] == own
	})
	a.stop()
}

// Behind a rule that masquerades to the node's own address the cloud translates again: each flow takes a port in both
// stages, the node's own flows in the cloud's too.
func TestKernelFlowsCountInBothStages(t *testing.T) {
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	t.Parallel()
	ns := kerneltest.Netns(t)
	uplinks(t, ns)
	// What docker loads.
	loadRules(t, ns, "iptables-nft-restore", "*nat\n-A POSTROUTING -s 10.1.0.0/16 ! -o docker0 -j MASQUERADE\nCOMMIT\n")
	a := watchNetns(t, ns, "cloud_metadata: false\nbudgets:\n- {name: auto, model: auto}\n"+
		"- {name: lb, model: azure-lb, nodes: 40, vips: [20.0.0.1], destinations: {include: [198.18.0.0/15]}}\n")
	openSome(t, ns, 50, "tcp", "198.18.0.1:443")
	openSome(t, ns, 20, "tcp", "198.19.0.1:443")
	openFrom(t, ns, 30, "tcp", "192.0.2.10", 0, "198.18.0.1:443")
	openFrom(t, ns, 10, "tcp", "192.0.2.10", 0, "198.18.0.9:443")
	a.eventually("flows count in both stages", func() bool {
		node, cloud := map[string]int{}, map[string]int{}
		for k, n := range heldByConntrack(t, ns) {
			var protocol, vip, to string
			if _, err := fmt.Sscan(k, &protocol, &vip, &to); err == nil && protocol == "tcp" {
				node[vip+" "+to] += n
				cloud[" "+to] += n
			}
		}
		return len(node) == 3 && cmp.Equal(node, a.liveByBudget("auto")) && cmp.Equal(cloud, a.liveByBudget("lb")) &&
			cloud[" 198.18.0.1:443"] == 80
	})
	a.stop()
}
