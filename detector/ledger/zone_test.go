package ledger

import (
	"net/netip"
	"slices"
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

// A connection that passes conntrack in several zones counts once under a budget of a NAT further out, whatever each
// pass translates and whichever is seen first. Connections that only look alike count each.
func TestConnectionInSeveralZonesCountsOnce(t *testing.T) {
	t.Parallel()
	entry := func(zone uint16, source, vip string, id uint32) collector.Flow {
		f := polled(flowTo(0, store), 2)
		f.Source, f.VIP = netip.MustParseAddrPort(source), netip.MustParseAddrPort(vip)
		f.Zone, f.ZoneOut, f.ID, f.Translated = zone, zone, id, source != vip
		return f
	}
	wayOut := func(f collector.Flow) collector.Flow {
		f.Zone = 0
		return f
	}
	const pod, joint, node = "10.1.0.5:40000", "100.64.0.2:2000", "192.0.2.7:3000"
	for _, tt := range []struct {
		name  string
		flows []collector.Flow
		live  int
	}{
		{"nothing is translated", []collector.Flow{entry(0, node, node, 1), entry(5, node, node, 2)}, 1},
		{"three zones", []collector.Flow{entry(3, node, node, 1), entry(4, node, node, 2), entry(5, node, node, 3)}, 1},
		{"before the translation", []collector.Flow{entry(5, pod, pod, 1), entry(0, pod, node, 2)}, 1},
		{"after it", []collector.Flow{entry(0, pod, node, 1), entry(5, node, node, 2)}, 1},
		{"before and after", []collector.Flow{entry(5, pod, pod, 1), entry(6, pod, node, 2), entry(7, node, node, 3)}, 1},
		{"translated twice", []collector.Flow{entry(5, pod, joint, 1), entry(6, joint, node, 2)}, 1},
		{
			"tenants with the same addresses",
			[]collector.Flow{entry(5, pod, node, 1), entry(6, pod, "192.0.2.7:3001", 2)},
			2,
		},
		{"zones of the way out alone", []collector.Flow{wayOut(entry(5, pod, pod, 1)), wayOut(entry(6, pod, node, 2))}, 1},
		{"one in a zone of the way out alone", []collector.Flow{entry(0, pod, pod, 1), wayOut(entry(6, pod, node, 2))}, 1},
		{"other connections", []collector.Flow{entry(5, pod, pod, 1), entry(6, "10.1.0.5:40001", node, 2)}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, backwards := range []bool{false, true} {
				for _, events := range []bool{false, true} {
					flows := slices.Clone(tt.flows)
					if backwards {
						slices.Reverse(flows)
					}
					s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
					stray := entry(9, "10.9.9.9:9", "10.9.9.9:9", 99) // it tells that there are zones
					s.dump(1, stray)
					if events {
						for i, f := range flows {
							s.open(2+float64(i)/10, f)
						}
					}
					check := func(at float64, live int) {
						t.Helper()
						p := s.tcp(at)
						if p.Live != live+1 || p.Opened != uint64(tt.live) || sumOf(p.Closed) != uint64(tt.live-live) {
							t.Errorf("backwards %v, events %v, at %v s: %d live of %d opened, closed %v, want %d of %d",
								backwards, events, at, p.Live-1, p.Opened, p.Closed, live, tt.live)
						}
						if err := audit(s.Ledger); err != nil {
							t.Error(err)
						}
					}
					for at := 3.0; at < 30; at += 5 {
						s.dump(at, append(flows, stray)...)
						check(at+1, tt.live)
					}
					ended := []collector.Flow{stray}
					for _, f := range flows {
						ended = append(ended, done(f, collector.FIN, 31))
					}
					s.dump(33, ended...)
					check(34, 0)
					s.dump(38, ended...)
					s.dump(43, stray)
					check(44, 0)
				}
			}
		})
	}
}

// Until a flow of another zone has come, nothing is kept to tell passes apart: a connection whose second pass brings the
// first such flow counts twice for a dump, and not as one that ended.
func TestFirstZone(t *testing.T) {
	t.Parallel()
	first, second := polled(flowTo(0, store), 1), polled(flowTo(0, store), 1)
	first.Translated, first.VIP = true, netip.MustParseAddrPort("192.0.2.7:3000")
	second.Zone, second.ID = 5, 99
	s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
	s.dump(1, first, second)
	if p := s.tcp(2); p.Held != 2 {
		t.Errorf("%d held, want 2", p.Held)
	}
	s.dump(6, first, second)
	if p := s.tcp(7); p.Held != 1 || sumOf(p.Closed) != 0 {
		t.Errorf("%d held, closed %v, want 1, none", p.Held, p.Closed)
	}
}

func sumOf(closed [collector.NumReasons]uint64) (n uint64) {
	for _, c := range closed {
		n += c
	}
	return n
}
