package ledger

import (
	"net/netip"
	"testing"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// masquerading is the budget of a rule that translates to the addresses of an interface.
func masquerading(vips ...string) *budget.Budget {
	b := azure()
	b.Name, b.Translated = "masquerade", true
	for _, v := range vips {
		b.VIPs = append(b.VIPs, netip.MustParseAddr(v))
	}
	return b
}

func translatedTo(f collector.Flow, vip string) collector.Flow {
	f.Translated, f.VIP = true, netip.AddrPortFrom(netip.MustParseAddr(vip), f.Source.Port())
	return f
}

// When an interface gets another address, flows leave from it before the budget follows. They count from when they
// opened, those too that have ended, and the ledger is inexact until it has them all.
func TestFlowsFromANewAddress(t *testing.T) {
	t.Parallel()
	const before, after = "192.0.2.1", "192.0.2.2"
	s := newScript(t, Config{Budgets: []*budget.Budget{masquerading(before)}})
	exact := func(seconds float64) bool { return s.Snapshot(at(seconds)).Netns[0].Exact }
	f := func(n int, vip string) collector.Flow { return translatedTo(flowTo(n, store), vip) }
	old := f(0, before)
	s.dump(1, polled(old, 1))
	s.dump(3, polled(old, 3), polled(f(1, before), 3))
	s.wantTotals(3, 1, nil)
	s.dump(5, polled(f(2, after), 5), done(f(3, after), collector.FIN, 4))
	s.dump(7, polled(f(2, after), 7), done(f(3, after), collector.FIN, 4), polled(f(4, after), 7))
	if s.want(7, 0, 0); s.Untaken() != 3 {
		t.Errorf("%d flows were in no budget, want 3", s.Untaken())
	}
	s.Advance(at(8))
	s.Reconfigure([]*budget.Budget{masquerading(after)})
	if exact(8) {
		t.Error("exact without the flows that the budget takes now")
	}
	s.dump(9, polled(f(2, after), 9), done(f(3, after), collector.FIN, 4), polled(f(4, after), 9), polled(f(5, after), 9))
	s.wantTotals(9, 5, map[collector.Reason]uint64{collector.FIN: 1, collector.ReasonUnknown: 2})
	if !exact(9) {
		t.Error("inexact with all flows")
	}
	if s.Untaken() != 3 {
		t.Errorf("%d flows were in no budget, want 3", s.Untaken())
	}
}

// A flow that a budget took before, one from before the start, and one that no budget took for long do not open when a
// budget takes them.
func TestFlowsTakenAgainAreNotNew(t *testing.T) {
	t.Parallel()
	const here, there = "192.0.2.1", "192.0.2.2"
	f := func(n int, vip string) collector.Flow { return translatedTo(flowTo(n, store), vip) }
	s := newScript(t, Config{Budgets: []*budget.Budget{masquerading(here)}})
	show := func(seconds float64, flows ...collector.Flow) {
		for i := range flows {
			flows[i] = polled(flows[i], seconds)
		}
		s.dump(seconds, flows...)
	}
	show(1, f(0, there))
	show(3, f(0, there), f(1, here))
	s.wantTotals(3, 1, nil)
	s.Advance(at(4))
	s.Reconfigure([]*budget.Budget{masquerading("192.0.2.3")})
	show(5, f(0, there), f(1, here))
	s.Advance(at(6))
	s.Reconfigure([]*budget.Budget{masquerading(here, there)})
	show(7, f(0, there), f(1, here), f(2, "192.0.2.4"))
	s.wantTotals(7, 1, nil)
	s.want(7, 2, 0)
	show(80, f(0, there), f(1, here), f(2, "192.0.2.4"))
	s.Advance(at(81))
	s.Reconfigure([]*budget.Budget{masquerading(here, there, "192.0.2.4")})
	show(82, f(0, there), f(1, here), f(2, "192.0.2.4"))
	s.wantTotals(82, 1, nil)
	s.want(82, 3, 0)
}
