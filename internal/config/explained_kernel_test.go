package config_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/natrules"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// Whatever the kernel makes of flows under a rule set, a rule that was read explains it: VIP, port and protocol.
func TestKernelRulesExplainTraffic(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(rulesets, "*.rules"))
	if err != nil || len(files) == 0 {
		t.Fatalf("rule sets: %d, %v", len(files), err)
	}
	translated := make([]int, len(files))
	t.Run("sets", func(t *testing.T) {
		for i, file := range files {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".rules"), func(t *testing.T) {
				t.Parallel()
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				ns := kerneltest.Netns(t)
				load(t, ns, string(text))
				s, err := natrules.Read(ns)
				if err != nil {
					t.Fatal(err)
				}
				sendFromEverywhere(t, ns)
				for _, f := range translatedFlows(t, ns) {
					translated[i]++
					if !slices.ContainsFunc(s.Rules, func(r natrules.Rule) bool { return explains(r, f) }) {
						t.Errorf("no rule explains %+v", f)
					}
				}
				if t.Failed() {
					for _, r := range s.Rules {
						t.Logf("%v tcp %v udp %v", r, r.TCP, r.UDP)
					}
				}
			})
		}
	})
	sets := 0
	for _, n := range translated {
		sets += min(1, n)
	}
	if sets < len(files)*3/5 {
		t.Errorf("flows were translated under %d of %d sets only: the test proves little", sets, len(files))
	}
}

// natFlow is a flow with what its source was changed to.
type natFlow struct {
	protocol, source string
	vip              netip.Addr
	from, port       int
}

func explains(r natrules.Rule, f natFlow) bool {
	if f.protocol == "tcp" && !r.TCP || f.protocol == "udp" && !r.UDP {
		return false
	}
	if len(r.VIPs) > 0 && !slices.Contains(r.VIPs, f.vip) {
		return false
	}
	if len(r.Pools) > 0 {
		return slices.ContainsFunc(r.Pools, func(p natrules.Pool) bool {
			return p.VIP == f.vip && f.port >= int(p.Ports.First) && f.port <= int(p.Ports.Last)
		})
	}
	ports := r.Ports
	if ports == (collector.PortRange{}) {
		ports = collector.PortRange{First: 1024, Last: 65535}
		if f.from < 1024 {
			ports.First = 1
		}
	}
	return f.port >= int(ports.First) && f.port <= int(ports.Last)
}

// sendFromEverywhere sends the first packets of flows from addresses that rules speak of, by each interface, with and without marks.
func sendFromEverywhere(t *testing.T, ns *netns.Handle) {
	t.Helper()
	sources := []string{
		"10.0.0.8", "10.1.0.5", "10.2.0.5", "10.3.0.5", "10.0.1.5", "10.8.0.5", "10.16.0.5", "10.30.0.5", "10.31.0.5", "10.32.0.5", "10.33.0.5",
		"10.42.0.7", "10.42.3.5", "10.60.0.5", "10.60.0.9", "10.70.0.5", "10.71.0.5", "10.88.0.5", "10.128.0.7", "10.128.0.9", "10.20.0.9", "10.32.1.1",
		"100.64.1.3", "172.17.0.2", "172.18.0.2", "192.168.1.20", "192.168.1.30", "192.168.122.5", "169.254.172.2", "172.31.0.1",
	}
	err := ns.Do(func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		number := 0
		for _, l := range links {
			if l.Attrs().Name == "lo" || strings.HasPrefix(l.Attrs().Name, "to-") {
				continue
			}
			to := netip.AddrFrom4([4]byte{198, 18, byte(number), 0})
			number++
			prefix := &net.IPNet{IP: to.AsSlice(), Mask: net.CIDRMask(24, 32)}
			if err := netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: prefix, Scope: netlink.SCOPE_LINK}); err != nil {
				return fmt.Errorf("route by %s: %w", l.Attrs().Name, err)
			}
			for i, s := range sources {
				for k, mark := range []int{0, 0, 1, 2, 0x10, 0x80, 0x2000, 0x4000, 0x40000} {
					kind := []int{unix.SOCK_STREAM, unix.SOCK_DGRAM}[(i+k)%2]
					at := to.As4()
					at[3] = byte(1 + k)
					if err := firstPacket(kind, mark, netip.MustParseAddr(s), at); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// firstPacket sends one packet from an address that the machine need not have.
func firstPacket(kind, mark int, from netip.Addr, to [4]byte) error {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	for option, value := range map[[2]int]int{{unix.SOL_IP, unix.IP_TRANSPARENT}: 1, {unix.SOL_SOCKET, unix.SO_MARK}: mark} {
		if err := unix.SetsockoptInt(fd, option[0], option[1], value); err != nil {
			return err
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: from.As4()}); err != nil {
		return err
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: 9000, Addr: to})
	if kind == unix.SOCK_DGRAM && err == nil {
		_, err = unix.Write(fd, []byte("x"))
	}
	switch err {
	case unix.EPERM, unix.EINPROGRESS, unix.EINVAL, unix.ENETUNREACH, unix.EHOSTUNREACH: // dropped by a rule, or on its way
		return nil
	}
	return err
}

// translatedFlows lists the flows of conntrack -L whose source is not what it was.
func translatedFlows(t *testing.T, ns *netns.Handle) (flows []natFlow) {
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
	line := regexp.MustCompile(`^(tcp|udp) .*? src=(\S+) dst=\S+ sport=(\d+) dport=\d+ .*src=\S+ dst=(\S+) sport=\d+ dport=(\d+)`)
	for text := range strings.Lines(string(out)) {
		m := line.FindStringSubmatch(text)
		if m == nil || m[2] == m[4] && m[3] == m[5] {
			continue
		}
		from, _ := strconv.Atoi(m[3])
		port, _ := strconv.Atoi(m[5])
		flows = append(flows, natFlow{m[1], m[2], netip.MustParseAddr(m[4]), from, port})
	}
	return flows
}
