package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// A server with an address that no default leaves out, as behind a load balancer that keeps the destination, is no client:
// what comes in takes no port of the NAT further out, in conntrack as among sockets. Nor does it after the address moved here
// while the agent runs.
func TestKernelInboundTakesNoPorts(t *testing.T) {
	t.Parallel()
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	peer, ns, far := kerneltest.Gateway(t, `table ip t { chain c { type filter hook input priority 0; ct state established accept; }; }`)
	const ours, theirs = "198.51.100.9", "203.0.113.50"
	kerneltest.Command(t, ns, "ip", "address", "add", ours+"/32", "dev", "lo")
	kerneltest.Command(t, far, "ip", "address", "add", theirs+"/32", "dev", "lo")
	kerneltest.Command(t, ns, "ip", "route", "add", theirs+"/32", "via", "10.82.0.2")
	listen := func(h *netns.Handle, address string) string {
		var l net.Listener
		if err := h.Do(func() (err error) { l, err = net.Listen("tcp4", address); return err }); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l.Addr().String()
	}
	connect := func(h *netns.Handle, to string, n int) {
		for range n {
			var c net.Conn
			if err := h.Do(func() (err error) { c, err = net.Dial("tcp4", to); return err }); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	server, service := listen(ns, ours+":0"), listen(far, theirs+":0")
	config := filepath.Join(t.TempDir(), "snatwatch.yaml")
	text := "budgets: [{name: far, model: gcp-nat-static, ports: 64, vips: [192.0.2.1]}]\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a := startAgent(t, "--config", config, fmt.Sprintf("--netns=/proc/self/fd/%d", ns.FD()), "--source=conntrack", "--strategy=poll",
		"--poll-interval=200ms", "--cpu-budget=1")
	a.eventually("it is ready", func() bool { return a.value(fmt.Sprintf(`snat_ledger_exact{netns="%d"}`, ns.Inode())) == 1 })
	connect(peer, server, 30)
	connect(ns, service, 5)
	opened := func() float64 { return a.value(`snat_flows_opened_total{budget="far",protocol="tcp"}`) }
	a.eventually("flows that leave are counted", func() bool { return opened() >= 5 })
	if got := opened(); got != 5 {
		t.Errorf("%v flows opened, want 5", got)
	}
	if got := a.value(`snat_busiest_ports_held{budget="far",protocol="tcp"}`); got != 5 {
		t.Errorf("%v ports held, want 5", got)
	}

	const moved = "198.51.100.10"
	kerneltest.Command(t, ns, "ip", "address", "add", moved+"/32", "dev", "lo")
	server = listen(ns, moved+":0")
	connect(peer, server, 30)
	connect(ns, service, 5)
	a.eventually("the address is known", func() bool {
		return a.value(`snat_busiest_ports_held{budget="far",protocol="tcp"}`) == 10 && opened() >= 10
	})
}
