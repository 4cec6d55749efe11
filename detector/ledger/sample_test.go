package ledger

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// sampled is a ledger with one port space, towards store, that has a sample: an open failed there.
func sampled(t *testing.T, b *budget.Budget) script {
	s := newScript(t, Config{Budgets: []*budget.Budget{b}})
	s.dump(0)
	s.open(1, flowTo(0, store))
	s.open(2, flowTo(1, store))
	for x := 3.0; x < 8; x++ {
		s.Advance(at(x))
	}
	s.close(8, flowTo(1, store), collector.Timeout)
	if !s.spaces.list[1].outlook.Sampled() {
		t.Fatal("an open failed, and the port space has no sample")
	}
	return s
}

// mostSamples is how many port spaces of a budget may have a sample.
const mostSamples = 8

// A sample ends with its outlook, so that another port space can have one.
func TestSampleEndsWithItsOutlook(t *testing.T) {
	t.Parallel()
	// Opens to destination n fail from second x on, for 20 seconds.
	fail := func(s script, n int, x float64) {
		for i := range 20 {
			f := flowTo(100*n+i, fmt.Sprintf("203.0.113.%d:443", n))
			s.open(x+float64(i), f)
			s.close(x+float64(i)+0.5, f, collector.Timeout)
		}
	}
	for _, tt := range []struct {
		name string
		do   func(s script)
		max  int
	}{
		{"forgotten", func(s script) { s.Advance(at(1100)) }, 1000},
		{"handed on", func(s script) {
			for i := range 150 {
				s.open(300, flowTo(5000+i, "203.0.113.99:443"))
			}
			s.Advance(at(340))
		}, mostSamples},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, Config{Budgets: []*budget.Budget{coolingBudget(1024, 0)}, ForecastMax: tt.max})
			s.dump(0)
			for n := range mostSamples {
				fail(s, n+1, float64(1+25*n))
			}
			tt.do(s)
			fail(s, 99, 1200)
			space := &s.spaces.list[s.spaces.byKey[spaceKey{destination: pack(netip.MustParseAddr("203.0.113.99")), port: 443}]]
			if space.outlook == nil || !space.outlook.Sampled() {
				t.Error("the ninth port space that fails has no sample")
			}
			if err := audit(s.Ledger); err != nil {
				t.Error(err)
			}
		})
	}
}

// Ports that were cooling down when a forecast began may be of flows that were never answered, and held none.
func TestHandedOnIsNoContradiction(t *testing.T) {
	t.Parallel()
	b := coolingBudget(100, 0)
	b.TCP.CoolDown[collector.Timeout] = 300 * time.Second
	s := newScript(t, Config{Budgets: []*budget.Budget{b}, ForecastMax: 1})
	s.dump(0)
	s.open(1, flowTo(0, "203.0.113.9:443"))
	n := 1
	for ; n < 150; n++ {
		f := flowTo(n, store)
		f.State = collector.Opening
		s.open(2, f)
		s.close(3, f, collector.Timeout)
	}
	for x := 30.0; x < 600; x++ {
		s.open(x, flowTo(n, store))
		s.close(x+0.5, flowTo(n, store), collector.FIN)
		n++
	}
	if s.spaces.list[2].outlook == nil {
		t.Error("the fuller port space has no forecast")
	}
	if said, why := forecast.Contradicted(s.forecastsOf(0)); said {
		t.Errorf("contradicted: %s", why)
	}
}

// A sample stays over a reconfiguration if its budget has the same terms and its port space.
func TestSampleOverReconfigure(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(b *budget.Budget)
		want   bool
	}{
		{"another pool", func(b *budget.Budget) { b.Pool = "blue" }, true},
		{"another cool-down", func(b *budget.Budget) { b.TCP.CoolDown[collector.FIN] = time.Minute }, false},
		{"not through the NAT", func(b *budget.Budget) { b.Exclude = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")} }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := coolingBudget(1024, 240*time.Second)
			s := sampled(t, b)
			of := s.spaces.list[1].outlook
			after := *b
			tt.change(&after)
			s.Reconfigure([]*budget.Budget{&after})
			if err := audit(s.Ledger); err != nil {
				t.Fatal(err)
			}
			if got := of.Sampled(); got != tt.want {
				t.Errorf("the sample is kept: %v, want %v", got, tt.want)
			}
		})
	}
}
