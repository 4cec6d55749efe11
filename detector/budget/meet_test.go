package budget

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/snatwatch/snatwatch/collector"
)

func TestOverlap(t *testing.T) {
	t.Parallel()
	terms := Terms{Ports: 1}
	all := Budget{TCP: terms, UDP: terms}
	with := func(f func(*Budget)) Budget {
		b := all
		f(&b)
		return b
	}
	vip := func(first, last uint16, vips ...string) Budget {
		return with(func(b *Budget) {
			for _, v := range vips {
				b.VIPs = append(b.VIPs, netip.MustParseAddr(v))
			}
			b.Translated, b.PortRange = true, collector.PortRange{First: first, Last: last}
		})
	}
	netns := func(n uint64) Budget { return with(func(b *Budget) { b.Netns = n }) }
	only := func(tcp, udp int) Budget {
		return with(func(b *Budget) { b.TCP.Ports, b.UDP.Ports = tcp, udp })
	}
	local := func(first, last uint16) Budget {
		return with(func(b *Budget) { b.Local, b.PortRange = true, collector.PortRange{First: first, Last: last} })
	}
	tests := []struct {
		name string
		a, b Budget
		want bool
	}{
		{"all and all", all, all, true},
		{"local and NAT", all, local(1, 2), false},
		{"local ranges apart", local(1, 2), local(3, 4), false},
		{"local ranges that touch", local(1, 3), local(3, 4), true},
		{"namespaces apart", netns(1), netns(2), false},
		{"any namespace and one", all, netns(2), true},
		{"protocols apart", only(1, 0), only(0, 1), false},
		{"one protocol in common", only(1, 1), only(0, 1), true},
		{"VIPs apart", vip(0, 0, "203.0.113.1"), vip(0, 0, "203.0.113.2"), false},
		{"a VIP in common", vip(0, 0, "203.0.113.1", "203.0.113.2"), vip(0, 0, "203.0.113.2"), true},
		{"any VIP and one", vip(0, 0), vip(0, 0, "203.0.113.2"), true},
		{"a VIP in common, ports apart", vip(1024, 2047, "203.0.113.1"), vip(2048, 3071, "203.0.113.1"), false},
		{"a VIP in common, ports that touch", vip(1024, 2048, "203.0.113.1"), vip(2048, 3071, "203.0.113.1"), true},
		{"a cloud behind this machine's NAT", vip(1024, 2047, "203.0.113.1"), all, false},
		{"another NAT of this machine's", vip(1024, 2047, "203.0.113.1"), with(func(b *Budget) { b.OnNode = true }), true},
	}
	for _, tt := range tests {
		for _, x := range [][2]*Budget{{&tt.a, &tt.b}, {&tt.b, &tt.a}} {
			if got := Overlap(x[0], x[1]); got != tt.want {
				t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
			}
		}
	}
}

// Destinations meet exactly if some address is in both, tried one by one in a /24.
func TestDestinationsMeet(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	prefixes := func(most int) (ps []netip.Prefix) {
		for range rng.IntN(most + 1) {
			a := netip.AddrFrom4([4]byte{192, 0, 2, byte(rng.IntN(256))})
			ps = append(ps, netip.PrefixFrom(a, 24+rng.IntN(9)).Masked())
		}
		return ps
	}
	holds := func(ps []netip.Prefix, a netip.Addr) bool {
		return slices.ContainsFunc(ps, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	met := 0
	for range 20_000 {
		a := Budget{Include: prefixes(3), Exclude: prefixes(5)}
		b := Budget{Include: prefixes(3), Exclude: prefixes(5)}
		if len(a.Include) == 0 && len(b.Include) == 0 {
			continue // meet outside the /24
		}
		want := false
		for i := range 256 {
			x := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
			in := func(d Budget) bool {
				return (len(d.Include) == 0 || holds(d.Include, x)) && !holds(d.Exclude, x)
			}
			want = want || in(a) && in(b)
		}
		if want {
			met++
		}
		if got := destinationsMeet(&a, &b); got != want {
			t.Fatalf("%v but %v and %v but %v: %v, want %v", a.Include, a.Exclude, b.Include, b.Exclude, got, want)
		}
	}
	if met < 1000 {
		t.Errorf("only %d cases met: the test proves little", met)
	}
}

// Two halves cover the whole, of both families.
func TestCovered(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"0.0.0.0/0", "::/0", "203.0.113.0/31", "2001:db8::/127"} {
		p := netip.MustParsePrefix(s)
		low, high := halves(p)
		if !Covered(p, []netip.Prefix{low, high}) || Covered(p, []netip.Prefix{low}) || Covered(p, []netip.Prefix{high}) {
			t.Errorf("%v: halves %v and %v", p, low, high)
		}
	}
}
