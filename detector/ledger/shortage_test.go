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

// Other budgets may come while failed opens wait for a dump: the opens count under the budget that they failed under,
// and contradict no budget that has its number now.
func TestNoPortAndOtherBudgets(t *testing.T) {
	t.Parallel()
	local, elsewhere := plain(), plain()
	local.Local, elsewhere.Local = true, true
	elsewhere.Name, elsewhere.Netns = "elsewhere", 2
	s := newScript(t, Config{Budgets: []*budget.Budget{elsewhere, local}})
	none := flowTo(0, store)
	s.event(collector.NoPort, 1, none)
	s.dump(2)
	s.dump(4)
	bs := s.Snapshot(at(5)).Budgets
	if bs[0].Contradicted || !bs[1].Contradicted || bs[1].Protocols[0].NoPorts != 1 {
		t.Errorf("contradicted %v and %v, %d opens failed", bs[0].Contradicted, bs[1].Contradicted,
			bs[1].Protocols[0].NoPorts)
	}
	s.event(collector.NoPort, 6, none)
	s.Reconfigure([]*budget.Budget{local})
	s.dump(7)
	s.dump(9)
	if bs = s.Snapshot(at(10)).Budgets; bs[0].Protocols[0].NoPorts != 2 {
		t.Errorf("%d opens failed, want the one that waited too", bs[0].Protocols[0].NoPorts)
	}
	s.event(collector.NoPort, 11, none)
	s.dump(12)
	s.dump(14)
	s.Reconfigure([]*budget.Budget{elsewhere, local})
	if bs = s.Snapshot(at(15)).Budgets; bs[0].Contradicted {
		t.Errorf("what is known of another budget contradicts it: %s", bs[0].Contradiction)
	}
}

// Ports in use of a namespace that vanished do not stay in use.
func TestPortsInUseOfVanishedNamespace(t *testing.T) {
	t.Parallel()
	b := plain()
	b.Local = true
	s := newScript(t, Config{Budgets: []*budget.Budget{b}})
	dump := func(seconds float64, inode uint64, flows int) {
		s.Apply(&collector.Event{Kind: collector.Begin, At: at(seconds), Netns: inode})
		for n := range flows {
			f := flowTo(n+1, store)
			f.Netns, f.Inode = inode, uint32(n+1)
			s.Apply(&collector.Event{Kind: collector.Seen, At: at(seconds), Netns: inode, Flow: f})
		}
		s.Apply(&collector.Event{Kind: collector.End, At: at(seconds), Netns: inode})
	}
	dump(1, 1, 5)
	dump(2, 2, 90)
	if p := s.tcp(3); p.PortsInUse != 90 {
		t.Errorf("%d ports in use, want the 90 of the namespace with most", p.PortsInUse)
	}
	dump(4, 2, 0)
	for seconds := 6.0; seconds < 1800; seconds += 10 {
		dump(seconds, 1, 5)
	}
	if p := s.tcp(1800); p.PortsInUse != 5 {
		t.Errorf("%d ports in use, want the 5 of the namespace that is left", p.PortsInUse)
	}
}
