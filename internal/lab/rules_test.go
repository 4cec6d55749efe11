package lab

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/natrules"
	"github.com/snatwatch/snatwatch/collector/netns"
)

// What the agent reads of the router's rules is what the lab has set.
func TestKernelRulesAreUnderstood(t *testing.T) {
	t.Parallel()
	one := collector.PortRange{First: 1024, Last: 1039}
	l := newLab(t, Topology{Nodes: 2, NAT: []NAT{
		{Nodes: []int{0}, VIPs: []netip.Addr{VIP(0)}, Ports: one},
		{Nodes: []int{1}, VIPs: []netip.Addr{VIP(1), VIP(2)}, Ports: testPorts},
		{Form: Numgen, VIPs: []netip.Addr{VIP(3), VIP(5)}, Ports: testPorts},
		{Form: Numgen, VIPs: []netip.Addr{vip6(0), vip6(1)}, Ports: testPorts},
	}})
	router, err := netns.Open(l.Router().Path())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = router.Close() }()
	got, err := natrules.Read(router)
	if err != nil {
		t.Fatal(err)
	}
	want := natrules.Ruleset{Read: true, Translating: 8}
	for _, r := range []natrules.Rule{
		{VIPs: []netip.Addr{vip6(0), vip6(1)}, Ports: testPorts}, // its table was made last
		{VIPs: []netip.Addr{VIP(0)}, Ports: one},
		{VIPs: []netip.Addr{VIP(1), VIP(2)}, Ports: testPorts, SpacePerVIP: true},
		{VIPs: []netip.Addr{VIP(3), VIP(5)}, Ports: testPorts},
	} {
		tcp, udp := r, r
		tcp.TCP, udp.UDP = true, true
		want.Rules = append(want.Rules, tcp, udp)
	}
	d := cmp.Diff(want, got,
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmpopts.IgnoreFields(natrules.Rule{}, "Table", "Chain", "Handle"),
		cmpopts.IgnoreFields(natrules.Ruleset{}, "Addresses"), cmpopts.IgnoreUnexported(natrules.Ruleset{}))
	if d != "" {
		t.Errorf("rules (-set +read):\n%s", d)
	}
}
