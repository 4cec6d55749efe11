package rules_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkEvaluation runs all rule files in a real Prometheus that scrapes 100 and then
// 1000 nodes with 50 destinations each, and reports the time of one evaluation of
// every group as a share of the group's interval, and the ratio of the two. The program is
// the one that PROMETHEUS names, or prometheus in PATH.
//
//	go test -run=^$ -bench=Evaluation -benchtime=1x ./rules
func BenchmarkEvaluation(b *testing.B) {
	program := os.Getenv("PROMETHEUS")
	if program == "" {
		program = "prometheus"
	}
	path, err := exec.LookPath(program)
	if err != nil {
		b.Skipf("no %s: apt-get install prometheus", program)
	}
	for b.Loop() {
		small, _ := evaluate(b, path, 100)
		large, worst := evaluate(b, path, 1000)
		b.ReportMetric(small, "s/100-nodes")
		b.ReportMetric(large, "s/1000-nodes")
		b.ReportMetric(large/small, "x-for-10x-nodes")
		b.ReportMetric(100*worst, "%-of-interval")
	}
	b.ReportMetric(0, "ns/op")
}

// evaluate returns the seconds that one evaluation of all groups takes, and the sum over groups
// of its share of their interval.
func evaluate(b *testing.B, prometheus string, nodes int) (seconds, share float64) {
	b.Helper()
	start := time.Now()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var node int
		if _, err := fmt.Sscanf(r.URL.Path, "/node/%d", &node); err != nil {
			http.NotFound(w, r)
			return
		}
		writeNode(w, node, time.Since(start).Seconds())
	}))
	defer server.Close()
	dir := b.TempDir()
	var config strings.Builder
	config.WriteString("global:\n  scrape_interval: 15s\n  evaluation_interval: 15s\nrule_files: [rules/*.yaml]\nscrape_configs:\n- job_name: snatwatch\n  static_configs:\n")
	for n := range nodes {
		fmt.Fprintf(&config, "  - targets: [%q]\n    labels: {__metrics_path__: /node/%d, instance: 'node-%d:9959', cluster: c1}\n",
			strings.TrimPrefix(server.URL, "http://"), n, n)
	}
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "rules"), 0o700); err != nil {
		b.Fatal(err)
	}
	for _, f := range []string{"snatwatch-alerts.yaml", "snatwatch-records.yaml"} {
		body, err := os.ReadFile(f)
		if err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "rules", f), body, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, prometheus, "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=error")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }()

	// By then every group was evaluated over all series.
	wait(b, 140*time.Second)
	if got := query(b, address, "count(snat_ports_held)"); got != fmt.Sprint(nodes*51) {
		b.Fatalf("Prometheus has %s series of snat_ports_held, want %d: the machine is too slow to scrape", got, nodes*51)
	}
	return groups(b, address)
}

// groups returns what each group and rule took at best in the next minute and a half, in which every group is
// evaluated at least once more: another process of a shared machine makes any of them slow.
func groups(b *testing.B, address string) (seconds, share float64) {
	b.Helper()
	best := map[string]float64{}
	least := func(key string, took float64) float64 {
		if before, ok := best[key]; ok {
			took = min(took, before)
		}
		best[key] = took
		return took
	}
	var report strings.Builder
	for range 9 {
		wait(b, 10*time.Second)
		var answer struct {
			Data struct {
				Groups []struct {
					Name           string
					Interval       float64
					EvaluationTime float64
					Rules          []struct {
						Name, Health, LastError string
						EvaluationTime          float64
					}
				}
			}
		}
		if err := json.Unmarshal(get(b, "http://"+address+"/api/v1/rules"), &answer); err != nil {
			b.Fatal(err)
		}
		seconds, share = 0, 0
		report.Reset()
		for _, g := range answer.Data.Groups {
			took := least(g.Name, g.EvaluationTime)
			seconds += took
			share += took / g.Interval
			fmt.Fprintf(&report, "%-20s %6.3f s of %2.0f s\n", g.Name, took, g.Interval)
			for i, r := range g.Rules {
				if r.Health != "ok" {
					b.Errorf("%s: %s: %s", r.Name, r.Health, r.LastError)
				}
				fmt.Fprintf(&report, "    %6.3f s %s\n", least(fmt.Sprint(g.Name, i), r.EvaluationTime), r.Name)
			}
		}
	}
	_, _ = fmt.Fprint(os.Stderr, report.String())
	return seconds, share
}

func wait(b *testing.B, d time.Duration) {
	b.Helper()
	select {
	case <-time.After(d):
	case <-b.Context().Done():
		b.Fatal(b.Context().Err())
	}
}

func query(b *testing.B, address, expr string) string {
	b.Helper()
	var answer struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	if err := json.Unmarshal(get(b, "http://"+address+"/api/v1/query?query="+expr), &answer); err != nil {
		b.Fatal(err)
	}
	if len(answer.Data.Result) != 1 {
		return "no"
	}
	return fmt.Sprint(answer.Data.Result[0].Value[1])
}

func get(b *testing.B, url string) []byte {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
	if err != nil {
		b.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatalf("%s: %s %v %s", url, resp.Status, err, body)
	}
	return body
}

// writeNode writes what an agent with 50 exported destinations behind a shared gateway serves.
func writeNode(w io.Writer, node int, t float64) {
	var out bytes.Buffer
	const p = `budget="nat",protocol="tcp"`
	fmt.Fprintf(&out, "snat_budget_info{budget=\"nat\",model=\"aws-nat-gateway\",scope=\"shared\",pool=\"pool-%d\",gateway=\"nat-%d\",assumed=\"\"} 1\n", node%5, node%4)
	fmt.Fprintf(&out, "snat_budget_ports{%s} 55000\nsnat_budget_effective_ports{%s} 55000\nsnat_busiest_ports_held{%s} %d\n", p, p, p, 40+node%7)
	fmt.Fprintf(&out, "snat_flows_opened_total{%s} %.0f\nsnat_opening_stalled{%s} 0\nsnat_folded_ports_held_max{%s} 3\n", p, 20*t, p, p)
	fmt.Fprintf(&out, "snat_budget_contradicted{budget=\"nat\"} 0\nsnat_pool_stale{budget=\"nat\"} 0\nsnat_config_last_reload_success 1\n")
	for _, r := range []string{"fin", "rst", "timeout", "idle", "unknown"} {
		fmt.Fprintf(&out, "snat_flows_closed_total{%s,reason=%q} %.0f\n", p, r, 4*t)
	}
	for _, c := range []string{"unanswered", "refused", "ports"} {
		fmt.Fprintf(&out, "snat_open_failures_total{%s,cause=%q} 0\n", p, c)
	}
	fmt.Fprintf(&out, "snat_ledger_exact{netns=\"1\"} 1\nsnat_events_lost_total{netns=\"1\"} 0\nsnat_decode_errors_total{netns=\"1\",source=\"conntrack\"} 0\n")
	fmt.Fprintf(&out, "snat_conntrack_insert_failed_total{netns=\"1\"} 0\nsnat_snapshot_timestamp_seconds %.3f\nsnat_agent_build_info{version=\"1\"} 1\n", float64(time.Now().UnixMilli())/1e3)
	for d := range 51 {
		space := fmt.Sprintf(`%s,gateway="nat-%d",vip="",destination="203.0.113.%d:443"`, p, node%4, d)
		if d == 50 {
			space = fmt.Sprintf(`%s,gateway="nat-%d",vip="",destination="other"`, p, node%4)
		}
		held := 40 - d/2 + (node+int(t))%5
		fmt.Fprintf(&out, "snat_ports_held{%s} %d\nsnat_ports_live{%s} %d\nsnat_ports_cooling{%s} %d\n", space, held, space, held/2, space, held-held/2)
		if d == 50 {
			continue
		}
		fmt.Fprintf(&out, "snat_time_to_exhaustion_seconds{%s} +Inf\n", space)
		for i, h := range []string{"1m", "5m", "15m", "1h"} {
			fmt.Fprintf(&out, "snat_forecast_ports_mean{%s,horizon=%q} %d\nsnat_forecast_ports_variance{%s,horizon=%q} %d\nsnat_exhaustion_probability{%s,horizon=%q} 0.0%d\n",
				space, h, held+i, space, h, 4*held, space, h, i)
		}
	}
	_, _ = out.WriteTo(w) // a scrape that was given up
}
