package ledger

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// The kernel gives out each port once in each zone of conntrack, so zones are port spaces apart; a provider's NAT
// further out has no zones.
func TestZonesArePortSpaces(t *testing.T) {
	t.Parallel()
	type space struct {
		VIP, Destination string
		Held             int
	}
	for _, c := range []struct {
		name       string
		translated bool
		want       []space
	}{
		{"this machine's NAT", true, []space{{"", store, 20}, {"zone 5", store, 20}}},
		{"a provider's", false, []space{{"", store, 40}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := plain()
			b.Translated = c.translated
			b.TCP.Ports, b.TCP.Effective = 32, 32
			s := newScript(t, Config{Budgets: []*budget.Budget{b}})
			var flows []collector.Flow
			for n := range 40 {
				f := polled(flowTo(n, store), 1)
				f.Translated = true
				f.Zone = 5 * uint16(n%2)
				f.VIP = netip.AddrPortFrom(netip.MustParseAddr("198.51.100.1"), uint16(1024+n/2))
				flows = append(flows, f)
			}
			s.dump(1, flows...)
			s.dump(3, flows...)
			var got []space
			for _, x := range s.tcp(4).Spaces {
				got = append(got, space{x.VIP, x.Destination, x.Held})
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if err := audit(s.Ledger); err != nil {
				t.Error(err)
			}
		})
	}
}
