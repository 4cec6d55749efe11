package ledger

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// destinationFlow is a flow to the n-th of many destinations.
func destinationFlow(n, port int) collector.Flow {
	f := flowTo(port, store)
	f.Destination = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18 + byte(n>>16), byte(n >> 8), byte(n)}), 443)
	f.ID = uint32(n*100 + port + 1)
	return f
}

func TestHundredThousandDestinations(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{azure()}, TrackedMax: 1000, ForecastMax: 10})
	const all = 100_000
	for n := range all {
		s.open(1, destinationFlow(n, 1))
	}
	// One of the folded grows large.
	for port := range 300 {
		s.open(2, destinationFlow(all-1, 2+port))
	}
	p := s.tcp(3)
	if p.Tracked != 1000 || len(s.spaces.byKey) != 1000 || len(s.spaces.list) > 1001 {
		t.Errorf("%d tracked, %d in the map, %d made; want 1000", p.Tracked, len(s.spaces.byKey), len(s.spaces.list))
	}
	if p.Folded < 98_000 || p.Folded > 100_000 {
		t.Errorf("about %d folded, want 99 000 within 1 %%", p.Folded)
	}
	if p.FoldedMax < 301 || p.FoldedMax > 320 {
		t.Errorf("the largest folded holds at most %d, want 301 or little more", p.FoldedMax)
	}
	if len(p.Spaces) != 50 || p.Held != all+300 || p.Other.Held != p.Held-50 || p.Other.Destination != "other" {
		t.Errorf("%d spaces, held %d, other %d", len(p.Spaces), p.Held, p.Other.Held)
	}
	if err := audit(s.Ledger); err != nil {
		t.Fatal(err)
	}
	// Its flows come into sight again once a place is free.
	for n := range 900 {
		s.close(4, destinationFlow(n, 1), collector.RST)
	}
	s.Advance(at(30))
	f := make([]collector.Flow, 301)
	for port := range f {
		f[port] = destinationFlow(all-1, 1+port)
	}
	s.event(collector.Begin, 31, collector.Flow{})
	for _, f := range f {
		s.event(collector.Seen, 31, f)
	}
	s.event(collector.Abort, 31, collector.Flow{})
	if got := s.tcp(31); got.Busiest != 301 || got.Spaces[0].Held != 301 || got.Tracked != 1000 {
		t.Errorf("busiest %d, tracked %d; want 301, 1000", got.Busiest, got.Tracked)
	}
	if err := audit(s.Ledger); err != nil {
		t.Fatal(err)
	}
	// All end; nothing is left but what has a fixed size.
	s.dump(40)
	s.dump(50)
	s.Advance(at(300))
	got := s.tcp(3640)
	if got.Held != 0 || got.Folded != 0 || got.FoldedMax != 0 || got.Tracked != 0 || s.flows.table.count != 0 {
		t.Errorf("held %d, folded %d (%d), tracked %d, %d entries; want 0", got.Held, got.Folded, got.FoldedMax, got.Tracked, s.flows.table.count)
	}
}

// A port space keeps its place among the exported for a while, but never keeps out the fullest.
func TestExportedKeepTheirPlace(t *testing.T) {
	t.Parallel()
	shared := destinationFlow(99, 1)
	s := newScript(t, Config{
		Budgets: []*budget.Budget{plain()}, ExportedMax: 4, ExportHold: time.Minute, Shared: []string{shared.Destination.String()},
	})
	hold := func(seconds float64, n, from, to int) {
		for port := from; port < to; port++ {
			s.open(seconds, destinationFlow(n, port))
		}
	}
	name := func(n int) string { return destinationFlow(n, 1).Destination.String() }
	names := func(seconds float64) []string {
		var out []string
		for _, sp := range s.tcp(seconds).Spaces {
			out = append(out, sp.Destination)
		}
		slices.Sort(out)
		return out
	}
	want := func(seconds float64, n ...int) {
		t.Helper()
		var w []string
		for _, n := range n {
			w = append(w, name(n))
		}
		slices.Sort(w)
		if diff := cmp.Diff(w, names(seconds)); diff != "" {
			t.Errorf("at %v s (-want +got):\n%s", seconds, diff)
		}
	}
	s.open(1, shared)
	for n := range 6 {
		hold(1, n, 0, 20-n)
	}
	want(2, 0, 1, 2, 3, 99)
	hold(3, 4, 50, 55) // now 21: the fullest
	want(4, 4, 0, 1, 2, 99)
	hold(5, 5, 50, 52) // now 17: fuller than none shown but no reason to flap
	want(6, 4, 0, 1, 2, 99)
	hold(7, 5, 60, 62) // now 19, fuller than 2 with 18: waits for a place
	want(8, 4, 0, 1, 2, 99)
	want(70, 4, 0, 1, 5, 99)
	for n := range 6 {
		for port := range 70 {
			s.close(71, destinationFlow(n, port), collector.FIN)
		}
	}
	s.Advance(at(72))
	want(72, 4, 0, 1, 5, 99) // empty, and shown as such
	want(140, 99)
}

// Hundreds of destinations that hold a port for a moment each do not make a new series each.
func TestTiesMakeFewSeries(t *testing.T) {
	t.Parallel()
	const exported, destinations, minutes = 50, 500, 60
	s := newScript(t, Config{Budgets: []*budget.Budget{plain()}, ExportedMax: exported, ExportHold: 5 * time.Minute})
	rng := rand.New(rand.NewPCG(1, 1))
	shown, born := map[string]bool{}, 0
	for tick := range minutes * 12 { // a scrape every 5 s
		x := 1 + 5*float64(tick)
		for range 40 {
			n, port := rng.IntN(destinations), 1024+rng.IntN(60000)
			s.open(x, destinationFlow(n, port))
			s.close(x+4.9, destinationFlow(n, port), collector.FIN)
		}
		now := map[string]bool{}
		for _, sp := range s.tcp(x + 2).Spaces {
			now[sp.Destination] = true
			if !shown[sp.Destination] {
				born++
			}
		}
		shown = now
	}
	// Each place changes hands once in each hold at the most.
	if most := exported + exported*minutes/5; born > most {
		t.Errorf("%d series began in an hour, want at most %d", born, most)
	}
}

func TestReconfigure(t *testing.T) {
	t.Parallel()
	udp := func(n int, to string) collector.Flow {
		f := flowTo(n, to)
		f.Protocol = collector.UDP
		return f
	}
	for _, c := range []struct {
		name   string
		change func() []*budget.Budget
		want   map[string]ports
	}{
		{"the same", func() []*budget.Budget { return []*budget.Budget{azure()} }, map[string]ports{
			"azure tcp 203.0.113.7:443": {1, 1}, "azure tcp 203.0.113.8:443": {1, 0}, "azure udp 203.0.113.7:*": {2, 0},
		}},
		{"fewer ports", func() []*budget.Budget {
			b := azure()
			b.TCP.Ports, b.TCP.Effective = 512, 512
			return []*budget.Budget{b}
		}, map[string]ports{
			"azure tcp 203.0.113.7:443": {1, 1}, "azure tcp 203.0.113.8:443": {1, 0}, "azure udp 203.0.113.7:*": {2, 0},
		}},
		{"another budget before it", func() []*budget.Budget {
			b := plain()
			b.Include = []netip.Prefix{netip.MustParsePrefix("203.0.113.8/32")}
			return []*budget.Budget{b, azure()}
		}, map[string]ports{
			"azure tcp 203.0.113.7:443": {1, 1}, "plain tcp 203.0.113.8:443": {1, 0}, "azure udp 203.0.113.7:*": {2, 0},
		}},
		{"one destination excluded", func() []*budget.Budget {
			b := azure()
			b.Exclude = []netip.Prefix{netip.MustParsePrefix("203.0.113.7/32")}
			return []*budget.Budget{b}
		}, map[string]ports{"azure tcp 203.0.113.8:443": {1, 0}}},
		{"a port serves one flow now", func() []*budget.Budget {
			b := azure()
			b.UDP.Unique = budget.PerNothing
			return []*budget.Budget{b}
		}, map[string]ports{
			"azure tcp 203.0.113.7:443": {1, 1}, "azure tcp 203.0.113.8:443": {1, 0}, "azure udp *": {2, 0},
		}},
		{"a port serves an endpoint now: told apart by the next dump", func() []*budget.Budget {
			b := azure()
			b.UDP.Unique = budget.PerEndpoint
			return []*budget.Budget{b}
		}, map[string]ports{
			"azure tcp 203.0.113.7:443": {1, 1}, "azure tcp 203.0.113.8:443": {1, 0}, "azure udp other": {2, 0},
		}},
		{"none", func() []*budget.Budget { return nil }, map[string]ports{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
			flows := []collector.Flow{
				flowTo(1, store), flowTo(2, store), flowTo(3, "203.0.113.8:443"), udp(4, "203.0.113.7:53"), udp(5, "203.0.113.7:123"),
			}
			for _, f := range flows {
				s.open(1, f)
			}
			s.close(2, flows[1], collector.FIN)
			s.Snapshot(at(3))
			s.Reconfigure(c.change())
			got := map[string]ports{}
			x := s.Snapshot(at(4))
			for _, b := range x.Budgets {
				for _, p := range b.Protocols {
					for _, sp := range append(p.Spaces, p.Other) {
						if sp.Held > 0 {
							got[fmt.Sprintf("%s %s %s", b.Budget.Name, p.Protocol, sp.Destination)] = ports{sp.Live, sp.Cooling}
						}
					}
					if b.Budget.Name == "azure" && p.Protocol == collector.TCP && (p.Opened != 3 || p.Closed[collector.FIN] != 1) {
						t.Errorf("totals start again: %d opened, %d closed", p.Opened, p.Closed[collector.FIN])
					}
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if err := audit(s.Ledger); err != nil {
				t.Error(err)
			}
			// A dump brings in whatever was not counted, as flows of unknown age.
			for i := range flows {
				flows[i].Active = at(4)
			}
			s.dump(5, flows[0], flows[2], flows[3], flows[4])
			if err := audit(s.Ledger); err != nil {
				t.Error(err)
			}
			live := 0
			for _, b := range s.Snapshot(at(6)).Budgets {
				for _, p := range b.Protocols {
					live += p.Live
					for _, sp := range p.Spaces {
						live -= sp.Live
					}
				}
			}
			if live != 0 {
				t.Errorf("%d flows are in no port space after a dump", live)
			}
			s.dump(10)
			s.dump(20)
			s.Advance(at(4000))
			if err := audit(s.Ledger); err != nil || s.flows.table.count != 0 {
				t.Errorf("%d entries left, %v", s.flows.table.count, err)
			}
		})
	}
}

// The same events make the same snapshot, byte by byte, whatever the secret of the hash.
func TestSameEventsSameBytes(t *testing.T) {
	t.Parallel()
	var first []byte
	for key := range uint64(4) {
		s := newScript(t, Config{Budgets: []*budget.Budget{azure()}, TrackedMax: 100_000, ForecastMax: 20, Key: [2]uint64{key, key}})
		for n := range 3000 {
			f := destinationFlow(n%70, n)
			s.open(float64(n)/100, f)
			if n%3 == 0 {
				s.close(float64(n)/100+0.01, f, collector.Reason(n%int(collector.NumReasons)))
			}
		}
		x := s.Snapshot(at(40))
		for b := range x.Budgets {
			x.Budgets[b].Brier = [detector.NumHorizons]float64{} // NaN has no JSON
			for p := range x.Budgets[b].Protocols {
				for i := range x.Budgets[b].Protocols[p].Spaces {
					if f := x.Budgets[b].Protocols[p].Spaces[i].Forecast; f != nil {
						f.TimeToExhaustion = min(f.TimeToExhaustion, 1e9)
					}
				}
			}
		}
		got, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = got
		}
		if diff := cmp.Diff(string(first), string(got)); diff != "" {
			t.Fatalf("key %d (-first +this):\n%s", key, diff)
		}
	}
}

// What a fleet's sums are made of does not depend on how many port spaces are exported.
func TestForecastIsOverAllSpaces(t *testing.T) {
	t.Parallel()
	run := func(exported int) detector.AccountSnapshot {
		s := newScript(t, Config{Budgets: []*budget.Budget{azure()}, ExportedMax: exported})
		for n := range 600 {
			s.open(float64(n)/10, flowTo(n, fmt.Sprintf("203.0.113.%d:443", n*n%7)))
		}
		return s.tcp(61)
	}
	few, all := run(2), run(50)
	if len(few.Spaces) != 2 || len(all.Spaces) != 4 {
		t.Fatalf("%d and %d exported, want 2 and 4", len(few.Spaces), len(all.Spaces))
	}
	var want detector.Totals
	for _, s := range all.Spaces {
		if s.Forecast == nil {
			t.Fatalf("%s has no forecast", s.Destination)
		}
		want.Add(s.Forecast)
	}
	if want.Spaces != 4 || want.Mean[0] < 600 || want.Probability[3] <= 0 {
		t.Errorf("sums over what is exported: %+v", want)
	}
	for name, got := range map[string]detector.Totals{"all": all.Forecast, "two": few.Forecast} {
		if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-9, 0)); diff != "" {
			t.Errorf("%s exported (-want +got):\n%s", name, diff)
		}
	}
}

func TestSnapshotIsNotShared(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
	s.open(1, flowTo(1, store))
	before := s.Snapshot(at(2))
	held, counts := before.Budgets[0].Protocols[0].Spaces[0].Held, before.Budgets[0].Protocols[0].Lifetime.Counts
	s.open(3, flowTo(2, store))
	s.close(4, flowTo(1, store), collector.RST)
	s.Snapshot(at(5))
	if before.Budgets[0].Protocols[0].Spaces[0].Held != held || slices.Max(counts) != 0 {
		t.Error("a snapshot changed after it was made")
	}
}

// A namespace that vanished is forgotten, and its number is given to another.
func TestVanishedNamespaces(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{plain()}})
	for n := range uint64(100) {
		now := at(float64(n) * 60)
		f := flowTo(int(n), store)
		f.Netns = 1000 + n
		for _, k := range []collector.Kind{collector.Begin, collector.Seen, collector.End, collector.Begin, collector.End} {
			s.Apply(&collector.Event{Kind: k, At: now, Netns: f.Netns, Flow: f})
		}
	}
	if n := len(s.Snapshot(at(6000)).Netns); n > 12 || len(s.namespaces.list) > 15 {
		t.Errorf("%d namespaces remembered, %d made", n, len(s.namespaces.list))
	}
	s.want(6000, 0, 0)
	s.Advance(at(10_000))
	if err := audit(s.Ledger); err != nil || s.flows.table.count != 0 {
		t.Errorf("%d entries left, %v", s.flows.table.count, err)
	}
}
