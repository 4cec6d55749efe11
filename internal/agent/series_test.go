package agent

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/cputime"
	"github.com/snatwatch/snatwatch/collector/natrules"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/config"
)

// A gateway with 2,048 rules, each with ports of its own, makes no more budgets than are shown one by one, and a scrape
// that is bounded.
func TestSeriesOfManyRulesAreBounded(t *testing.T) {
	t.Parallel()
	var rules []natrules.Rule
	vip := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, byte(i / 250), byte(i % 250)}) }
	for i := range 2048 {
		rules = append(rules, natrules.Rule{VIPs: []netip.Addr{vip(i)}, Ports: collector.PortRange{First: 1024, Last: 9023}, TCP: true, UDP: true})
	}
	c, err := config.Parse("f.yaml", []byte("budgets: [{name: nat, model: auto}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	budgets, notes, err := c.Resolve(config.Machine{Rules: natrules.Ruleset{Read: true, Rules: rules}, Limits: collector.Limits{Netns: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if len(budgets) != 129 || len(notes) != 1 {
		t.Errorf("%d budgets, want 128 of rules and one of ephemeral ports; notes %q", len(budgets), notes)
	}
	for _, tt := range []struct{ destinations, most int }{{0, 6_000}, {1, 9_000}, {60, 60_000}} {
		l := newLoop(collector.Clock(), budgets, func(*detector.Snapshot) {}, nothing)
		at := l.now()
		events := make([]collector.Event, 0, 2048*tt.destinations+2)
		events = append(events, collector.Event{Kind: collector.Begin, At: at, Netns: 1})
		for i := range 2048 * tt.destinations {
			customer, d := i%2048, i/2048
			events = append(events, collector.Event{Kind: collector.Seen, At: at, Netns: 1, Flow: collector.Flow{
				ID: uint32(i + 1), Protocol: collector.TCP, State: collector.Established, Netns: 1, Active: at, Translated: true,
				Source:      netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, 64, byte(customer >> 8), byte(customer)}), uint16(20_000+d)),
				VIP:         netip.AddrPortFrom(vip(customer), uint16(1024+d)),
				Destination: netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(d)}), 443),
			}})
		}
		l.apply(batch{feed: feedNAT, events: append(events, collector.Event{Kind: collector.End, At: at, Netns: 1})})
		snap := l.snapshot()
		live := 0
		for i := range snap.Budgets {
			for _, p := range snap.Budgets[i].Protocols {
				live += p.Live
			}
		}
		if live != 2048*tt.destinations {
			t.Errorf("%d flows count, want %d", live, 2048*tt.destinations)
		}
		reg := prometheus.NewRegistry()
		reg.MustRegister(metrics.NewCollector(func() *metrics.View { return &metrics.View{Snapshot: snap, Outer: []uint64{1}} }))
		began := cputime.Process()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		series := 0
		var out bytes.Buffer
		for _, f := range families {
			series += len(f.GetMetric())
			if _, err := expfmt.MetricFamilyToText(&out, f); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%d destinations of each: %d series, %.1f MB, %v of CPU", tt.destinations, series, float64(out.Len())/1e6, cputime.Process()-began)
		if series > tt.most {
			t.Errorf("%d series with %d destinations of each, want at most %d", series, tt.destinations, tt.most)
		}
	}
}
