package dashboards_test

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.yaml.in/yaml/v3"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/prom"
	"github.com/snatwatch/snatwatch/rules"
	"github.com/snatwatch/snatwatch/rules/alerts"
)

// In a real Prometheus that scrapes two nodes in trouble and evaluates the rules, every panel shows something,
// every variable has values, and the Grafana-managed rules return what Prometheus's own alerts return.
func TestRealPrometheus(t *testing.T) {
	t.Parallel()
	path := program(t)
	if testing.Short() {
		t.Skip("takes 20 seconds")
	}
	o := rules.Default()
	o.FleetInterval = time.Second
	s := startServer(t, path, o)
	// Each query is asked until it returns something: a rule over a rate over a rule of another group comes when it
	// comes.
	deadline := time.Now().Add(time.Minute)
	shows := func(t *testing.T, expr string) bool {
		t.Helper()
		for len(s.query(t, expr)) == 0 {
			if time.Now().After(deadline) {
				return false
			}
			time.Sleep(time.Second)
		}
		return true
	}
	t.Run("panels", func(t *testing.T) {
		t.Parallel()
		for name, b := range load(t) {
			for _, p := range b.Panels {
				for _, target := range p.Targets {
					if p.ID == alerts.PanelAgentExact && target.RefID == "A" {
						continue // no agent was there and is down
					}
					if !shows(t, substitute(target.Expr)) {
						t.Errorf("%s: %s: target %s shows nothing: %s", name, p.Title, target.RefID, substitute(target.Expr))
					}
				}
			}
		}
	})
	t.Run("variables and annotations", func(t *testing.T) {
		t.Parallel()
		for name, b := range load(t) {
			for _, v := range b.Templating.List {
				if v.Type != "query" {
					continue
				}
				q, _ := v.Query.(map[string]any)["query"].(string)
				if expr, worst := strings.CutPrefix(q, "query_result("); worst {
					if v.Name == "silent" {
						continue // all targets answer
					}
					if !shows(t, substitute(strings.TrimSuffix(expr, ")"))) {
						t.Errorf("%s: variable %s has no name: %s", name, v.Name, q)
					}
					continue
				}
				series, label, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(q, "label_values("), ")"), "}, ")
				var values []string
				if !shows(t, substitute(series+"}")) {
					t.Errorf("%s: variable %s has no series: %s", name, v.Name, q)
				}
				if err := s.API(t.Context(), "/api/v1/label/"+label+"/values?match[]="+url.QueryEscape(substitute(series+"}")), &values); err != nil {
					t.Fatal(err)
				}
				if len(values) == 0 {
					t.Errorf("%s: variable %s has no value: %s", name, v.Name, q)
				}
			}
			for _, a := range b.Annotations.List {
				// An alert's start is seen for as long as it is looked back for.
				if expr, _ := a["expr"].(string); !shows(t, "max_over_time(("+substitute(expr)+")[1m:1s])") {
					t.Errorf("%s: annotation %s shows nothing: %s", name, a["name"], expr)
				}
			}
		}
	})
	t.Run("Grafana's rules", func(t *testing.T) {
		t.Parallel()
		compareGrafana(t, s, o)
	})
}

// compareGrafana asks Prometheus for its active alerts and for what Grafana's queries return.
func compareGrafana(t *testing.T, s *server, o rules.Options) {
	t.Helper()
	body, err := o.Grafana()
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Title string
				Data  []struct {
					Model struct {
						Expr       string
						Conditions []struct {
							Evaluator struct {
								Type   string
								Params []float64
							}
						}
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal(body, &file); err != nil {
		t.Fatal(err)
	}
	// These need an hour, ten minutes, targets that go away, or ports and entries left.
	quiet := []string{"SnatAgentDown", "SnatAgentsAbsent", "SnatBudgetChanged", "SnatPortsLeaking", "SnatInsertFailed"}
	for _, r := range slices.Concat(file.Groups[0].Rules, file.Groups[1].Rules) {
		var want, got []string
		// Prometheus asks once a second, so the two may be a scrape apart.
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Second) {
			want = sorted(s.query(t, fmt.Sprintf("ALERTS{alertname=%q}", r.Title)))
			fires := r.Data[1].Model.Conditions[0].Evaluator
			got = sorted(s.query(t, fmt.Sprintf("(%s) %s %g", r.Data[0].Model.Expr, map[string]string{"gt": ">", "lt": "<"}[fires.Type], fires.Params[0])))
			if slices.Equal(want, got) && slices.Contains(quiet, r.Title) == (len(want) == 0) || time.Now().After(deadline) {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-Prometheus's alert +Grafana's query):\n%s", r.Title, diff)
		}
		if slices.Contains(quiet, r.Title) != (len(want) == 0) {
			t.Errorf("%s: %d active alerts in Prometheus", r.Title, len(want))
		}
	}
}

// sorted writes label sets without what an alert adds to what its expression returns.
func sorted(sets []map[string]string) []string {
	var out []string
	for _, set := range sets {
		var text []string
		for _, name := range slices.Sorted(maps.Keys(set)) {
			if !slices.Contains([]string{"__name__", "alertname", "alertstate", "severity", "evidence"}, name) {
				text = append(text, name+"="+set[name])
			}
		}
		out = append(out, strings.Join(text, " "))
	}
	slices.Sort(out)
	return out
}

// substitute puts what Grafana does in place of its variables, of a server that has run for seconds.
func substitute(expr string) string {
	expr = strings.NewReplacer("$__rate_interval", "10s", "$__range", "10s").Replace(expr)
	return all(regexp.MustCompile(`offset \d+[mhd]`).ReplaceAllString(expr, "offset 1s"))
}

// all puts what Grafana does for "All" in place of the variables of boards, and any node in place of one.
func all(expr string) string {
	expr = strings.ReplaceAll(expr, `="$instance"`, `=~"$instance"`)
	return regexp.MustCompile(`"\$[a-z_]+(\|?)"`).ReplaceAllString(expr, `".*$1"`)
}

type server struct{ *prom.Server }

// query returns the labels of what an instant query returns.
func (s *server) query(t *testing.T, expr string) []map[string]string {
	t.Helper()
	samples, err := s.Query(t.Context(), expr)
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, sample := range samples {
		out = append(out, sample.Labels)
	}
	return out
}

// startServer runs a Prometheus with the rules of o over two nodes and their node_exporter.
func startServer(t *testing.T, program string, o rules.Options) *server {
	t.Helper()
	dir := t.TempDir()
	files, err := o.Files()
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range files {
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	reg := prometheus.NewRegistry()
	reg.MustRegister(metrics.NewCollector(func() *metrics.View { return trouble(time.Since(start)) }))
	cpu := prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "process_cpu_seconds_total"}, func() float64 { return 0.02 * time.Since(start).Seconds() })
	reg.MustRegister(cpu)
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("/node", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} %g\n", 0.8*time.Since(start).Seconds())
	})
	target := httptest.NewServer(mux)
	t.Cleanup(target.Close)
	config := fmt.Sprintf(`global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
- job_name: snatwatch
  static_configs:
  - {targets: [%[2]q], labels: {cluster: c1, instance: "node-1:9959"}}
  - {targets: [%[2]q], labels: {cluster: c1, instance: "node-2:9959"}}
- job_name: node
  metrics_path: /node
  static_configs:
  - {targets: [%[2]q], labels: {cluster: c1, instance: "node-1:9100"}}
`, filepath.Join(dir, "snatwatch-*.yaml"), strings.TrimPrefix(target.URL, "http://"))
	running, err := prom.Prometheus(t.Context(), program, dir, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(running.Wait)
	return &server{running}
}

// trouble is a node with everything that an alert or a panel can show, after so much time.
func trouble(since time.Duration) *metrics.View {
	n := func(perSecond float64) uint64 { return uint64(perSecond * since.Seconds()) }
	hist := detector.Histogram{Bounds: []float64{0.1, 1, 10, 100}, Counts: []uint64{n(5), n(20), n(10), n(4), n(1)}, Sum: 300 * since.Seconds()}
	space := func(ports, held int) detector.SpaceSnapshot {
		mean, variance := float64(held), float64(held)
		return detector.SpaceSnapshot{Destination: "203.0.113.7:443", Held: held, Live: held - 100, Cooling: 100, Forecast: &detector.Forecast{
			Mean: [4]float64{mean, 1.05 * mean, 1.1 * mean, 1.1 * mean}, Variance: [4]float64{variance, variance, variance, variance},
			Probability: [4]float64{0.5, 0.9, 0.95, 0.95}, TimeToExhaustion: float64(ports-held) / 2, Urgency: 0.75,
		}}
	}
	pod := collector.Owner{Kind: collector.KindPod, Name: "payments/checkout-7d9f", Workload: "checkout", WorkloadKind: "Deployment"}
	inPod := pod
	inPod.Container = "api"
	protocol := func(ports, held int) detector.AccountSnapshot {
		s := space(ports, held)
		s.Owners = []detector.OwnerHeld{{Number: 2, Owner: inPod, Held: held}}
		return detector.AccountSnapshot{
			Protocol: collector.TCP, Terms: budget.Terms{Ports: ports, Effective: ports, Total: 58_000},
			Held: held + 2, Live: s.Live, Cooling: s.Cooling, Busiest: held, Opening: 5, Stalled: 5,
			Opened: n(400), Closed: [collector.NumReasons]uint64{n(100), n(100), n(100), n(100), n(100), n(100)},
			Lifetime: hist, Hold: hist, Unanswered: n(100), Refused: n(100), NoPorts: n(2),
			Tracked: 3, Folded: 2, FoldedMax: 1, Spaces: []detector.SpaceSnapshot{s},
			Owners: []detector.OwnerTotals{{Number: 2, Owner: pod, Opened: n(300), MeanLifetime: 12 * time.Second}}, Other: detector.SpaceSnapshot{Held: 2, Live: 2},
			Forecast: detector.Totals{Spaces: 1, Mean: s.Forecast.Mean, Variance: s.Forecast.Variance, Probability: s.Forecast.Probability},
		}
	}
	brier := [4]float64{0.3, 0.3, 0.3, 0.3}
	return &metrics.View{
		At: time.Now().Add(-2 * time.Minute),
		Snapshot: &detector.Snapshot{
			Warming: true,
			Netns:   []detector.NetnsSnapshot{{Netns: 1, EventsLost: n(1), Resyncs: n(1), Mismatches: n(1), Flows: 1200, OtherProtocols: 3}},
			Budgets: []detector.BudgetSnapshot{
				{
					Budget:    &budget.Budget{Name: "lb", Model: "azure-lb-2018", Pool: "web", VIPCount: 1, Nodes: 49, NodesToNextTier: 1, NextTierPorts: 512},
					Protocols: []detector.AccountSnapshot{protocol(1024, 1024)}, Contradicted: true, Brier: brier,
				},
				{
					Budget:    &budget.Budget{Name: "nat", Model: "aws-nat-gateway", Scope: budget.ScopeShared, Pool: "web", Gateway: "nat-1", VIPCount: 1},
					Protocols: []detector.AccountSnapshot{protocol(55_000, 27_200)}, Brier: brier,
				},
				// No source sees its flows.
				{Budget: &budget.Budget{Name: "unseen", Model: "linux", Pool: "web"}, Brier: brier},
			},
		},
		Outer:      []uint64{1},
		Sources:    []metrics.Source{{Netns: 1, Name: "conntrack", Strategy: "poll", DecodeErrors: n(1), Dump: 120 * time.Millisecond}},
		Kernel:     []metrics.Kernel{{Counters: collector.Counters{Netns: 1, Entries: 262_000, Found: n(50), InsertFailed: n(3), Drop: n(1)}, EntriesMax: 262_144, Counted: true}},
		Allowances: []metrics.Allowance{{Interface: "ens5", Available: 130_000, Exceeded: n(3), Known: true, SecondsToExhaustion: math.Inf(1), Forecast: true}},
		Causes:     metrics.Causes{Further: []string{metrics.CauseUnanswered, metrics.CauseRefused, metrics.CausePorts}},
		Stalled:    true,
		PoolStale:  map[string]bool{"lb": true},
		Measures: func(*detector.BudgetSnapshot) []metrics.Measure {
			return []metrics.Measure{{Name: "another VIP", Ports: 1024}}
		},
		CPUExceeded: true,
		NATRules:    &metrics.NATRules{Read: 3, NotRead: 1},
		Reload:      metrics.Reload{At: time.Unix(1_767_225_500, 0)},
		Build:       metrics.Build{Version: "1", Revision: "a", GoVersion: "go1.26"},
	}
}
