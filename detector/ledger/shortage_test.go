package ledger

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// Opens that find no local port are failures for lack of ports, and tell the ceiling of their destination where sockets
// that were bound before they connected hold the other ports.
func TestNoPortTellsTheCeiling(t *testing.T) {
	t.Parallel()
	b := plain()
	b.Local, b.TCP.Effective = true, 100
	s := newScript(t, Config{Budgets: []*budget.Budget{b}})
	var flows []collector.Flow
	to := func(n int, destination string) {
		for range n {
			f := flowTo(len(flows)+1, destination)
			f.Inode = 7
			f.Source = netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(40000+len(flows)))
			flows = append(flows, f)
		}
	}
	to(60, "203.0.113.9:443")
	to(40, store)
	refused := collector.Flow{Protocol: collector.TCP, Netns: 1, Destination: netip.AddrPortFrom(flows[60].Destination.Addr(), 0)}
	for n := range 20 {
		s.dump(float64(5*n), flows...)
	}
	for range 3 {
		s.event(collector.NoPort, 97, refused)
	}
	if p := s.tcp(98); p.NoPorts != 0 {
		t.Errorf("%d opens failed for ports before a dump told how many are held", p.NoPorts)
	}
	s.dump(100, flows...)
	says := func(seconds float64) (text string) {
		p := s.tcp(seconds)
		for _, sp := range p.Spaces {
			text += fmt.Sprintf("%s %d exhausted %v; ", sp.Destination, sp.Held, sp.Forecast != nil && sp.Forecast.TimeToExhaustion == 0)
		}
		return text + fmt.Sprintf("%d failed for ports, %d unanswered", p.NoPorts, p.Unanswered)
	}
	const want = "203.0.113.9:443 60 exhausted false; 203.0.113.7:443 40 exhausted true; 3 failed for ports, 0 unanswered"
	if diff := cmp.Diff(want, says(102)); diff != "" {
		t.Errorf("once opens fail (-want +got):\n%s", diff)
	}
	for n := range 20 { // no more failures, but as many ports as when there were
		s.dump(float64(105+5*n), flows...)
	}
	if diff := cmp.Diff(want, says(205)); diff != "" {
		t.Errorf("without another failure (-want +got):\n%s", diff)
	}
	bs := s.Snapshot(at(206)).Budgets[0]
	if !bs.Contradicted || !strings.Contains(bs.Contradiction, "no port towards 203.0.113.7:443 with 40 of 100 held") {
		t.Errorf("contradicted %v: %s", bs.Contradicted, bs.Contradiction)
	}
	// What held the other ports is gone: 45 ports are held, so 40 is the ceiling no more.
	to(5, store)
	s.dump(210, flows[60:]...)
	s.dump(215, flows[60:]...)
	if diff := cmp.Diff("203.0.113.7:443 45 exhausted false; 203.0.113.9:443 0 exhausted false; 3 failed for ports, 0 unanswered", says(217)); diff != "" {
		t.Errorf("when it bears more (-want +got):\n%s", diff)
	}
	if bs := s.Snapshot(at(218)).Budgets[0]; bs.Contradicted {
		t.Errorf("still contradicted: %s", bs.Contradiction)
	}
	if err := audit(s.Ledger); err != nil {
		t.Error(err)
	}
}

// A socket that sends its first packet has a local port, and a flow of which conntrack has an entry has a port of this
// machine's NAT: when nobody answers it is for another reason, however full the budget is.
func TestUnansweredWithAPort(t *testing.T) {
	t.Parallel()
	local, translated, provider := plain(), plain(), plain()
	local.Local, translated.Translated = true, true
	for _, tt := range []struct {
		name    string
		budget  *budget.Budget
		tracked bool
		ports   uint64
	}{
		{"a local port", local, false, 0},
		{"an entry of this machine's NAT", translated, true, 0},
		{"no entry of this machine's NAT", translated, false, 1},
		{"an entry, and the NAT is further out", provider, true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, Config{Budgets: []*budget.Budget{tt.budget}})
			for n := range 92 {
				f := flowTo(n, store)
				f.Translated = tt.budget.Translated
				s.open(1, f)
			}
			stalled := flowTo(100, store)
			stalled.Translated = tt.tracked
			s.ObserveStalls(at(2), []collector.Flow{stalled})
			if p := s.tcp(3); p.NoPorts != tt.ports || p.Stalled != 1 {
				t.Errorf("%d of %d stalled failed for ports, want %d", p.NoPorts, p.Stalled, tt.ports)
			}
		})
	}
}
