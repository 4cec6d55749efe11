package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/ledger"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// filled returns a ledger with so many flows to so many destinations, all in one budget.
func filled(t testing.TB, flows, destinations int) (*ledger.Ledger, collector.Time) {
	t.Helper()
	b, err := budget.Resolve(budget.Params{Name: "nat", Model: "static", Ports: 1_000_000})
	if err != nil {
		t.Fatal(err)
	}
	at := collector.Time(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	l := ledger.New(ledger.Config{Budgets: []*budget.Budget{b}, Start: at})
	l.Apply(&collector.Event{Kind: collector.Begin, At: at, Netns: host})
	e := collector.Event{Kind: collector.Seen, At: at, Netns: host, Flow: collector.Flow{
		Protocol: collector.TCP, State: collector.Established, Netns: host, Active: at,
	}}
	for i := range flows {
		d, n := i%destinations, i/destinations
		e.Flow.ID = uint32(i + 1)
		e.Flow.Source = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 22), byte(n >> 14), 1}), uint16(1024+n%60_000))
		e.Flow.VIP = e.Flow.Source
		e.Flow.Destination = netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, byte(d >> 16), byte(d >> 8), byte(d)}), 443)
		l.Apply(&e)
	}
	l.Apply(&collector.Event{Kind: collector.End, At: at, Netns: host})
	return l, at
}

// A hundred thousand destinations make no more series than fifty do.
func TestSeriesOfALedgerAreBounded(t *testing.T) {
	t.Parallel()
	series := func(destinations int) (series, tracked, folded int) {
		l, at := filled(t, destinations, destinations)
		snap := l.Snapshot(at.Add(time.Second))
		for _, f := range gather(t, &metrics.View{Snapshot: snap, Outer: []uint64{host}}) {
			series += len(f.GetMetric())
		}
		p := snap.Budgets[0].Protocols[0]
		return series, p.Tracked, p.Folded
	}
	few, _, _ := series(50)
	many, tracked, folded := series(100_000)
	if many > few+20 {
		t.Errorf("%d series with 100 000 destinations, %d with 50", many, few)
	}
	if tracked != 10_000 || folded < 80_000 {
		t.Errorf("%d destinations tracked and %d folded, want 10 000 and about 90 000", tracked, folded)
	}
}

// A scrape reads the last snapshot, so its time does not depend on the number of flows. Each
// round does both, so that a noisy machine hits both; medians are compared.
func BenchmarkScrape(b *testing.B) {
	var (
		flows            = [2]int{10_000, 1_000_000}
		scrape, snapshot [2][]float64
	)
	var ledgers [2]*ledger.Ledger
	var now collector.Time
	for i := range flows {
		ledgers[i], now = filled(b, flows[i], 1_000)
	}
	now = now.Add(time.Second)
	for b.Loop() {
		now = now.Add(time.Second)
		for i, l := range ledgers {
			began := time.Now()
			view := &metrics.View{Snapshot: l.Snapshot(now), Outer: []uint64{host}}
			snapshot[i] = append(snapshot[i], time.Since(began).Seconds())
			h := scrapeHandler(view)
			began = time.Now()
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil))
			scrape[i] = append(scrape[i], time.Since(began).Seconds())
		}
	}
	small, large := median(scrape[0]), median(scrape[1])
	b.ReportMetric(small*1e6, "µs/scrape-10k")
	b.ReportMetric(large*1e6, "µs/scrape-1M")
	b.ReportMetric(large/small, "scrape-1M/10k")
	b.ReportMetric(median(snapshot[1])*1e6, "µs/snapshot-1M")
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

func scrapeHandler(view *metrics.View) http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(metrics.NewCollector(func() *metrics.View { return view }))
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
}
