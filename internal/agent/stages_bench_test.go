package agent

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	timo "github.com/ti-mo/conntrack"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/collector/cputime"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// stageFlows is how many flows BenchmarkStages has.
const stageFlows = 50_000

// fillTable puts established flows of a machine's own into ns.
func fillTable(b *testing.B, ns *netns.Handle) {
	b.Helper()
	c, err := timo.Dial(&netlink.Config{NetNS: ns.FD()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for i := range stageFlows {
		group, n := i%2000, i/2000
		dst := netip.AddrFrom4([4]byte{203, 0, byte(group >> 8), byte(group)})
		port := uint16(10_000 + n)
		f := timo.NewFlow(uint8(collector.TCP), timo.StatusConfirmed|timo.StatusAssured|timo.StatusSeenReply, benchOwn(), dst, port, 443, 86_400, 0)
		f.ProtoInfo.TCP = &timo.ProtoInfoTCP{State: 3}
		if err := c.Create(f); err != nil {
			b.Fatal(err)
		}
	}
}

func benchOwn() netip.Addr { return netip.MustParseAddr("10.0.0.4") }

// BenchmarkStages compares a dump of the kernel's table into the ledgers where flows count in one stage and in two, by
// CPU time, in turns.
func BenchmarkStages(b *testing.B) {
	kerneltest.Require(b, netns.NetAdmin)
	ns := kerneltest.Netns(b)
	fillTable(b, ns)
	node, err := budget.Resolve(budget.Params{Name: "node", Model: "linux", Own: []netip.Addr{benchOwn()}})
	if err != nil {
		b.Fatal(err)
	}
	cloud, err := budget.Resolve(budget.Params{Name: "cloud", Model: "azure-lb", Nodes: 10})
	if err != nil {
		b.Fatal(err)
	}
	var loops [2]*loop
	for i, budgets := range [][]*budget.Budget{{node}, {node, cloud}} {
		loops[i] = newLoop(collector.Clock(), budgets, func(*detector.Snapshot) {}, nothing)
	}
	source, err := conntrack.New(conntrack.Config{Netns: ns})
	if err != nil {
		b.Fatal(err)
	}
	look := func(l *loop) time.Duration {
		before := cputime.Process()
		err := source.Dump(b.Context(), func(_ context.Context, events []collector.Event) error {
			l.apply(batch{feed: feedNAT, events: events})
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		return cputime.Process() - before
	}
	var took [2][]time.Duration
	look(loops[0]) // the tables grow
	look(loops[1])
	for range b.N * 31 {
		for i := range loops {
			took[i] = append(took[i], look(loops[i]))
		}
	}
	for _, l := range loops {
		for _, s := range l.snapshot().Budgets {
			if live := s.Protocols[0].Live; live != stageFlows {
				b.Fatalf("%s: %d flows, want %d", s.Budget.Name, live, stageFlows)
			}
		}
	}
	median := func(d []time.Duration) float64 { slices.Sort(d); return float64(d[len(d)/2]) }
	one, two := median(took[0]), median(took[1])
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(one/stageFlows, "one-ns/flow")
	b.ReportMetric(two/stageFlows, "two-ns/flow")
	b.ReportMetric(two/one, "two/one")
}
