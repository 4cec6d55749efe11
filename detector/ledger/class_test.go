package ledger

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// Flows that hold ports below 1024 take none of a masquerade's large range: they have port spaces of their own, which are
// full at their own ceilings.
func TestLowPortsArePortSpaces(t *testing.T) {
	t.Parallel()
	resolve := func(r collector.PortRange) *budget.Budget {
		t.Helper()
		b, err := budget.Resolve(budget.Params{Name: "nat", Model: "linux", PortRange: r})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	masquerade := resolve(collector.PortRange{})
	s := newScript(t, Config{Budgets: []*budget.Budget{masquerade}})
	var flows []collector.Flow
	hold := func(first, n int) {
		for port := first; port < first+n; port++ {
			f := polled(flowTo(port, store), 1)
			f.Translated = true
			f.VIP = netip.AddrPortFrom(netip.MustParseAddr("198.51.100.1"), uint16(port))
			flows = append(flows, f)
		}
	}
	hold(1, 511)
	hold(700, 20)
	hold(5000, 30)
	s.dump(1, flows...)
	s.dump(3, flows...)
	type space struct {
		VIP  string
		Held int
		Left bool
	}
	look := func() (got []space) {
		for _, x := range s.tcp(4).Spaces {
			got = append(got, space{x.VIP, x.Held, x.Forecast == nil || x.Forecast.Probability[0] < 1})
		}
		return got
	}
	want := []space{{"ports 1-511", 511, false}, {"", 30, true}, {"ports 600-1023", 20, true}}
	if diff := cmp.Diff(want, look()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := audit(s.Ledger); err != nil {
		t.Error(err)
	}
	names := map[forecast.SpaceName]bool{} // by which a state keeps what a port space learned
	for i := range s.spaces.list {
		if x := &s.spaces.list[i]; x.used {
			names[x.name(s.spaces.accounts[x.key.account])] = true
		}
	}
	if len(names) != len(want) {
		t.Errorf("port spaces have names %v, want one each", names)
	}
	if got, ok := s.Space("nat", collector.TCP, netip.Addr{}, store); !ok || got.Held != 30 {
		t.Errorf("the port space of all ports holds %d", got.Held)
	}
	s.Reconfigure([]*budget.Budget{resolve(collector.PortRange{First: 1, Last: 65535})})
	s.dump(6, flows...)
	if diff := cmp.Diff([]space{{"", 561, true}}, look()); diff != "" {
		t.Errorf("a rule with a range of its own (-want +got):\n%s", diff)
	}
	s.Reconfigure([]*budget.Budget{masquerade})
	s.dump(8, flows...)
	if diff := cmp.Diff(want, look()); diff != "" {
		t.Errorf("without a range again (-want +got):\n%s", diff)
	}
	if err := audit(s.Ledger); err != nil {
		t.Error(err)
	}
}
