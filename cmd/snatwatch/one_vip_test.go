package main

import (
	"net/netip"
	"testing"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/lab"
)

// oneVIP builds a lab whose router translates to one VIP with the ports from 2000 to last. A server there holds what it
// accepts at the address that is returned.
func oneVIP(t *testing.T, last uint16) (*lab.Lab, netip.AddrPort) {
	t.Helper()
	l, err := lab.New(t.Context(), lab.Topology{NAT: []lab.NAT{{
		VIPs: []netip.Addr{lab.VIP(0)}, Ports: collector.PortRange{First: 2000, Last: last},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	to := l.Server(0).At(9000)
	server, err := l.Server(0).Hold(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return l, to
}
