package web

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// Clients that send from ports below 512 share 511 of each VIP, however many ports there are above. The page, the advice
// and the API compare what they hold with those.
func TestLowPortsAreTheirOwn(t *testing.T) {
	t.Parallel()
	st := calmState()
	b := &st.View.Snapshot.Budgets[0]
	nat, err := budget.Resolve(budget.Params{Name: "nat", Model: "linux", VIPCount: 2})
	if err != nil {
		t.Fatal(err)
	}
	b.Budget = nat
	calm := &detector.Forecast{TimeToExhaustion: math.Inf(1)}
	full := &detector.Forecast{Probability: [detector.NumHorizons]float64{1, 1, 1, 1}}
	spaces := []detector.SpaceSnapshot{
		{Destination: "203.0.113.7:443", Held: 2000, Live: 2000, OpensPerSecond: 20, MeanHold: 100 * time.Second, Forecast: calm},
		{
			Destination: "203.0.113.7:443", VIP: "ports 1-511", Class: budget.LowClass, Held: 1000, Live: 1000,
			OpensPerSecond: 1, MeanHold: 1000 * time.Second, Forecast: full,
		},
	}
	b.Protocols = []detector.AccountSnapshot{{
		Protocol: collector.TCP, Terms: nat.TCP, Busiest: 2000, Held: 3000, Tracked: 2, Spaces: spaces,
	}}
	low := nat.TCP.OfClass(budget.LowClass)
	if low.Ports != 1022 || spaces[1].Held < low.Effective {
		t.Fatalf("%+v are the terms of low ports", low)
	}
	p := newTestServer(t, st).page.data(st, time.Second)
	if want := "Exhausted: 203.0.113.7:443 tcp: 1000 of 1022 ports held"; p.Verdict != want {
		t.Errorf("the page says %q, want %q", p.Verdict, want)
	}
	shown := p.Budgets[0].Protocols[0]
	if shown.Busiest != 1000 || shown.Ports != 1022 || shown.Fill != "98 %" || shown.Level != levelCrit {
		t.Errorf("fullest port space: %d of %d held (%s, %s), want 1000 of 1022 (98 %%, crit)",
			shown.Busiest, shown.Ports, shown.Fill, shown.Level)
	}
	if s := shown.Spaces[0]; s.VIP != "ports 1-511" || s.Fill != "98 %" || s.Level != levelCrit {
		t.Errorf("the first port space is %+v", s)
	}
	if s := shown.Spaces[1]; s.Level != levelOK {
		t.Errorf("the port space of all other ports is %+v", s)
	}
	beyond, err := budget.Resolve(budget.Params{Name: "lb", Model: "azure-lb-manual", Ports: 1024, VIPCount: 1})
	if err != nil {
		t.Fatal(err)
	}
	chains := newPageChains(&detector.Snapshot{Budgets: []detector.BudgetSnapshot{*b, {Budget: beyond}}})
	if stage := chains[0].Stages[0].Budgets[0]; stage.Busiest != 1000 || stage.Ports != 1022 || stage.Level != levelCrit {
		t.Errorf("the stage is %+v", stage)
	}
	got := strings.Join(advice(b), "\n")
	for _, want := range []string{
		"The clients send from ports below 1024 and so share 1022 ports: from higher ports they have 129024.",
		"Another VIP: 1533 ports in place of 1022.", "At 1.0 opens/s a mean hold under",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in the advice:\n%s", want, got)
		}
	}
	if d, ok := pageDemand(nil, b, &b.Protocols[0]); ok && d.Cut {
		t.Errorf("the plan is of the low ports: %+v", d)
	}
	api := newAPISnapshot(st).Budgets[0].Protocols[0].Spaces
	if api[0].Ports != 0 || api[1].Ports != low.Ports || api[1].Effective != low.Effective {
		t.Errorf("the API tells %d and %d ports, want none but those of the terms, and %d", api[0].Ports, api[1].Ports, low.Ports)
	}
	h := &History{}
	for minute := range 3 { // low ports fill up, all others hold more and are far from their end
		low, more := 300+350*minute, 2000+minute
		p := b.Protocols[0]
		p.Busiest, p.Spaces = more, slices.Clone(spaces)
		p.Spaces[0].Held, p.Spaces[1].Held = more, low
		past := *b
		past.Protocols = []detector.AccountSnapshot{p}
		h.Add(&detector.Snapshot{
			At: collector.Time(time.Hour) + collector.Time(minute)*collector.Time(time.Minute), Budgets: []detector.BudgetSnapshot{past},
		})
	}
	charts := newPageProtocol(st.View, nat, &b.Protocols[0], h).Charts
	if len(charts) == 0 || charts[0].Now != "1000" || charts[0].Most != "1000" || charts[0].Ceiling == "" {
		t.Errorf("the hour is %+v, want that of the low ports with their ceiling", charts)
	}
	if band := shown.Band; band == nil || band.VIP != "ports 1-511" || band.CeilingPorts != low.Effective {
		t.Errorf("the band is %+v, want a ceiling of %d", band, low.Effective)
	}
}
