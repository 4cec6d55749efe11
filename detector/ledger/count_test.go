package ledger

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// A port is unique against less than an endpoint: several flows may share it.
func TestSharedPorts(t *testing.T) {
	t.Parallel()
	udp := func(n int, port uint16, to string) collector.Flow {
		f := flowTo(n, to)
		f.Protocol, f.Translated = collector.UDP, true
		f.VIP = netip.AddrPortFrom(netip.MustParseAddr("198.51.100.1"), port)
		return f
	}
	for _, c := range []struct {
		name   string
		unique budget.Uniqueness
		change func(f *collector.Flow)
		want   map[string]ports
	}{
		{"address", budget.PerAddress, nil, map[string]ports{"203.0.113.7:*": {1, 1}, "203.0.113.8:*": {1, 0}}},
		{"nothing", budget.PerNothing, nil, map[string]ports{"*": {1, 1}}},
		{"endpoint", budget.PerEndpoint, nil, map[string]ports{
			"203.0.113.7:53": {1, 0}, "203.0.113.7:123": {0, 1}, "203.0.113.7:443": {0, 1}, "203.0.113.8:53": {1, 0},
		}},
		{
			"address, translated further out: each flow is a port", budget.PerAddress,
			func(f *collector.Flow) { f.Translated = false },
			map[string]ports{"203.0.113.7:*": {1, 2}, "203.0.113.8:*": {1, 0}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := plain()
			b.UDP.Unique = c.unique
			b.UDP.CoolDown[collector.Evicted] = 60 * time.Second
			s := newScript(t, Config{Budgets: []*budget.Budget{b}})
			flows := []collector.Flow{
				udp(1, 1024, "203.0.113.7:53"), udp(2, 1024, "203.0.113.7:123"), udp(3, 1025, "203.0.113.7:443"), udp(4, 1024, "203.0.113.8:53"),
			}
			for i := range flows {
				if c.change != nil {
					c.change(&flows[i])
				}
				s.open(1, flows[i])
			}
			s.close(2, flows[1], collector.Evicted)
			s.close(2, flows[2], collector.Evicted)
			x := s.Snapshot(at(3))
			got := map[string]ports{}
			for _, sp := range x.Budgets[0].Protocols[1].Spaces {
				got[sp.Destination] = ports{sp.Live, sp.Cooling}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if err := audit(s.Ledger); err != nil {
				t.Error(err)
			}
			s.close(3, flows[0], collector.Evicted)
			s.close(3, flows[3], collector.Evicted)
			if p := s.Snapshot(at(63.2)).Budgets[0].Protocols[1]; p.Held != 0 || len(s.spaces.ports) != 0 {
				t.Errorf("%d ports held, %d shared, after all cooled down", p.Held, len(s.spaces.ports))
			}
		})
	}
}

// Two pods have their own local ports, towards the same destination too; sockets of one
// pod that share a port by SO_REUSEPORT hold one.
func TestLocalPortsByAddress(t *testing.T) {
	t.Parallel()
	b := plain()
	b.Local, b.UDP.Unique = true, budget.PerNothing
	s := newScript(t, Config{Budgets: []*budget.Budget{b}})
	for netns := range uint64(2) {
		for n := range 3 {
			f := flowTo(n, store)
			f.Netns, f.ID, f.Inode = netns+1, uint32(10*netns)+uint32(n)+1, 5
			f.Source = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(netns), 1}), 40000+uint16(n))
			f.VIP = netip.AddrPort{}
			s.Apply(&collector.Event{Kind: collector.Opened, At: at(1), Netns: f.Netns, Flow: f})
			f.Protocol, f.Destination = collector.UDP, netip.MustParseAddrPort(fmt.Sprintf("203.0.113.9:%d", 53+n))
			f.Source = netip.AddrPortFrom(f.Source.Addr(), 50000+uint16(n/2))
			s.Apply(&collector.Event{Kind: collector.Opened, At: at(1), Netns: f.Netns, Flow: f})
		}
	}
	x := s.Snapshot(at(2)).Budgets[0]
	if tcp, udp := x.Protocols[0], x.Protocols[1]; tcp.Busiest != 3 || tcp.Held != 6 || udp.Busiest != 2 || udp.Held != 4 {
		t.Errorf("TCP %d of %d, UDP %d of %d; want 3 of 6, 2 of 4", tcp.Busiest, tcp.Held, udp.Busiest, udp.Held)
	}
	stalled := flowTo(9, store)
	stalled.Source = netip.MustParseAddrPort("10.0.1.1:41000")
	s.ObserveStalls(at(3), []collector.Flow{stalled})
	for _, sp := range s.tcp(3).Spaces {
		if want := map[string]int{"10.0.1.1": 1}[sp.VIP]; sp.Stalled != want {
			t.Errorf("%s: %d stalled, want %d", sp.VIP, sp.Stalled, want)
		}
	}
	if err := audit(s.Ledger); err != nil {
		t.Error(err)
	}
}

// What the first dump shows of flows that ended before the agent started holds ports, and is
// in no total.
func TestEndedBeforeTheStart(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
	f, g := flowTo(1, store), flowTo(2, store)
	f.State, f.Reason, f.Ended = collector.Done, collector.FIN, exactly(-100)
	g.State, g.Reason, g.Ended, g.Refused = collector.Done, collector.RST, exactly(-5), true
	s.dump(1, f, g)
	s.want(2, 0, 2)
	s.wantTotals(2, 0, nil)
	s.want(11, 0, 1)
	s.want(141, 0, 0)
	if p := s.tcp(141); p.Refused != 0 || p.Lifetime.Sum != 0 {
		t.Errorf("refused %d, lifetimes %v", p.Refused, p.Lifetime.Sum)
	}
}

func TestWhichFlowsCount(t *testing.T) {
	t.Parallel()
	vip := netip.MustParseAddr("198.51.100.1")
	translated := func(f collector.Flow) collector.Flow {
		f.Translated, f.VIP = true, netip.AddrPortFrom(vip, f.Source.Port())
		return f
	}
	six := flowTo(5, "[2001:db8::7]:443")
	elsewhere := flowTo(6, store)
	elsewhere.Netns = 2
	private := flowTo(3, "10.1.2.3:443")
	bound := flowTo(7, store)
	bound.Destination = netip.AddrPort{}
	all := []collector.Flow{flowTo(1, store), translated(flowTo(2, store)), private, six, elsewhere, bound}
	for _, c := range []struct {
		name   string
		budget func(b *budget.Budget)
		want   map[string]int
	}{
		{"all", func(*budget.Budget) {}, map[string]int{store: 3, "10.1.2.3:443": 1, "[2001:db8::7]:443": 1}},
		{"excluded", func(b *budget.Budget) { b.Exclude = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }, map[string]int{store: 3, "[2001:db8::7]:443": 1}},
		{"included", func(b *budget.Budget) { b.Include = []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")} }, map[string]int{"[2001:db8::7]:443": 1}},
		{"translated", func(b *budget.Budget) { b.Translated = true }, map[string]int{store: 1}},
		{"to one of its VIPs", func(b *budget.Budget) { b.Translated, b.VIPs = true, []netip.Addr{vip} }, map[string]int{store: 1}},
		{"to another VIP", func(b *budget.Budget) { b.Translated, b.VIPs = true, []netip.Addr{vip.Next()} }, map[string]int{}},
		{"one namespace", func(b *budget.Budget) { b.Netns = 2 }, map[string]int{store: 1}},
		{"no TCP", func(b *budget.Budget) { b.TCP.Ports = 0 }, map[string]int{}},
		{"a space for each VIP", func(b *budget.Budget) { b.Translated, b.SpacePerVIP = true, true }, map[string]int{"198.51.100.1 " + store: 1}},
		{"local", func(b *budget.Budget) { b.Local = true }, map[string]int{
			"10.0.0.1 " + store: 3, "10.0.0.1 10.1.2.3:443": 1, "10.0.0.1 [2001:db8::7]:443": 1, "10.0.0.1 *": 1,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := plain()
			c.budget(b)
			s := newScript(t, Config{Budgets: []*budget.Budget{b}})
			for _, f := range all {
				s.Apply(&collector.Event{Kind: collector.Opened, At: at(1), Netns: f.Netns, Flow: f})
			}
			got := map[string]int{}
			for _, p := range s.Snapshot(at(2)).Budgets[0].Protocols {
				for _, sp := range p.Spaces {
					name := sp.Destination
					if sp.VIP != "" {
						name = sp.VIP + " " + name
					}
					got[name] += sp.Held
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The next forecast knows of an open that failed for lack of ports between two dumps. It comes with
// the second of them.
func TestStallsBetweenDumpsAreForecast(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{plain()}})
	var flows []collector.Flow
	for n := range 95 {
		flows = append(flows, flowTo(n, store))
	}
	wait := func(from, to float64) {
		for x := from; x <= to; x++ {
			s.Advance(at(x))
		}
	}
	s.dump(0, flows...)
	s.dump(10, flows...)
	wait(11, 14)
	stalled := flowTo(100, store)
	stalled.State = collector.Opening
	s.ObserveStalls(at(15), []collector.Flow{stalled})
	wait(16, 19)
	s.dump(20, flows[:50]...)
	wait(21, 25)
	if got := s.spaces.list[1].outlook.Latest().TimeToExhaustion; got != 0 {
		t.Errorf("exhausted in %.0f s, want now: an open failed", got)
	}
	s.dump(30, flows[:50]...)
	wait(31, 35)
	if got := s.spaces.list[1].outlook.Latest().TimeToExhaustion; got == 0 {
		t.Error("exhausted now, and nothing failed since the last forecast")
	}
}
