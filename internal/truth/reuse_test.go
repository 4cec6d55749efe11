package truth

import (
	"net"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/conntrack"
)

// A connection over the five-tuple of one that ended is one more, whether the kernel gives its entry the id of the ended
// one or not.
func TestKernelTupleComesRound(t *testing.T) {
	t.Parallel()
	for _, strategy := range []conntrack.Strategy{conntrack.Poll, conntrack.Events} {
		t.Run(strategy.String(), func(t *testing.T) {
			t.Parallel()
			ns := translated(t)
			sysctl(t, ns, "netfilter/nf_conntrack_events", "1")
			sysctl(t, ns, "ipv4/tcp_tw_reuse", "1")
			w := newWatch(t, ns, strategy, provider(t))
			s := serve(t, ns, "127.0.0.2:0")
			const n, rounds = 20, 4
			back := 0
			ids := map[int]uint32{} // by port, of the last round
			for round := range rounds {
				var pairs []pair
				for i := range n {
					port := firstPort + i
					w.until("the port to be free again", func() bool {
						var c *net.TCPConn
						err := ns.Do(func() (err error) {
							c, err = dialFrom(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}, s.address)
							return err
						})
						if err == nil {
							pairs = append(pairs, pair{c, <-s.accepted})
						}
						return err == nil
					})
				}
				if p := w.tcp(); p.Live != n || p.Opened != uint64(n*(round+1)) {
					t.Errorf("round %d: %d live of %d opened, want %d of %d", round, p.Live, p.Opened, n, n*(round+1))
				}
				for _, e := range w.entries() {
					port := int(e.TupleOrig.Proto.SourcePort)
					if ids[port] == e.ID {
						back++
					}
					ids[port] = e.ID
				}
				end := pair.close
				if round%2 == 1 {
					end = pair.reset
				}
				endAll(pairs, end)
				w.until("the flows to end", func() bool { return w.tcp().Live == 0 })
			}
			p := w.tcp()
			if p.Closed[collector.FIN] != n*rounds/2 || p.Closed[collector.RST] != n*rounds/2 {
				t.Errorf("closed %v, want %d by FIN and as many by RST", p.Closed, n*rounds/2)
			}
			if got := w.settled().Netns[0]; !got.Exact || got.Mismatches != 0 {
				t.Errorf("%+v", got)
			}
			t.Logf("%d of %d entries had the id of the one before on their tuple", back, n*(rounds-1))
		})
	}
}

// Where ports come round faster than dumps and the kernel's seconds can tell, a ledger that polls says that it is inexact;
// events tell of every flow.
func TestKernelPortsComeRoundFast(t *testing.T) {
	t.Parallel()
	for _, strategy := range []conntrack.Strategy{conntrack.Poll, conntrack.Events} {
		t.Run(strategy.String(), func(t *testing.T) {
			t.Parallel()
			ns := translated(t)
			sysctl(t, ns, "netfilter/nf_conntrack_events", "1")
			sysctl(t, ns, "ipv4/tcp_tw_reuse", "1")
			sysctl(t, ns, "ipv4/ip_local_port_range", "20000 20019") // 10 for connect
			w := newWatch(t, ns, strategy, provider(t))
			s := serve(t, ns, "127.0.0.2:0")
			w.settled()
			w.settled() // the first dump may be of before the listener
			opened := uint64(0)
			for w.madeInexact() == 0 && opened < 200 {
				var c net.Conn
				err := ns.Do(func() (err error) { c, err = net.Dial("tcp4", s.address.String()); return err })
				if err != nil { // no port is free
					time.Sleep(10 * time.Millisecond)
					continue
				}
				opened++
				pair{c.(*net.TCPConn), <-s.accepted}.close()
			}
			got := w.settled()
			p := got.Budgets[0].Protocols[0]
			switch n := got.Netns[0]; {
			case strategy == conntrack.Poll && (w.madeInexact() == 0 || n.Reopened == 0):
				t.Errorf("exact though %d of %d are counted", p.Opened, opened)
			case strategy == conntrack.Events && (w.madeInexact() != 0 || n.Reopened != 0 || p.Opened != opened):
				t.Errorf("%d of %d are counted, inexact %d times, %d reopened", p.Opened, opened, w.madeInexact(), n.Reopened)
			}
			w.until("the ledger to be exact again", func() bool { return w.settled().Netns[0].Exact })
			t.Logf("%d of %d are counted", p.Opened, opened)
		})
	}
}
