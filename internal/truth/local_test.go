package truth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/sockdiag"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/ledger"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// Sockets that bind before they connect take their ports from every destination: they use up a range while the busiest
// destination holds two. The ledger counts them all, and learns the ceiling from a connect that finds no port.
func TestKernelBoundBeforeConnect(t *testing.T) {
	t.Parallel()
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	const ports, each = 100, 2
	path := fmt.Sprintf("/proc/%d/ns/net", kerneltest.Process(t))
	ns, err := netns.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	kerneltest.Command(t, ns, "sh", "-ec", "ip link set lo up; ip address add 10.77.0.1/32 dev lo; ip route add local 10.77.0.0/16 dev lo src 10.77.0.1")
	sysctl(t, ns, "ipv4/ip_local_port_range", fmt.Sprintf("40000 %d", 40000+ports-1))
	s := serve(t, ns, "0.0.0.0:443")

	b, err := budget.Resolve(budget.Params{
		Name: "own", Model: "local", Netns: ns.Inode(), PortRange: collector.PortRange{First: 40000, Last: 40000 + ports - 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	now := collector.Clock()
	var mu sync.Mutex
	l := ledger.New(ledger.Config{Budgets: []*budget.Budget{b}, Start: now()})
	source := sockdiag.New(sockdiag.Config{Interval: 300 * time.Millisecond, Rescan: time.Second, Now: now})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- source.Run(ctx, func(_ context.Context, events []collector.Event) error {
			mu.Lock()
			defer mu.Unlock()
			ledger.ApplyAll(events, l)
			return nil
		})
	}()
	defer func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the source ended: %v", err)
		}
	}()
	wait := func(what string, ok func(*detector.BudgetSnapshot) bool) {
		t.Helper()
		var last detector.BudgetSnapshot
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			mu.Lock()
			last = l.Snapshot(now()).Budgets[0]
			mu.Unlock()
			if ok(&last) {
				return
			}
		}
		t.Fatalf("waited in vain for %s: %+v, %s", what, last.Protocols[0], last.Contradiction)
	}
	dial := func(to string, bound bool) (net.Conn, error) {
		var d net.Dialer
		if bound {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.77.0.1:0"))
		}
		var c net.Conn
		err := ns.Do(func() (err error) { c, err = d.Dial("tcp4", to); return err })
		return c, err
	}
	var open []pair
	for i := range ports {
		c, err := dial(fmt.Sprintf("10.77.1.%d:443", 1+i/each), true)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, pair{c.(*net.TCPConn), <-s.accepted})
	}
	if _, err := dial("10.77.1.1:443", true); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("bind with no port left: %v", err)
	}
	wait("all ports to be in use", func(b *detector.BudgetSnapshot) bool {
		p := b.Protocols[0]
		return p.PortsInUse == ports && p.Busiest == each && p.Held == ports
	})
	for _, to := range []struct{ address, held string }{{"10.77.1.1:443", "with 2 of 100 held"}, {"10.77.2.1:443", "with 0 of 100 held"}} {
		if to.held == "with 0 of 100 held" { // a ledger of its own, that has not learned of the other
			mu.Lock()
			l = ledger.New(ledger.Config{Budgets: []*budget.Budget{b}, Start: now()})
			mu.Unlock()
			wait("all ports to be in use", func(b *detector.BudgetSnapshot) bool { return b.Protocols[0].PortsInUse == ports })
		}
		if _, err := dial(to.address, false); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("connect with no port left: %v", err)
		}
		wait("the ledger to say so", func(b *detector.BudgetSnapshot) bool {
			return b.Contradicted && strings.Contains(b.Contradiction, to.held) &&
				strings.Contains(b.Contradiction, "100 in use towards all destinations") && b.Protocols[0].NoPorts > 0
		})
	}
	endAll(open, pair.close)
}
