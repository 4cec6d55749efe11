package truth

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// A NAT without a port range of its own gives clients that send from low ports low ports, and moves flows of the gateway
// itself, which no rule matches, out of their way. The ledger has each flow among the ports that the kernel took for it,
// and says that the low ones are used up when the kernel drops the next.
func TestKernelPortClasses(t *testing.T) {
	t.Parallel()
	for _, strategy := range []conntrack.Strategy{conntrack.Poll, conntrack.Events} {
		t.Run(strategy.String(), func(t *testing.T) {
			t.Parallel()
			ns := kerneltest.Netns(t)
			nft(t, ns, `table ip test {
				chain post { type nat hook postrouting priority 100; ip saddr 127.1.0.0/16 snat to 127.0.0.9; }
			}`)
			sysctl(t, ns, "netfilter/nf_conntrack_events", "1")
			sysctl(t, ns, "netfilter/nf_conntrack_udp_timeout", "600")
			vip := []netip.Addr{netip.MustParseAddr("127.0.0.9")}
			b, err := budget.Resolve(budget.Params{Name: "nat", Model: "linux", VIPs: vip, Own: vip})
			if err != nil {
				t.Fatal(err)
			}
			w := newWatch(t, ns, strategy, b)
			to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2), Port: 123}
			// send sends a datagram, and reports whether the kernel let it pass.
			send := func(from string) bool {
				t.Helper()
				local := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from))
				err := ns.Do(func() error {
					c, err := net.DialUDP("udp4", local, to)
					if err != nil {
						return err
					}
					_, err = c.Write([]byte("x"))
					return errors.Join(err, c.Close())
				})
				if err != nil && !errors.Is(err, syscall.EPERM) {
					t.Fatal(err)
				}
				return err == nil
			}
			passed := 0
			for _, port := range []int{5000, 700, 123} { // the low ports last: they are full then
				send(fmt.Sprintf("127.1.9.9:%d", port))
				send(fmt.Sprintf("127.0.0.9:%d", port))
			}
			for i := range 600 {
				if send(fmt.Sprintf("127.1.%d.%d:123", i/250, i%250+1)) {
					passed++
				}
			}
			if passed == 600 {
				t.Fatal("all of 600 clients got a low port")
			}
			kernel := map[string]int{}
			all, err := w.table.Dump(nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range all {
				if f.TupleOrig.Proto.Protocol != uint8(collector.UDP) || f.TupleReply.IP.DestinationAddress != vip[0] {
					continue
				}
				switch port := f.TupleReply.Proto.DestinationPort; {
				case port < 512:
					kernel["ports 1-511"]++
				case port < 1024:
					kernel["ports 600-1023"]++
				default:
					kernel[""]++
				}
			}
			if kernel["ports 1-511"] != 511 {
				t.Errorf("the kernel gave out %v", kernel)
			}
			ledger, full := map[string]int{}, map[string]int{}
			w.until("the ledger to say that ports are used up", func() bool {
				for _, s := range w.settled().Budgets[0].Protocols[1].Spaces {
					ledger[s.VIP] = s.Held
					if s.Forecast != nil && s.Forecast.Probability[0] == 1 {
						full[s.VIP] = s.Held
					}
				}
				return len(full) > 0
			})
			if diff := cmp.Diff(map[string]int{"ports 1-511": 511}, full); diff != "" {
				t.Errorf("what is used up (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(kernel, ledger); diff != "" {
				t.Errorf("the kernel's flows by class of port, and the ledger's (-kernel +ledger):\n%s", diff)
			}
			if got := w.settled().Netns[0]; !got.Exact || got.Mismatches != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}
