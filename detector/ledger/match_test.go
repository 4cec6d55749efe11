package ledger

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// Two rules that share a VIP are told apart by the port that a flow got, also when
// the ranges change, and a port in no range counts nowhere.
func TestPortRanges(t *testing.T) {
	t.Parallel()
	vip := netip.MustParseAddr("198.51.100.1")
	ranged := func(name string, first, last uint16) *budget.Budget {
		b := plain()
		b.Name, b.Translated, b.VIPs, b.PortRange = name, true, []netip.Addr{vip}, collector.PortRange{First: first, Last: last}
		return b
	}
	s := newScript(t, Config{Budgets: []*budget.Budget{ranged("low", 1024, 2047), ranged("high", 2048, 3071)}})
	var flows []collector.Flow
	for i, port := range []uint16{1023, 1024, 2047, 2048, 3071, 3072, 65535, 1500} {
		f := flowTo(i, store)
		f.Translated, f.VIP = true, netip.AddrPortFrom(vip, port)
		flows = append(flows, f)
	}
	live := func(seconds float64) map[string]int {
		got := map[string]int{}
		for _, b := range s.Snapshot(at(seconds)).Budgets {
			got[b.Budget.Name] = b.Protocols[0].Live
		}
		return got
	}
	s.dump(1, flows...)
	if diff := cmp.Diff(map[string]int{"low": 3, "high": 2}, live(2)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s.Reconfigure([]*budget.Budget{ranged("low", 1024, 1499), ranged("high", 1500, 65535)})
	s.dump(3, flows...)
	if diff := cmp.Diff(map[string]int{"low": 1, "high": 6}, live(4)); diff != "" {
		t.Errorf("after other ranges (-want +got):\n%s", diff)
	}
}

// A local budget counts ephemeral ports: not the port that a server listens on.
func TestPortRangeOfLocalPorts(t *testing.T) {
	t.Parallel()
	b := plain()
	b.Local, b.PortRange = true, collector.PortRange{First: 32768, Last: 60999}
	s := newScript(t, Config{Budgets: []*budget.Budget{b}})
	client, accepted := flowTo(40000, store), flowTo(443, "203.0.113.9:40000")
	s.dump(1, client, accepted)
	s.want(2, 1, 0)
}

// Flows are counted in their own port space also where its number was another's before, and where there
// are more destinations than answers are remembered.
func TestPortSpacesAreNotMixedUp(t *testing.T) {
	t.Parallel()
	event := func(k collector.Kind, n int, destination string, seconds float64) collector.Event {
		f := flowTo(n, destination)
		if k == collector.Closed {
			f.State, f.Reason = collector.Done, collector.FIN
		}
		return collector.Event{Kind: k, At: at(seconds), Netns: 1, Flow: f}
	}
	live := func(l *Ledger) map[string]int {
		got := map[string]int{}
		for i := range l.spaces.list {
			if s := &l.spaces.list[i]; s.used {
				got[s.destination.String()] = s.live
			}
		}
		return got
	}
	const other = "203.0.113.8:443"
	l := New(Config{Budgets: []*budget.Budget{plain()}, Start: at(0), TrackedMax: 1})
	ApplyAll([]collector.Event{
		event(collector.Opened, 1, store, 1), event(collector.Closed, 1, store, 2),
		event(collector.Opened, 2, other, 3), event(collector.Closed, 2, other, 4),
		event(collector.Opened, 3, store, 5), event(collector.Opened, 4, store, 6),
	}, l)
	if diff := cmp.Diff(map[string]int{store: 2}, live(l)); diff != "" {
		t.Errorf("one number for two (-want +got):\n%s", diff)
	}

	const destinations = 3 << matchBits
	l = New(Config{Budgets: []*budget.Budget{plain()}, Start: at(0), TrackedMax: destinations, ForecastMax: 1})
	want := map[string]int{}
	var events []collector.Event
	for n := range 2 * destinations {
		to := fmt.Sprintf("198.51.%d.%d:%d", n%destinations>>8, n%256, 443+n%2)
		events = append(events, event(collector.Opened, n, to, 1))
		want[to]++
	}
	ApplyAll(events, l)
	if diff := cmp.Diff(want, live(l)); diff != "" {
		t.Errorf("many destinations (-want +got):\n%s", diff)
	}
}

// A flow that the ledger knows is not matched again, unless budgets have changed or it is translated by now: then it may
// be one that no budget takes.
func TestKnownFlowThatNoBudgetTakes(t *testing.T) {
	t.Parallel()
	t.Run("translated no more", func(t *testing.T) {
		t.Parallel()
		b := plain()
		b.Translated = true
		s := newScript(t, Config{Budgets: []*budget.Budget{b}})
		f := flowTo(1, store)
		f.Translated = true
		s.dump(1, f)
		s.dump(2, f)
		s.want(3, 1, 0)
		f.Translated = false
		s.dump(4, f)
		s.want(5, 0, 0)
	})
	t.Run("other budgets", func(t *testing.T) {
		t.Parallel()
		whole := func() *budget.Budget {
			b := plain()
			b.TCP.Unique = budget.PerNothing // then the ledger does not know where the flow goes to
			return b
		}
		s := newScript(t, Config{Budgets: []*budget.Budget{whole()}})
		f := flowTo(1, store)
		s.dump(1, f)
		without := whole()
		without.Exclude = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
		s.Reconfigure([]*budget.Budget{without})
		s.want(2, 1, 0)
		s.dump(3, f)
		s.want(4, 0, 0)
		s.Reconfigure([]*budget.Budget{whole()})
		s.dump(5, f)
		s.dump(6, f)
		s.want(7, 1, 0)
	})
}
