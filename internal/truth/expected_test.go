package truth

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// A flow that a helper expects, such as one that carries the data of FTP, takes a port of the NAT as any other does, and
// is counted as any other.
func TestKernelExpectedFlows(t *testing.T) {
	t.Parallel()
	for _, strategy := range []conntrack.Strategy{conntrack.Poll, conntrack.Events} {
		t.Run(strategy.String(), func(t *testing.T) {
			t.Parallel()
			client, middle, far := kerneltest.Gateway(t, `table ip gateway {
				ct helper ftp { type "ftp" protocol tcp; }
				chain helpers { type filter hook prerouting priority 0; tcp dport 21 ct helper set "ftp"; }
				chain post { type nat hook postrouting priority 100; oifname "s0" masquerade; }
			}`)
			sysctl(t, middle, "netfilter/nf_conntrack_events", "1")
			own := []netip.Addr{netip.MustParseAddr("10.82.0.1")}
			b, err := budget.Resolve(budget.Params{Name: "nat", Model: "linux", VIPs: own, Own: own})
			if err != nil {
				t.Fatal(err)
			}
			w := newWatch(t, middle, strategy, b)
			control, data := serve(t, far, "10.82.0.2:21"), serve(t, far, "10.82.0.2:0")
			session := control.connect(client, 1)[0]
			say := func(line string) {
				t.Helper()
				if _, err := session.server.Write([]byte(line)); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(session.client, make([]byte, len(line))); err != nil {
					t.Fatal(err)
				}
			}
			say("220 ready\r\n") // the helper reads from the second line on
			const n = 20
			var transfers []pair
			for range n {
				port := data.address.Port()
				say(fmt.Sprintf("227 Entering Passive Mode (10,82,0,2,%d,%d).\r\n", port>>8, port&255))
				transfers = append(transfers, data.connect(client, 1)...)
			}
			expected := 0
			for _, e := range w.entries() {
				if e.Status.Expected() {
					expected++
				}
			}
			if expected != n {
				t.Fatalf("%d of %d flows were expected by the helper", expected, n)
			}
			if from := transfers[0].server.RemoteAddr().(*net.TCPAddr).IP.String(); from != "10.82.0.1" {
				t.Errorf("a transfer comes from %s", from)
			}
			if p := w.tcp(); p.Live != n+1 || p.Opened != n+1 || p.Busiest != n {
				t.Errorf("%d live of %d opened, %d to the fullest destination, want %d, %d and %d", p.Live, p.Opened, p.Busiest,
					n+1, n+1, n)
			}
			endAll(transfers, pair.close)
			w.until("the transfers to end", func() bool { return w.tcp().Live == 1 })
			if got := w.settled().Netns[0]; !got.Exact || got.Mismatches != 0 || w.madeInexact() != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}
