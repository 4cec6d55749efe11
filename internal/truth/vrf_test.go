package truth

import (
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"testing"

	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// Packets that come by an interface of a VRF pass conntrack there and again at the VRF's device. A connection is one flow
// all the same, of this machine's NAT as of one further out.
func TestKernelVRF(t *testing.T) {
	t.Parallel()
	for _, strategy := range []conntrack.Strategy{conntrack.Poll, conntrack.Events} {
		t.Run(strategy.String(), func(t *testing.T) {
			t.Parallel()
			client, middle, far := kerneltest.Gateway(t, `table ip gateway {
				chain post { type nat hook postrouting priority 100; oifname "s0" snat to 10.82.0.1; }
			}`)
			ip := kerneltest.Program(t, "ip", "iproute2")
			err := middle.Do(func() error {
				out, err := exec.Command(ip, "link", "add", "red", "type", "vrf", "table", "100").CombinedOutput()
				if err != nil {
					return errors.New(string(out))
				}
				return nil
			})
			if err != nil {
				kerneltest.Lacks(t, "vrf", err)
			}
			kerneltest.Command(t, middle, "sh", "-ec", "ip link set red up; ip link set c0 master red; ip link set s0 master red")
			sysctl(t, middle, "netfilter/nf_conntrack_events", "1")
			own := []netip.Addr{netip.MustParseAddr("10.82.0.1")}
			nat, err := budget.Resolve(budget.Params{Name: "nat", Model: "linux", VIPs: own})
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range []*budget.Budget{nat, provider(t)} {
				w := newWatch(t, middle, strategy, b)
				s := serve(t, far, "10.82.0.2:0")
				const n, ended = 20, 8
				pairs := s.connect(client, n)
				if from := pairs[0].server.RemoteAddr().(*net.TCPAddr).IP.String(); from != "10.82.0.1" {
					t.Fatalf("flows come from %s", from)
				}
				endAll(pairs[:ended], pair.close)
				for range 3 {
					if p := w.tcp(); p.Live != n-ended || p.Opened != n {
						t.Errorf("%s: %d live of %d opened, want %d of %d", b.Name, p.Live, p.Opened, n-ended, n)
					}
				}
				endAll(pairs[ended:], pair.close)
				w.until("the flows to end", func() bool { return w.tcp().Live == 0 })
				if got := w.settled().Netns[0]; !got.Exact || got.Mismatches != 0 {
					t.Errorf("%s: %+v", b.Name, got)
				}
			}
		})
	}
}
