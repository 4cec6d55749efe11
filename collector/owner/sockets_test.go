package owner

import (
	"net/netip"
	"testing"

	"github.com/snatwatch/snatwatch/collector"
)

// A UDP socket that sends to many is found by what it is bound to: its address, or every address of its family, where
// one of IPv6 may send by IPv4 unless IPv4 has its own. A connected one comes before it.
func TestAttributeOfBoundSockets(t *testing.T) {
	t.Parallel()
	bound := func(source string) uint64 {
		return flowKey{source: netip.MustParseAddrPort(source), protocol: collector.UDP}.bits()
	}
	udp := func(source string) collector.Flow {
		return flow(source, func(f *collector.Flow) { f.Protocol = collector.UDP })
	}
	connected := udp("192.0.2.1:53")
	x := indexOf(map[uint64]Identity{
		keyOf(&connected).bits(): unit("dig.service"), bound("192.0.2.1:53"): unit("named.service"),
		bound("0.0.0.0:53"): unit("dnsmasq.service"), bound("[::]:53"): unit("unbound.service"),
		bound("0.0.0.0:123"): unit("ntpd.service"), bound("[::]:443"): unit("quic.service"),
	})
	other := func(f collector.Flow) collector.Flow {
		f.Destination = netip.MustParseAddrPort("203.0.113.8:443")
		return f
	}
	for _, tt := range []struct {
		name string
		flow collector.Flow
		want string
	}{
		{"connected", connected, "dig.service"},
		{"bound to the address", other(connected), "named.service"},
		{"bound to all of IPv4, where all of IPv6 has another", udp("192.0.2.2:53"), "dnsmasq.service"},
		{"which has what goes by IPv6", udp("[2001:db8::1]:53"), "unbound.service"},
		{"bound to all of IPv4", udp("192.0.2.1:123"), "ntpd.service"},
		{"which sends nothing by IPv6", udp("[2001:db8::1]:123"), ""},
		{"bound to all of IPv6, by IPv4", udp("192.0.2.1:443"), "quic.service"},
		{"and by IPv6", udp("[2001:db8::1]:443"), "quic.service"},
		{"of TCP", flow("192.0.2.1:443"), ""},
		{"of no socket", udp("192.0.2.1:444"), ""},
	} {
		if id, ok := x.of(&tt.flow); id.ID != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: %q, want %q", tt.name, id.ID, tt.want)
		}
	}
}

// Where the sockets of several namespaces are known together, one that is bound to all addresses has flows of its own
// namespace alone.
func TestSpreadBoundSockets(t *testing.T) {
	t.Parallel()
	at := func(source string) flowKey {
		return flowKey{source: netip.MustParseAddrPort(source), protocol: collector.UDP}
	}
	bound := map[flowKey]Identity{
		at("10.0.0.6:53"): unit("named.service"), at("0.0.0.0:53"): unit("dnsmasq.service"), at("[::]:53"): unit("unbound.service"),
		at("[::]:443"): unit("quic.service"), at("0.0.0.0:123"): unit("ntpd.service"),
	}
	var addresses []netip.Addr
	for _, a := range []string{"10.0.0.6", "10.0.0.7", "2001:db8::6"} {
		addresses = append(addresses, netip.MustParseAddr(a))
	}
	spread(bound, addresses)
	want := map[flowKey]Identity{
		at("10.0.0.6:53"): unit("named.service"), at("10.0.0.7:53"): unit("dnsmasq.service"),
		at("[2001:db8::6]:53"): unit("unbound.service"),
		at("10.0.0.6:443"):     unit("quic.service"), at("10.0.0.7:443"): unit("quic.service"),
		at("[2001:db8::6]:443"): unit("quic.service"),
		at("10.0.0.6:123"):      unit("ntpd.service"), at("10.0.0.7:123"): unit("ntpd.service"),
	}
	if len(bound) != len(want) {
		t.Errorf("%d sockets, want %d", len(bound), len(want))
	}
	for k, id := range want {
		if bound[k] != id {
			t.Errorf("%v: %q, want %q", k.source, bound[k].ID, id.ID)
		}
	}
}
