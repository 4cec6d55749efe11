package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/lab"
)

// connectFrom opens n sockets in h to a destination, bound to an address and the kernel's choice of a port before if bound says
// so. It returns how many found a port; those that did not are closed.
func connectFrom(t *testing.T, h *lab.Host, n int, bound bool, to netip.AddrPort) (open int) {
	t.Helper()
	for range n {
		fd, err := h.Socket(unix.AF_INET)
		if err != nil {
			t.Fatal(err)
		}
		if bound {
			err = unix.Bind(fd, &unix.SockaddrInet4{Addr: h.Addr.As4()})
		}
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
		}
		switch {
		case err == nil, errors.Is(err, unix.EINPROGRESS):
			open++
			t.Cleanup(func() { _ = unix.Close(fd) })
		case errors.Is(err, unix.EADDRNOTAVAIL):
			_ = unix.Close(fd)
		default:
			t.Fatal(err)
		}
	}
	return open
}

// agentOn runs an agent where flows of h leave, with one budget.
func agentOn(t *testing.T, h *lab.Host, budget string, args ...string) *runningAgent {
	t.Helper()
	path := filepath.Join(t.TempDir(), "snatwatch.yaml")
	if err := os.WriteFile(path, []byte("budgets: ["+budget+"]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	a := startAgent(t, append(args, "--config", path, "--netns", h.Path(), "--poll-interval=500ms", "--cpu-budget=1")...)
	a.eventually("it is ready", func() bool { status, _ := a.get(http.MethodGet, "/-/ready"); return status == http.StatusOK })
	return a
}

// strangers makes a namespace with the address 10.1.0.5 whose flows leave by a way of their own, where to
// does not answer.
func strangers(t *testing.T, to netip.Addr) *netns.Handle {
	t.Helper()
	ns := kerneltest.Netns(t)
	for _, args := range [][]string{
		{"link", "add", "away", "type", "veth", "peer", "name", "nowhere"},
		{"link", "set", "away", "up"},
		{"link", "set", "nowhere", "up"},
		{"address", "add", "10.1.0.5/32", "dev", "away"},
		{"route", "add", "default", "dev", "away"},
		{"neighbour", "add", to.String(), "lladdr", "02:00:00:00:00:01", "dev", "away"},
	} {
		kerneltest.Command(t, ns, "ip", args...)
	}
	return ns
}

// An open that passes this machine's NAT failed for want of a port if conntrack made no entry of it. An open that has a
// port and gets no answer did not, nor did one that leaves by another way.
func TestKernelWhoFailedForPorts(t *testing.T) {
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	const (
		ports  = `snat_open_failures_total{budget="lab",cause="ports",protocol="tcp"}`
		failed = 6
	)
	for _, tt := range []struct {
		name    string
		process bool // one lives where the sockets are, so they are of this machine
	}{
		{"sockets of this machine", true},
		{"flows of other machines", false},
	} {
		t.Run(tt.name, func(t *testing.T) { // one after the other: labs have the same addresses
			l, err := lab.New(t.Context(), lab.Topology{NAT: []lab.NAT{{VIPs: []netip.Addr{lab.VIP(0)}, Ports: collector.PortRange{First: 2000, Last: 2031}}}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(l.Close)
			if tt.process {
				cmd := exec.Command("sleep", "600")
				if err := l.Node(0).Do(cmd.Start); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
			}
			to := l.Server(0).At(9000)
			if err := l.Server(0).Do(func() error { // no answer comes back
				return exec.Command("ip", "route", "replace", "blackhole", lab.VIP(0).String()).Run()
			}); err != nil {
				t.Fatal(err)
			}
			a := agentOn(t, l.Router(), "{name: lab, model: linux, vips: [198.51.100.1], port_range: 2000-2031}", "--strategy=poll")
			openSome(t, strangers(t, to.Addr()), 25, "tcp", to.String())
			connectFrom(t, l.Node(0), 32+failed, false, to)
			space := fmt.Sprintf(`{budget="lab",destination="%s",gateway="",protocol="tcp",vip=""}`, to)
			a.eventually("all ports are held", func() bool { return a.value("snat_ports_held"+space) == 32 })
			insertFailed := fmt.Sprintf(`snat_conntrack_insert_failed_total{netns="%d"}`, l.Router().Netns())
			if tt.process {
				a.eventually("all stall, and 6 for want of a port", func() bool {
					return a.value(`snat_opening_stalled{budget="lab",protocol="tcp"}`) == 32+failed && a.value(ports) == failed
				})
			} else {
				a.eventually("as many packets are counted as the kernel dropped", func() bool {
					n := a.value(ports)
					return n >= failed && n <= a.value(insertFailed)
				})
			}
			a.stop()
		})
	}
}

// A socket that finds no local port is a failure for ports, and where sockets that were bound before they connected hold the
// other ports, it tells how many there are for the rest.
func TestKernelLocalPortsRunOut(t *testing.T) {
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	l, err := lab.New(t.Context(), lab.Topology{Servers: 2, LocalPorts: collector.PortRange{First: 40000, Last: 40099}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	for i := range 2 {
		s, err := l.Server(i).Hold(t.Context(), l.Server(i).At(9000))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
	}
	a := agentOn(t, l.Node(0), "{name: lab, model: local}")
	const ports = `snat_open_failures_total{budget="lab",cause="ports",protocol="tcp"}`
	if got := a.value(ports); got != 0 {
		t.Errorf("%s = %v before any open, want 0", ports, got)
	}
	if n := connectFrom(t, l.Node(0), 60, true, l.Server(0).At(9000)); n != 60 {
		t.Fatalf("%d of 60 bound sockets connect", n)
	}
	if n := connectFrom(t, l.Node(0), 50, false, l.Server(1).At(9000)); n != 40 {
		t.Fatalf("%d connect, want the 40 that bound sockets leave", n)
	}
	space := func(i int) string {
		return fmt.Sprintf(`{budget="lab",destination="%s",gateway="",protocol="tcp",vip="%s"}`, l.Server(i).At(9000), l.Node(0).Addr)
	}
	a.eventually("10 opens failed for ports, and the ceiling is known", func() bool {
		return a.value(ports) == 10 && a.value("snat_ports_held"+space(0)) == 60 && a.value("snat_ports_held"+space(1)) == 40 &&
			a.value("snat_time_to_exhaustion_seconds"+space(1)) == 0 && a.value("snat_time_to_exhaustion_seconds"+space(0)) != 0 &&
			a.value(`snat_budget_contradicted{budget="lab"}`) == 1
	})
	a.stop()
}

// With net.ipv4.tcp_tw_reuse=1 the kernel gives the local port of a closed flow to the next one after a second, so it is not
// held for as long as the socket stays in TIME_WAIT.
func TestKernelLocalPortsComeBack(t *testing.T) {
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	l, err := lab.New(t.Context(), lab.Topology{LocalPorts: collector.PortRange{First: 40000, Last: 40019}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	to := l.Server(0).At(9000)
	s, err := l.Server(0).Hold(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := l.Node(0).Set(map[string]string{"net.ipv4.tcp_tw_reuse": "1"}); err != nil {
		t.Fatal(err)
	}
	a := agentOn(t, l.Node(0), "{name: lab, model: local}")
	held := fmt.Sprintf(`snat_ports_held{budget="lab",destination="%s",gateway="",protocol="tcp",vip="%s"}`, to, l.Node(0).Addr)
	flows, err := l.Node(0).OpenTCP(to, 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(flows.Close)
	a.eventually("20 ports are held", func() bool { return a.value(held) == 20 })
	flows.Shutdown()
	// Sooner than TIME_WAIT ends: 60 s.
	a.eventually("none is held", func() bool { return a.value(held) == 0 })
	if n := connectFrom(t, l.Node(0), 20, false, to); n != 20 {
		t.Errorf("%d of 20 ports are free, though none is held", n)
	}
	a.stop()
}
