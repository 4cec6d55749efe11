package lab

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// testPorts is the range that the tests give a VIP.
var testPorts = collector.PortRange{First: 1024, Last: 2047}

// newLab builds a lab, or skips the test where the rights for one are missing.
func newLab(t *testing.T, topology Topology) *Lab {
	t.Helper()
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	l, err := New(t.Context(), topology)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// hold starts a server that holds what it accepts.
func hold(t *testing.T, h *Host, port uint16) *Server {
	t.Helper()
	s, err := h.Hold(t.Context(), h.At(port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// fill asks for n TCP flows until want of them are open and those that are left have tried again, and returns what the
// kernel then holds: sockets ESTABLISHED in the node, and ports of each VIP in the router's established entries.
//
// A machine that has no time for its packets drops those beyond net.core.netdev_max_backlog, 1,000, and TCP gives up a
// flow whose SYNs were dropped. So fill does not ask for all at once, and asks again for flows that were given up.
func fill(t *testing.T, l *Lab, s *Server, n, want int) (int, map[netip.Addr]int) {
	t.Helper()
	const portion = 250
	var (
		node     = l.Node(0)
		deadline = time.Now().Add(3 * time.Minute)
		socks    Sockets
		full     bool
		resent   uint64 // when full became true
	)
	for done := false; !done && time.Now().Before(deadline); {
		var err error
		if socks, err = node.Sockets(s.Addr); err != nil {
			t.Fatal(err)
		}
		again, err := node.SynRetransmits()
		if err != nil {
			t.Fatal(err)
		}
		switch missing := n - socks.Established - socks.SynSent; {
		case missing > 0 && socks.SynSent == socks.Retransmitting: // nothing that was asked for is under way
			f, err := node.OpenTCP(s.Addr, min(missing, portion))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(f.Close)
			continue
		case socks.Established >= want && missing <= 0 && !full:
			full, resent = true, again
		}
		if done = full && again >= resent+uint64(socks.SynSent); done {
			break
		}
		if err := sleep(t.Context(), poll); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := l.Entries()
	if err != nil {
		t.Fatal(err)
	}
	return socks.Established, entries.To(collector.TCP, s.Addr).TCPState(ctEstablished).PortsByVIP()
}

func TestKernelFlowsPerRuleForm(t *testing.T) {
	t.Parallel()
	a, b := VIP(0), VIP(1)
	for _, tt := range []struct {
		name  string
		nat   NAT
		ask   int
		flows int
		vips  map[netip.Addr]int
	}{
		{"one VIP", NAT{VIPs: []netip.Addr{a}, Ports: testPorts}, 1100, 1024, map[netip.Addr]int{a: 1024}},
		{"one VIP, fully random", NAT{VIPs: []netip.Addr{a}, Ports: testPorts, FullyRandom: true}, 1100, 1024, map[netip.Addr]int{a: 1024}},
		{"two VIPs by turns", NAT{Form: Numgen, VIPs: []netip.Addr{a, b}, Ports: testPorts}, 2150, 2048, map[netip.Addr]int{a: 1024, b: 1024}},
		{"masquerade has all ports", NAT{Form: Masquerade}, 1100, 1100, map[netip.Addr]int{netip.MustParseAddr("192.0.2.1"): 1100}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, Topology{NAT: []NAT{tt.nat}})
			flows, vips := fill(t, l, hold(t, l.Server(0), 443), tt.ask, tt.flows)
			if flows != tt.flows {
				t.Errorf("node holds %d established sockets, want %d", flows, tt.flows)
			}
			if d := cmp.Diff(tt.vips, vips, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
				t.Errorf("ports by VIP (-want +got):\n%s", d)
			}
		})
	}
}

// A range of VIPs gives one source and one destination the ports of one VIP only: no flow beyond them takes the other's,
// however often it tries.
func TestKernelRangeOfVIPsDoesNotAdd(t *testing.T) {
	t.Parallel()
	l := newLab(t, Topology{NAT: []NAT{{VIPs: []netip.Addr{VIP(0), VIP(1)}, Ports: testPorts}}})
	s := hold(t, l.Server(0), 443)
	flows, vips := fill(t, l, s, 1100, 1024)
	if flows != 1024 || len(vips) != 1 {
		t.Errorf("%d flows on %v, want 1024 on one VIP", flows, vips)
	}
	entries, err := l.Entries()
	if err != nil {
		t.Fatal(err)
	}
	if vips := entries.To(collector.TCP, s.Addr).PortsByVIP(); len(vips) != 1 {
		t.Errorf("entries of all states on %v, want one VIP", vips)
	}
}

func TestKernelIPv6(t *testing.T) {
	t.Parallel()
	l := newLab(t, Topology{NAT: []NAT{{VIPs: []netip.Addr{vip6(0)}, Ports: collector.PortRange{First: 1024, Last: 1039}}}})
	s, err := l.Server(0).Hold(t.Context(), netip.AddrPortFrom(l.Server(0).Addr6, 443))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	flows, vips := fill(t, l, s, 20, 16)
	if flows != 16 || vips[vip6(0)] != 16 {
		t.Errorf("%d flows on %v, want 16 on %v", flows, vips, vip6(0))
	}
}

func TestKernelDial(t *testing.T) {
	t.Parallel()
	l := newLab(t, Topology{})
	s, err := l.Server(0).Store(t.Context(), l.Server(0).At(80), 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := l.Node(0).Dial(ctx, s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	start := time.Now()
	if _, err := c.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	var b [8]byte
	n, err := c.ReadContext(ctx, b[:])
	if err != nil || string(b[:n]) != "?" {
		t.Fatalf("answer %q, %v; want ?", b[:n], err)
	}
	if d := time.Since(start); d < 20*time.Millisecond {
		t.Errorf("answered after %v, want 20ms or more", d)
	}
	if s.Answered() != 1 {
		t.Errorf("server counted %d answers, want 1", s.Answered())
	}
}
