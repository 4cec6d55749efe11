package detector

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// witnessed is a ledger with one port space, towards store, that has a witness.
func witnessed(t *testing.T, b *budget.Budget) (script, *witness) {
	s := newScript(t, LedgerConfig{Budgets: []*budget.Budget{b}})
	s.dump(0)
	s.open(1, flowTo(0, store))
	for x := 2.0; x < 8; x++ {
		s.Advance(at(x))
	}
	return s, s.accounts[0].stock.assign(s.spaces[1].outlook, true)
}

// What a witness counts as held until a release is released, however short the cool-down, and however many are.
func TestWitnessReleases(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		coolDown time.Duration
		flows    int // a second
		reason   collector.Reason
	}{
		{"within a slot", time.Second, 10, collector.RST},
		{"within a slot, unanswered", time.Second, 10, collector.Timeout},
		{"some slots later", 15 * time.Second, 10, collector.RST},
		{"some slots later, unanswered", 15 * time.Second, 10, collector.Timeout},
		{"more than are counted in a slot", 15 * time.Second, 1<<16 + 9, collector.RST},
		{"more than are counted in a slot, unanswered", 15 * time.Second, 1<<16 + 9, collector.Timeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := coolingBudget(1<<20, 240*time.Second)
			b.TCP.CoolDown[tt.reason] = tt.coolDown
			s, w := witnessed(t, b)
			n := 1
			x := 8.0
			for ; n < max(1000, 2*tt.flows); x++ {
				for range tt.flows {
					s.open(x, flowTo(n, store))
					s.close(x+0.5, flowTo(n, store), tt.reason)
					n++
				}
			}
			for end := x + 60; x < end; x++ {
				s.Advance(at(x))
			}
			if w.otherSum != 0 || w.unansweredSum != 0 {
				t.Errorf("%d and %d ports are not released", w.otherSum, w.unansweredSum)
			}
		})
	}
}

// A witness ends with the forecast that it is of, so that another port space can have one.
func TestWitnessEndsWithItsForecast(t *testing.T) {
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
		}, witnessesMax},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, LedgerConfig{Budgets: []*budget.Budget{coolingBudget(1024, 0)}, ForecastMax: tt.max})
			s.dump(0)
			for n := range witnessesMax {
				fail(s, n+1, float64(1+25*n))
			}
			tt.do(s)
			fail(s, 99, 1200)
			space := &s.spaces[s.byKey[spaceKey{destination: pack(netip.MustParseAddr("203.0.113.99")), port: 443}]]
			if space.outlook == nil || space.outlook.witness() == nil {
				t.Error("the ninth port space that fails has no witness")
			}
			if n := len(s.accounts[0].stock.witnesses); n > witnessesMax {
				t.Errorf("%d witnesses", n)
			}
		})
	}
}

// Ports that were cooling down when a forecast began may be of flows that were never answered, and held none.
func TestHandedOnIsNoContradiction(t *testing.T) {
	t.Parallel()
	b := coolingBudget(100, 0)
	b.TCP.CoolDown[collector.Timeout] = 300 * time.Second
	s := newScript(t, LedgerConfig{Budgets: []*budget.Budget{b}, ForecastMax: 1})
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
	if s.spaces[2].outlook == nil {
		t.Error("the fuller port space has no forecast")
	}
	if said, why := contradicted(s.accounts); said {
		t.Errorf("contradicted: %s", why)
	}
}

// Other budgets leave a witness be as long as its own has the same terms and its port space.
func TestWitnessOverReconfigure(t *testing.T) {
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
			s, w := witnessed(t, b)
			after := *b
			tt.change(&after)
			s.Reconfigure([]*budget.Budget{&after})
			if err := audit(s.Ledger); err != nil {
				t.Fatal(err)
			}
			if got := slices.Contains(s.accounts[0].stock.witnesses, w); got != tt.want {
				t.Errorf("the witness is kept: %v, want %v", got, tt.want)
			}
		})
	}
}
