package conntrack

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// vip is what the source of real traffic in a test is translated to.
const vip = "127.0.0.9"

// blackhole is a port whose packets are lost after they were tracked.
const blackhole = 9

// natNetns is a namespace where what is sent to 127.0.0.2 is translated to vip,
// and closed flows are forgotten within seconds.
func natNetns(t testing.TB, sysctls map[string]string) *netns.Handle {
	t.Helper()
	ns := kerneltest.Netns(t)
	c, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	if err != nil {
		t.Fatal(err)
	}
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "test"})
	post := c.AddChain(&nftables.Chain{
		Name: "post", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: post, Exprs: []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: net.IPv4(127, 0, 0, 2).To4()},
		&expr.Immediate{Register: 1, Data: addr(vip).AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1},
	}})
	in := c.AddChain(&nftables.Chain{
		Name: "in", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: in, Exprs: []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(blackhole)},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}})
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	for name, value := range sysctls {
		sysctl(t, ns, name, value)
	}
	return ns
}

func sysctl(t testing.TB, ns *netns.Handle, name, value string) {
	t.Helper()
	if err := ns.Do(func() error {
		return os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_"+name, []byte(value), 0)
	}); err != nil {
		t.Fatal(err)
	}
}

// traffic opens flows in a namespace.
type traffic struct {
	t        testing.TB
	ns       *netns.Handle
	listener net.Listener
	udp      net.PacketConn
	accepted chan net.Conn
}

func newTraffic(t testing.TB, ns *netns.Handle) *traffic {
	t.Helper()
	r := &traffic{t: t, ns: ns, accepted: make(chan net.Conn, 100)}
	err := ns.Do(func() (err error) {
		if r.listener, err = net.Listen("tcp4", "127.0.0.2:0"); err != nil {
			return err
		}
		r.udp, err = net.ListenPacket("udp4", "127.0.0.2:0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.listener.Close(); _ = r.udp.Close() })
	go func() {
		for {
			c, err := r.listener.Accept()
			if err != nil {
				return
			}
			r.accepted <- c
		}
	}()
	go func() { // answers all but "quiet"
		b := make([]byte, 64)
		for {
			n, from, err := r.udp.ReadFrom(b)
			if err != nil {
				return
			}
			if string(b[:n]) != "quiet" {
				_, _ = r.udp.WriteTo(b[:n], from)
			}
		}
	}()
	return r
}

// tcp opens a connection and returns both ends.
func (r *traffic) tcp() (client, server *net.TCPConn) {
	r.t.Helper()
	var c net.Conn
	err := r.ns.Do(func() (err error) {
		c, err = net.Dial("tcp4", r.listener.Addr().String())
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return c.(*net.TCPConn), (<-r.accepted).(*net.TCPConn)
}

// unanswered starts a connection to a port that nothing comes back from.
func (r *traffic) unanswered() netip.AddrPort {
	r.t.Helper()
	var fd int
	err := r.ns.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 2}, Port: blackhole})
		if errors.Is(err, unix.EINPROGRESS) {
			return nil
		}
		return fmt.Errorf("connect: %w", err)
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = unix.Close(fd) })
	sa, err := unix.Getsockname(fd)
	if err != nil {
		r.t.Fatal(err)
	}
	in := sa.(*unix.SockaddrInet4)
	return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port))
}

// refused tries a port that nobody listens to.
func (r *traffic) refused() netip.AddrPort {
	r.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 44444}}
	err := r.ns.Do(func() error {
		_, err := d.Dial("tcp4", "127.0.0.2:10")
		return err
	})
	if !errors.Is(err, syscall.ECONNREFUSED) {
		r.t.Fatalf("connect to a closed port: %v", err)
	}
	return netip.MustParseAddrPort("127.0.0.1:44444")
}

// datagram sends one and waits for the answer if there is to be one.
func (r *traffic) datagram(payload string) netip.AddrPort {
	r.t.Helper()
	var c net.Conn
	err := r.ns.Do(func() (err error) {
		c, err = net.Dial("udp4", r.udp.LocalAddr().String())
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte(payload)); err != nil {
		r.t.Fatal(err)
	}
	if payload != "quiet" {
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := c.Read(make([]byte, 64)); err != nil {
			r.t.Fatal(err)
		}
	}
	return source(c)
}

func source(c net.Conn) netip.AddrPort { return netip.MustParseAddrPort(c.LocalAddr().String()) }

// What real flows do comes out as it happened, from dumps and from events, and events tell
// why a flow ended whatever the kernel was told to record.
func TestKernelLife(t *testing.T) {
	t.Parallel()
	for _, stamps := range []string{"0", "1"} {
		t.Run("timestamps="+stamps, func(t *testing.T) {
			t.Parallel()
			ns := natNetns(t, map[string]string{
				"timestamp": stamps, "events": "1", "acct": stamps,
				"tcp_timeout_time_wait": "10", "tcp_timeout_close": "10", "tcp_timeout_syn_sent": "10",
				"udp_timeout": "10",
			})
			s := run(t, Config{Netns: ns, Strategy: Events, DrainInterval: 5 * time.Millisecond, EventsInterval: 300 * time.Millisecond})
			r := newTraffic(t, ns)
			const kept = 10 * time.Second // as above: a dump comes by before the kernel forgets, on a slow machine too
			const drained, second = 2 * time.Second, 3 * time.Second
			expiry := time.Duration(0) // that of an entry nobody looks at is known by its stamp only
			if stamps == "1" {
				expiry = second
			}

			type flow struct {
				src            netip.AddrPort
				opened, closed span
			}
			var fin, rst, refused, syn, udp, quiet, evicted flow
			open := func(f *flow) (client, server *net.TCPConn) {
				f.opened = s.during(func() { client, server = r.tcp() })
				f.src = source(client)
				return client, server
			}
			a, b := open(&fin)
			c, d := open(&rst)
			e, g := open(&evicted)
			defer func() { _, _, _ = d.Close(), e.Close(), g.Close() }()
			for _, f := range []*flow{&fin, &rst, &evicted} {
				got := s.last(collector.Opened, f.src, nil)
				s.holds(t, "opened by event", got.Opened, f.opened, drained)
				if !got.Translated || got.VIP != netip.AddrPortFrom(addr(vip), f.src.Port()) || got.Destination.String() != r.listener.Addr().String() || got.State != collector.Opening {
					t.Errorf("opened: %+v", got)
				}
				seen := s.last(collector.Seen, f.src, func(f *collector.Flow) bool { return f.State == collector.Established })
				s.holds(t, "opened by dump", seen.Opened, f.opened, 0)
				if stamps == "1" && !seen.Opened.Exact() {
					t.Errorf("opened by dump: %+v", seen.Opened)
				}
			}

			fin.closed = s.during(func() { _ = a.Close(); _ = b.Close(); time.Sleep(10 * time.Millisecond) })
			rst.closed = s.during(func() { _ = c.SetLinger(0); _ = c.Close() })
			refused.closed = s.during(func() { refused.src = r.refused() })
			syn.opened = s.during(func() { syn.src = r.unanswered() })
			udp.opened = s.during(func() { udp.src = r.datagram("hello") })
			quiet.opened = s.during(func() { quiet.src = r.datagram("quiet") })

			for _, f := range []*flow{&syn, &udp, &quiet} {
				// The kernel counts from its last tick before the packet.
				f.closed = span{f.opened.from.Add(kept - jiffy), f.opened.to.Add(kept)}
			}
			done := func(f *collector.Flow) bool { return f.State == collector.Done }
			for _, tt := range []struct {
				name   string
				f      *flow
				reason collector.Reason
			}{{"fin", &fin, collector.FIN}, {"rst", &rst, collector.RST}} {
				seen := s.last(collector.Seen, tt.f.src, done)
				s.holds(t, tt.name+" by dump", seen.Ended, tt.f.closed, second)
				if seen.Reason != tt.reason {
					t.Errorf("%s by dump: %+v", tt.name, seen)
				}
			}
			evicted.closed = s.during(func() {
				c := newCreator(t, ns)
				c.del(established(evicted.src, netip.MustParseAddrPort(r.listener.Addr().String()), netip.AddrPort{}))
				c.flush()
			})

			for _, tt := range []struct {
				name   string
				f      *flow
				reason collector.Reason
				state  collector.State
				most   time.Duration
			}{
				{"fin", &fin, collector.FIN, collector.Done, expiry},
				{"rst", &rst, collector.RST, collector.Done, expiry},
				{"refused", &refused, collector.RST, collector.Opening, drained},
				{"evicted", &evicted, collector.Evicted, collector.Established, drained},
				{"unanswered", &syn, collector.Timeout, collector.Opening, expiry},
				{"udp", &udp, collector.Idle, collector.Established, expiry},
				{"quiet udp", &quiet, collector.Idle, collector.Opening, expiry},
			} {
				got := s.last(collector.Closed, tt.f.src, nil)
				s.holds(t, tt.name+" by event", got.Ended, tt.f.closed, tt.most)
				if got.Reason != tt.reason || got.State != tt.state {
					t.Errorf("%s: reason %v, state %v; want %v, %v", tt.name, got.Reason, got.State, tt.reason, tt.state)
				}
			}
		})
	}
}
