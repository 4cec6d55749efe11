package config

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/snatwatch/snatwatch/detector/budget"
)

// Under a NAT further out, flows to an address of this machine count nowhere: they come in, or stay. Those that
// the config leaves out anyway are not looked for.
func TestOwnAddressesAreNoDestinations(t *testing.T) {
	t.Parallel()
	c := parse(t, `budgets: [{name: far, model: gcp-nat-static, ports: 1024, vips: [192.0.2.1], destinations: {exclude: [10.0.0.0/8, 127.0.0.0/8, 203.0.113.128/25]}}, {name: here, model: linux, vips: [198.51.100.9], port_range: 2000-2999}, {name: ports, model: local}, {name: store, model: static, ports: 9, destinations: {include: [203.0.113.128/25]}}]`)
	m := Machine{Addresses: addrs("10.0.0.4", "127.0.0.1", "198.51.100.9", "2001:db8::9")}
	m.Limits.LocalPorts.First, m.Limits.LocalPorts.Last = 32768, 60999
	budgets, _, err := c.Resolve(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range budgets {
		want := []netip.Addr(nil)
		if b.Name == "far" {
			want = addrs("198.51.100.9", "2001:db8::9")
		}
		if !slices.Equal(b.Here, want) {
			t.Errorf("%s: leaves out %v, want %v", b.Name, b.Here, want)
		}
		checkReaches(t, b, "203.0.113.7", b.Name != "store")
		checkReaches(t, b, "198.51.100.9", b.Name == "here" || b.Name == "ports")
	}
}

func checkReaches(t *testing.T, b *budget.Budget, destination string, want bool) {
	t.Helper()
	if got := b.Reaches(netip.MustParseAddr(destination)); got != want {
		t.Errorf("%s counts flows to %s: %v, want %v", b.Name, destination, got, want)
	}
}
