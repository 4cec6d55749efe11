package lab

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
)

func TestIncidentLoad(t *testing.T) {
	t.Parallel()
	in := Incident{
		Durations: [NumStages]time.Duration{10 * time.Second, 10 * time.Second, time.Second, time.Second, time.Second},
		CalmRate:  20, BurstRate: 60, Fast: 0, Slow: 30 * time.Second,
	}
	for _, tt := range []struct {
		name string
		at   time.Duration
		want demand
		over bool
	}{
		{"start", 0, demand{Baseline, 20, 0}, false},
		{"end of baseline", 10*time.Second - 1, demand{Baseline, 20, 0}, false},
		{"start of burst", 10 * time.Second, demand{Burst, 20, 0}, false},
		{"half of burst", 15 * time.Second, demand{Burst, 40, 15 * time.Second}, false},
		{"exhausted", 20 * time.Second, demand{Exhausted, 60, 30 * time.Second}, false},
		{"relief", 21 * time.Second, demand{Relief, 60, 30 * time.Second}, false},
		{"recovery", 22 * time.Second, demand{Recovery, 20, 0}, false},
		{"over", 23 * time.Second, demand{}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, ok := in.at(tt.at)
			if ok == tt.over {
				t.Errorf("going on: %v", ok)
			}
			if d := cmp.Diff(tt.want, got, cmp.AllowUnexported(demand{})); d != "" {
				t.Errorf("load (-want +got):\n%s", d)
			}
		})
	}
}

func TestStagesHaveNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for s := range NumStages {
		if name := s.String(); name == "" || seen[name] {
			t.Errorf("stage %d: name %q is empty or taken", uint8(s), name)
		} else {
			seen[name] = true
		}
	}
	if got, want := NumStages.String(), "stage 5"; got != want {
		t.Errorf("beyond the last stage: %q, want %q", got, want)
	}
}

// The incident in small: one VIP has 64 ports, the load asks for 90, two VIPs carry it.
func TestKernelIncident(t *testing.T) {
	t.Parallel()
	small := collector.PortRange{First: 1024, Last: 1087}
	in := DefaultIncident()
	l := newLab(t, Topology{NAT: []NAT{{Nodes: []int{0}, Form: Numgen, VIPs: in.VIPs[:1], Ports: small}}})
	in.Durations = [NumStages]time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second, 3 * time.Second}
	in.Slow, in.Patience = 1500*time.Millisecond, 1200*time.Millisecond
	in.BurstRate = 54 // 81 live flows: more than one VIP carries, and less than two
	in.Every = 100 * time.Millisecond
	var most, last [NumStages]Moment
	in.Observe = func(m Moment) {
		if m.Live >= most[m.Stage].Live {
			most[m.Stage] = m
		}
		last[m.Stage] = m
	}
	if err := l.RunIncident(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	for s := range NumStages {
		t.Logf("%-9v most live %d; at its end live %d, opening %d, calls %d, answered %d, failed %d",
			s, most[s].Live, last[s].Live, last[s].Opening, last[s].Calls, last[s].Answered, last[s].Failed)
	}
	if n := most[Baseline].Live; n > 20 {
		t.Errorf("baseline: up to %d live flows, want 20 at most", n)
	}
	// A port that becomes free waits for the next SYN, which may be a second away.
	if n := most[Exhausted].Live; n > small.Len() || n < small.Len()-4 {
		t.Errorf("exhausted: up to %d live flows, want the VIP's %d ports or nearly so", n, small.Len())
	}
	if last[Baseline].Failed != 0 || last[Exhausted].Failed == 0 || last[Exhausted].FirstFailure.IsZero() {
		t.Errorf("failed %d by the end of baseline and %d of exhausted, first at %v; want none, some, known",
			last[Baseline].Failed, last[Exhausted].Failed, last[Exhausted].FirstFailure)
	}
	if n := most[Relief].Live; n <= small.Len() {
		t.Errorf("relief: up to %d live flows, want more than one VIP's %d ports", n, small.Len())
	}
	if n := last[Recovery].Opening; n != 0 {
		t.Errorf("recovery: %d flows still wait at the end", n)
	}
	if want := last[Relief].Failed; last[Recovery].Failed > want {
		t.Errorf("recovery: %d calls failed by the end, want no more than the %d before", last[Recovery].Failed, want)
	}
}

func TestKernelIncidentNeedsItsRule(t *testing.T) {
	t.Parallel()
	l := newLab(t, Topology{NAT: []NAT{{Form: Numgen, VIPs: vips(1), Ports: testPorts}}})
	if err := l.setVIPs(0, []netip.Addr{VIP(0), VIP(1)}); err == nil {
		t.Error("a rule for all nodes was changed for one")
	}
}
