package metrics_test

import (
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/ledger"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// busy returns the view of a ledger that has seen flows to four destinations open and end for ten minutes, so that the
// fullest has a probability between 0 and 1.
func busy(t *testing.T) *metrics.View {
	t.Helper()
	b, err := budget.Resolve(budget.Params{Name: "nat", Model: "static", Ports: 300})
	if err != nil {
		t.Fatal(err)
	}
	at := collector.Time(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	l := ledger.New(ledger.Config{Budgets: []*budget.Budget{b}, Start: at})
	l.Apply(&collector.Event{Kind: collector.Begin, At: at, Netns: host})
	l.Apply(&collector.Event{Kind: collector.End, At: at, Netns: host})
	type living struct {
		flow collector.Flow
		end  int
	}
	var live []living
	for second := 1; second <= 600; second++ {
		at = at.Add(time.Second)
		exactly := collector.Interval{From: at, To: at}
		live = slices.DeleteFunc(live, func(x living) bool {
			if x.end > second {
				return false
			}
			x.flow.State, x.flow.Reason, x.flow.Ended = collector.Done, collector.FIN, exactly
			l.Apply(&collector.Event{Kind: collector.Closed, At: at, Netns: host, Flow: x.flow})
			return true
		})
		for d := range 4 {
			for n := range 1 + (second+second/100)%(4-d) {
				id := second*100 + d*10 + n
				source := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(id >> 14), byte(d), 1}), uint16(1024+id%50_000))
				f := collector.Flow{
					Protocol: collector.TCP, State: collector.Established, Netns: host, ID: uint32(id), Source: source,
					VIP: source, Destination: netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(d)}), 443),
					Opened: exactly, Active: at,
				}
				l.Apply(&collector.Event{Kind: collector.Opened, At: at, Netns: host, Flow: f})
				live = append(live, living{f, second + 20 + 37*n + second%11})
			}
		}
		l.Snapshot(at)
	}
	return &metrics.View{Snapshot: l.Snapshot(at), Outer: []uint64{host}}
}

// The page and the API read the snapshot, rules read the metrics: at a threshold both must see one number. An estimate
// has no more bits than it is good for, as servers store each of them; counts are exact.
func TestSnapshotAndMetricsTellOneEstimate(t *testing.T) {
	t.Parallel()
	view := busy(t)
	families := gather(t, view)
	read := func(name metrics.Name, labels ...string) float64 {
		t.Helper()
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == string(name) && has(m, labels) {
					return m.GetGauge().GetValue()
				}
			}
		}
		t.Fatalf("no %s of %v", name, labels)
		return 0
	}
	p := &view.Snapshot.Budgets[0].Protocols[0]
	between := 0
	for i := range p.Spaces {
		s := &p.Spaces[i]
		space := []string{"destination", s.Destination, "protocol", "tcp"}
		if got := read(metrics.PortsHeld, space...); got != float64(s.Held) {
			t.Errorf("%s holds %d ports, the metric says %v", s.Destination, s.Held, got)
		}
		for h, horizon := range metrics.HorizonValues() {
			ahead := slices.Concat(space, []string{"horizon", horizon})
			if x := s.Forecast.Probability[h]; x > 0 && x < 1 {
				between++
			}
			for name, want := range map[metrics.Name]float64{
				metrics.ForecastPortsMean:     s.Forecast.Mean[h],
				metrics.ForecastPortsVariance: s.Forecast.Variance[h],
				metrics.ExhaustionProbability: s.Forecast.Probability[h],
			} {
				if got := read(name, ahead...); got != want || detector.Estimate(want) != want {
					t.Errorf("%s of %v is %v, the snapshot has %v", name, ahead, got, want)
				}
			}
		}
	}
	if between == 0 {
		t.Error("no probability is between 0 and 1, so none is compared near a threshold")
	}
	// Any gauge that is no whole number is an estimate, but for moments and what a clock measured.
	measured := []metrics.Name{metrics.SnapshotAge, metrics.SnapshotTimestamp, metrics.ConfigReloadTimestamp, metrics.DumpSeconds}
	estimates := map[string]int{}
	for _, f := range families {
		if f.GetType() != dto.MetricType_GAUGE || slices.Contains(measured, metrics.Name(f.GetName())) {
			continue
		}
		for _, m := range f.GetMetric() {
			x := m.GetGauge().GetValue()
			if x != math.Trunc(x) {
				estimates[f.GetName()]++
				if detector.Estimate(x) != x {
					t.Errorf("%s is %v: it has more bits than an estimate", f.GetName(), x)
				}
			}
		}
	}
	for _, name := range []metrics.Name{
		metrics.ForecastPortsMean, metrics.ForecastPortsVariance, metrics.ExhaustionProbability,
		metrics.AllForecastPortsMean, metrics.AllForecastPortsVariance, metrics.ExhaustionProbabilityMax,
		metrics.ForecastBrierScore,
	} {
		if estimates[string(name)] == 0 {
			t.Errorf("all values of %s are whole numbers, so that nothing is said of it", name)
		}
	}
}

// has reports whether m has labels, given as name, value, name, value.
func has(m *dto.Metric, labels []string) bool {
	for i := 0; i < len(labels); i += 2 {
		if !slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool {
			return l.GetName() == labels[i] && l.GetValue() == labels[i+1]
		}) {
			return false
		}
	}
	return true
}
