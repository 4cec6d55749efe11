package truth

import (
	"errors"
	"net"
	"testing"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// twice makes the packets of a gateway pass conntrack twice: they come in zone 1, leave by a0, come again by b0 in zone
// 2, and are translated on their way out.
const twice = `table ip gateway {
	chain zones {
		type filter hook prerouting priority raw;
		iifname { "c0", "a0" } ct zone set 1
		iifname { "b0", "s0" } ct zone set 2
	}
	chain post { type nat hook postrouting priority 100; oifname "s0" masquerade; }
}
`

const loop = `ip link add a0 address 02:00:00:00:00:0a type veth peer name b0 address 02:00:00:00:00:0b
for i in all default a0 b0 c0 s0; do echo 0 > /proc/sys/net/ipv4/conf/$i/rp_filter; done
ip link set a0 up; ip link set b0 up
ip neighbour add 172.31.0.2 lladdr 02:00:00:00:00:0b dev a0 nud permanent
ip neighbour add 172.31.0.1 lladdr 02:00:00:00:00:0a dev b0 nud permanent
ip rule add iif c0 lookup 100
ip route add default via 172.31.0.2 dev a0 onlink table 100
ip rule add iif s0 lookup 200
ip route add 10.81.0.0/24 via 172.31.0.1 dev b0 onlink table 200
`

// A connection that passes conntrack in two zones has two entries, and is one flow of the NAT further out.
func TestKernelTwoZones(t *testing.T) {
	t.Parallel()
	for _, strategy := range []conntrack.Strategy{conntrack.Poll, conntrack.Events} {
		t.Run(strategy.String(), func(t *testing.T) {
			t.Parallel()
			client, middle, far := kerneltest.Gateway(t, twice)
			kerneltest.Command(t, middle, "sh", "-ec", loop)
			sysctl(t, middle, "netfilter/nf_conntrack_events", "1")
			w := newWatch(t, middle, strategy, provider(t))
			s := serve(t, far, "10.82.0.2:0")
			first := s.connect(client, 1) // it tells that there are zones
			w.settled()
			const n, ended = 20, 8
			pairs := s.connect(client, n)
			if got := len(w.entries()); got != 2*(n+1) {
				t.Fatalf("%d entries, want two for each of %d connections", got, n+1)
			}
			check := func(when string, live int) {
				t.Helper()
				for range 3 {
					p := w.tcp()
					closed := uint64(0)
					for _, c := range p.Closed {
						closed += c
					}
					if p.Live != live || p.Opened != n+1 || closed != uint64(n+1-live) {
						t.Errorf("%s: %d live of %d opened, closed %v, want %d of %d", when, p.Live, p.Opened, p.Closed, live, n+1)
					}
				}
			}
			check("open", n+1)
			endAll(pairs[:ended], pair.close)
			check("some closed", n+1-ended)
			endAll(first, pair.close)
			check("the first closed", n-ended)
			w.flush()
			w.until("the ledger to follow", func() bool { return w.tcp().Live == 0 })
			if got := w.settled().Netns[0]; !got.Exact || got.Mismatches != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// The kernel gives out a port once in each zone of the way back. Zones of the way out alone, as providers of overlapping
// networks set them, share the ports; zones of the way back alone do not.
func TestKernelZonesOfOneDirection(t *testing.T) {
	t.Parallel()
	const flows = 20 // in each of two zones
	for _, tt := range []struct {
		way     string
		busiest int
	}{
		{"original", 2 * flows},
		{"reply", flows},
	} {
		for _, strategy := range []conntrack.Strategy{conntrack.Poll, conntrack.Events} {
			t.Run(tt.way+", "+strategy.String(), func(t *testing.T) {
				t.Parallel()
				client, middle, _ := kerneltest.Gateway(t, `table ip gateway {
					chain zones {
						type filter hook prerouting priority raw
						iifname "c0" ct `+tt.way+` zone set udp sport map { 10001 - 19999 : 1, 20001 - 29999 : 2 }
					}
					chain post {
						type nat hook postrouting priority 100
						oifname "s0" ip protocol udp masquerade to :30000-30047
					}
				}`)
				sysctl(t, middle, "netfilter/nf_conntrack_events", "1")
				sysctl(t, middle, "netfilter/nf_conntrack_udp_timeout", "600")
				b, err := budget.Resolve(budget.Params{Name: "nat", Model: "linux", PortRange: collector.PortRange{First: 30_000, Last: 30_047}})
				if err != nil {
					t.Fatal(err)
				}
				w := newWatch(t, middle, strategy, b)
				for n := range 2 * flows {
					from := &net.UDPAddr{Port: 10_001 + n + n%2*10_000}
					err := client.Do(func() error {
						c, err := net.DialUDP("udp4", from, &net.UDPAddr{IP: net.IPv4(10, 82, 0, 2), Port: 9})
						if err != nil {
							return err
						}
						_, err = c.Write([]byte("x"))
						return errors.Join(err, c.Close())
					})
					if err != nil {
						t.Fatal(err)
					}
				}
				for range 3 {
					s := w.settled()
					p := s.Budgets[0].Protocols[1]
					if p.Held != 2*flows || p.Busiest != tt.busiest || !s.Netns[0].Exact {
						t.Errorf("%d ports held, %d in the fullest port space, %+v", p.Held, p.Busiest, s.Netns[0])
					}
				}
			})
		}
	}
}
