package conntrack

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mdlayher/netlink"
	oracle "github.com/ti-mo/conntrack"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// dialOracle opens ti-mo/conntrack in ns.
func dialOracle(t testing.TB, ns *netns.Handle) *oracle.Conn {
	t.Helper()
	c, err := oracle.Dial(&netlink.Config{NetNS: ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// record is a Sink that keeps what it is given.
type record struct{ events []collector.Event }

func (r *record) sink(_ context.Context, events []collector.Event) error {
	r.events = append(r.events, events...)
	return nil
}

func (r *record) kinds() map[collector.Kind]int {
	n := map[collector.Kind]int{}
	for _, e := range r.events {
		n[e.Kind]++
	}
	return n
}

// flows are those of the events of one kind, by source and protocol.
func (r *record) flows(k collector.Kind) []collector.Flow {
	var list []collector.Flow
	for _, e := range r.events {
		if e.Kind == k {
			list = append(list, e.Flow)
		}
	}
	return sorted(list)
}

func sorted(list []collector.Flow) []collector.Flow {
	slices.SortFunc(list, func(a, b collector.Flow) int {
		return cmp.Or(a.Source.Compare(b.Source), a.Destination.Compare(b.Destination),
			cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Zone, b.Zone))
	})
	return list
}

// translate puts ti-mo's view of a flow into ours; times are compared elsewhere.
func translate(f oracle.Flow, ns uint64) collector.Flow {
	tuple := func(t oracle.Tuple) (src, dst netip.AddrPort) {
		return netip.AddrPortFrom(t.IP.SourceAddress.Unmap(), t.Proto.SourcePort),
			netip.AddrPortFrom(t.IP.DestinationAddress.Unmap(), t.Proto.DestinationPort)
	}
	src, _ := tuple(f.TupleOrig)
	dst, vip := tuple(f.TupleReply)
	out := collector.Flow{
		Protocol: collector.Protocol(f.TupleOrig.Proto.Protocol), ID: f.ID, Netns: ns,
		Zone: cmp.Or(f.Zone, f.TupleReply.Zone), ZoneOut: cmp.Or(f.Zone, f.TupleOrig.Zone),
		Source: src, Destination: dst, VIP: src, Translated: f.Status.SrcNAT(),
	}
	if out.Translated {
		out.VIP = vip
	}
	out.State = collector.Opening
	if f.Status.SeenReply() {
		out.State = collector.Established
	}
	if f.ProtoInfo.TCP != nil {
		switch f.ProtoInfo.TCP.State {
		case 1, 9:
			out.State = collector.Opening
		case 2, 3:
			out.State = collector.Established
		case 4, 5, 6:
			out.State = collector.Closing
		case 7:
			out.State, out.Reason = collector.Done, collector.FIN
		case 8:
			out.State, out.Reason = collector.Done, collector.RST
		default:
			out.State = collector.StateUnknown
		}
	}
	return out
}

// ignoreTimes leaves out what the oracle does not work out.
var ignoreTimes = cmpopts.IgnoreFields(collector.Flow{}, "Opened", "Ended", "Active", "Cut", "Expires")

// agree fails unless a dump shows the flows that ti-mo shows.
func agree(t *testing.T, ns *netns.Handle, cfg Config) []collector.Flow {
	t.Helper()
	cfg.Netns = ns
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	all, err := dialOracle(t, ns).Dump(nil)
	if err != nil {
		t.Fatal(err)
	}
	var got record
	if err := s.Dump(t.Context(), got.sink); err != nil {
		t.Fatal(err)
	}
	var want []collector.Flow
	for _, f := range all {
		p := collector.Protocol(f.TupleOrig.Proto.Protocol)
		if (p == collector.TCP || p == collector.UDP) && (!cfg.OnlyTranslated || f.Status.SrcNAT()) {
			want = append(want, translate(f, ns.Inode()))
		}
	}
	seen := got.flows(collector.Seen)
	if d := gocmp.Diff(sorted(want), seen, ignoreTimes, gocmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Errorf("flows (-ti-mo +ours):\n%s", d)
	}
	if first, last := got.events[0], got.events[len(got.events)-1]; first.Kind != collector.Begin || last.Kind != collector.End ||
		first.Netns != ns.Inode() || last.Netns != ns.Inode() || first.At > last.At {
		t.Errorf("a dump from %v to %v", first, last)
	}
	if n := s.Stats(); n.ParseErrors != 0 || n.UnknownAttributes != 0 || n.Dumps != 1 || n.Flows != len(seen) {
		t.Errorf("stats %+v", n)
	}
	return seen
}

// Whatever the kernel is made to add to an entry, every flow comes out as ti-mo sees it.
func TestKernelDumpAgreesWithOracle(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	if got := agree(t, ns, Config{}); len(got) != 0 {
		t.Errorf("a new namespace shows %d flows", len(got))
	}
	c := newCreator(t, ns)
	for i := range uint16(1000) {
		e := tableEntry{proto: collector.TCP, state: uint8(1 + i%9), timeout: 60, status: statusSeenReply}
		src, dst, vip := addr("10.0.0.1"), addr("203.0.113.7"), addr("198.51.100.1")
		if i%2 == 1 {
			e.proto = collector.UDP
		}
		if i%4 >= 2 {
			src, dst, vip = addr("fd00::1"), addr("2001:db8::7"), addr("2001:db8:1::1")
		}
		e.src, e.dst = netip.AddrPortFrom(src, 10000+i), netip.AddrPortFrom(dst, 443)
		if i%8 >= 4 {
			e.vip = netip.AddrPortFrom(vip, 1024+i)
		}
		if i%16 >= 8 {
			e.zone = i
		}
		if i%3 == 0 {
			e.labels = []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, byte(i)}
			e.status = statusAssured
		}
		c.add(&e)
	}
	c.flush()
	if got := agree(t, ns, Config{}); len(got) != 1000 {
		t.Errorf("%d flows, want 1000", len(got))
	}
	if got := agree(t, ns, Config{OnlyTranslated: true}); len(got) != 500 {
		t.Errorf("%d translated flows, want 500", len(got))
	}
}

// A Sink that refuses ends the dump, with its own error and without another event.
func TestKernelSinkRefuses(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	c := newCreator(t, ns)
	for i := range uint16(600) {
		c.add(established(netip.AddrPortFrom(addr("10.0.0.1"), i+1), netip.MustParseAddrPort("203.0.113.7:53"), netip.AddrPort{}))
	}
	c.flush()
	s, err := New(Config{Netns: ns, Interval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("full")
	calls := 0
	err = s.Run(t.Context(), func(context.Context, []collector.Event) error { calls++; return full })
	if !errors.Is(err, full) || calls != 1 {
		t.Errorf("after %d calls: %v", calls, err)
	}
}

// Flows are looked up by either direction of their entry.
func TestKernelUnknown(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	c := newCreator(t, ns)
	flow := func(p collector.Protocol, src, dst string) collector.Flow {
		return collector.Flow{Protocol: p, Source: netip.MustParseAddrPort(src), Destination: netip.MustParseAddrPort(dst)}
	}
	known := []collector.Flow{
		flow(collector.TCP, "10.0.0.1:10000", "203.0.113.7:443"),
		flow(collector.TCP, "10.0.0.1:10001", "203.0.113.7:443"), // translated
		flow(collector.TCP, "[fd00::1]:10000", "[2001:db8::7]:443"),
	}
	for i, f := range known {
		e := established(f.Source, f.Destination, netip.AddrPort{})
		if i == 1 {
			e = established(f.Source, f.Destination, netip.MustParseAddrPort("198.51.100.1:1024"))
		}
		c.add(e)
	}
	c.flush()
	for _, tt := range []struct {
		name  string
		flows []collector.Flow
		want  int
	}{
		{"none", nil, 0},
		{"known", known, 0},
		{"as an accepted connection has it", []collector.Flow{flow(collector.TCP, "203.0.113.7:443", "10.0.0.1:10000")}, 0},
		{"another port, protocol, address, family", append([]collector.Flow{
			flow(collector.TCP, "10.0.0.1:10002", "203.0.113.7:443"),
			flow(collector.UDP, "10.0.0.1:10000", "203.0.113.7:443"),
			flow(collector.TCP, "10.0.0.1:10000", "203.0.113.8:443"),
			flow(collector.TCP, "[fd00::2]:10000", "[2001:db8::7]:443"),
		}, known...), 4},
	} {
		if got, err := Unknown(t.Context(), ns, tt.flows); err != nil || got != tt.want {
			t.Errorf("%s: %d, %v, want %d", tt.name, got, err, tt.want)
		}
	}
}
