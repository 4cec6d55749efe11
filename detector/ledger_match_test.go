package detector

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
)

// Two rules that share a VIP are told apart by the port that a flow got, also when
// the ranges change, and a port in no range counts nowhere.
func TestPortRanges(t *testing.T) {
	t.Parallel()
	vip := netip.MustParseAddr("198.51.100.1")
	ranged := func(name string, first, last uint16) *Budget {
		b := plain()
		b.Name, b.Translated, b.VIPs, b.PortRange = name, true, []netip.Addr{vip}, collector.PortRange{First: first, Last: last}
		return b
	}
	s := newScript(t, LedgerConfig{Budgets: []*Budget{ranged("low", 1024, 2047), ranged("high", 2048, 3071)}})
	var flows []collector.Flow
	for i, port := range []uint16{1023, 1024, 2047, 2048, 3071, 3072, 65535, 1500} {
		f := flowTo(i, store)
		f.Translated, f.VIP = true, netip.AddrPortFrom(vip, port)
		flows = append(flows, f)
	}
	live := func(seconds float64) map[string]int {
		got := map[string]int{}
		for _, b := range s.Snapshot(at(seconds)).Budgets {
			got[b.Budget.Name] = b.Protocols[0].Live
		}
		return got
	}
	s.dump(1, flows...)
	if diff := cmp.Diff(map[string]int{"low": 3, "high": 2}, live(2)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s.Reconfigure([]*Budget{ranged("low", 1024, 1499), ranged("high", 1500, 65535)})
	s.dump(3, flows...)
	if diff := cmp.Diff(map[string]int{"low": 1, "high": 6}, live(4)); diff != "" {
		t.Errorf("after other ranges (-want +got):\n%s", diff)
	}
}

// A local budget counts ephemeral ports: not the port that a server listens on.
func TestPortRangeOfLocalPorts(t *testing.T) {
	t.Parallel()
	b := plain()
	b.Local, b.PortRange = true, collector.PortRange{First: 32768, Last: 60999}
	s := newScript(t, LedgerConfig{Budgets: []*Budget{b}})
	client, accepted := flowTo(40000, store), flowTo(443, "203.0.113.9:40000")
	s.dump(1, client, accepted)
	s.want(2, 1, 0)
}
