package rules_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/rules"
)

// BenchmarkEvaluation measures what the rules alone cost a real Prometheus that holds the series of 100 and then
// 1000 nodes with 50 destinations each, and of 1000 while ports run out on 100 of them: two pages and a ticket for
// each, whose annotations ask Prometheus. The series are scraped ahead, some minutes past the
// measurement, and the rules loaded after that: meanwhile a scrape brings nothing. Reported are the median time of
// one evaluation of every group as a share of the group's interval; the CPU that Prometheus takes for one
// evaluation of all groups, garbage collection and all, and its share, spread over groups as their time is: other work
// on the machine stretches the time and not the CPU; and the ratios of the two fleets. The program is the one
// that PROMETHEUS names, or prometheus in PATH.
//
//	go test -run=^$ -bench='Evaluation/nodes=(100|1000)$' -benchtime=1x ./rules    # four minutes
//	go test -run=^$ -bench=Evaluation -benchtime=1x ./rules                        # and the incident: seven
func BenchmarkEvaluation(b *testing.B) {
	program := os.Getenv("PROMETHEUS")
	if program == "" {
		program = "prometheus"
	}
	path, err := exec.LookPath(program)
	if err != nil {
		b.Skipf("no %s: apt-get install prometheus", program)
	}
	var small cost
	for _, f := range []struct {
		name           string
		nodes, failing int
	}{
		{"nodes=100", 100, 0},
		{"nodes=1000", 1000, 0},
		{"nodes=1000,failing=100", 1000, 100},
	} {
		b.Run(f.name, func(b *testing.B) {
			for b.Loop() {
				c := evaluate(b, path, f.nodes, f.failing)
				b.ReportMetric(c.seconds, "s")
				b.ReportMetric(c.cpu, "cpu-s")
				b.ReportMetric(100*c.share, "%-of-interval")
				b.ReportMetric(100*c.share*c.cpu/c.seconds, "%-cpu-of-interval")
				if f.nodes == 100 {
					small = c
				} else if small.cpu > 0 {
					b.ReportMetric(c.seconds/small.seconds, "x-for-10x-nodes")
					b.ReportMetric(c.cpu/small.cpu, "x-cpu-for-10x-nodes")
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// cost is that of one evaluation of all groups: in seconds on the clock and of CPU, and the sum over
// groups of their time's share of their interval.
type cost struct{ seconds, cpu, share float64 }

// Every group is evaluated measureRounds times, whatever its own interval.
const measureRounds = 3

func evaluate(b *testing.B, prometheus string, nodes, failing int) cost {
	b.Helper()
	measureEvery := time.Duration(5+15*nodes/1000) * time.Second
	dir := b.TempDir()
	put := func(name, body string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	nodesOf := newFleet(nodes, failing)
	server := httptest.NewServer(nodesOf)
	defer server.Close()
	var targets strings.Builder
	for n := range nodes {
		fmt.Fprintf(&targets, "  - targets: [%q]\n    labels: {__metrics_path__: /node/%d, instance: 'node-%d:9959', cluster: c1}\n",
			strings.TrimPrefix(server.URL, "http://"), n, n)
	}
	configure := func(scrapeEvery time.Duration) {
		put("prometheus.yml", fmt.Sprintf("global: {scrape_interval: %s, scrape_timeout: 5s, evaluation_interval: %s}\nrule_files: [rules-*.yaml]\nscrape_configs:\n- job_name: snatwatch\n  static_configs:\n%s",
			scrapeEvery, measureEvery, targets.String()))
	}
	configure(partEvery)
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
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }()

	for int(nodesOf.done.Load()) < nodes {
		nodesOf.checkTime(b)
		wait(b, 100*time.Millisecond)
	}
	wait(b, partEvery)
	b.Log(nodes, "nodes scraped in", time.Since(nodesOf.start).Round(time.Second))
	if got := query(b, address, "count(snat_ports_held)"); got != fmt.Sprint(nodes*51) {
		b.Fatalf("Prometheus has %s series of snat_ports_held, want %d", got, nodes*51)
	}
	files, err := rules.Default().Files()
	if err != nil {
		b.Fatal(err)
	}
	for name, body := range files {
		put("rules-"+name, regexp.MustCompile(`(?m)^    interval: .*\n`).ReplaceAllString(string(body), ""))
	}
	configure(time.Hour)
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		b.Fatal(err)
	}
	// Two rounds until recorded series stand and alerts fire.
	wait(b, 2*measureEvery)
	c := groups(b, address, measureEvery)
	if got := query(b, address, `count(ALERTS{alertname="SnatPortsExhausted",alertstate="firing"})`); failing > 0 && got != fmt.Sprint(failing) {
		b.Fatalf("SnatPortsExhausted fires on %s nodes, want %d", got, failing)
	}
	nodesOf.checkTime(b)
	return c
}

// groups returns what an evaluation of each group and rule takes: the median over the rounds.
func groups(b *testing.B, address string, measureEvery time.Duration) cost {
	b.Helper()
	var c cost
	took := map[string][]float64{}
	note := func(key string, seconds float64) float64 {
		took[key] = append(took[key], seconds)
		slices.Sort(took[key])
		return took[key][len(took[key])/2]
	}
	intervals := map[string]time.Duration{}
	for _, g := range rules.Default().Groups() {
		intervals[g.Name] = max(g.Interval, 15*time.Second)
	}
	var report strings.Builder
	before := processCPU(b, address)
	for range measureRounds {
		wait(b, measureEvery)
		var answer struct {
			Data struct {
				Groups []struct {
					Name           string
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
		c = cost{}
		report.Reset()
		for _, g := range answer.Data.Groups {
			seconds := note(g.Name, g.EvaluationTime)
			c.seconds += seconds
			c.share += seconds / intervals[g.Name].Seconds()
			fmt.Fprintf(&report, "%-24s %6.3f s of %s\n", g.Name, seconds, intervals[g.Name])
			for i, r := range g.Rules {
				if r.Health != "ok" {
					b.Errorf("%s: %s: %s", r.Name, r.Health, r.LastError)
				}
				fmt.Fprintf(&report, "    %6.3f s %s\n", note(fmt.Sprint(g.Name, i), r.EvaluationTime), r.Name)
			}
		}
	}
	c.cpu = (processCPU(b, address) - before) / measureRounds
	_, _ = fmt.Fprint(os.Stderr, report.String())
	return c
}

// processCPU is the CPU time that Prometheus has taken so far, in seconds.
func processCPU(b *testing.B, address string) float64 {
	b.Helper()
	for line := range strings.Lines(string(get(b, "http://"+address+"/metrics"))) {
		var seconds float64
		if n, _ := fmt.Sscanf(line, "process_cpu_seconds_total %g", &seconds); n == 1 {
			return seconds
		}
	}
	b.Fatal("Prometheus does not tell its CPU time")
	return 0
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
	if err := json.Unmarshal(get(b, "http://"+address+"/api/v1/query?query="+url.QueryEscape(expr)), &answer); err != nil {
		b.Fatal(err)
	}
	if len(answer.Data.Result) != 1 {
		return "no"
	}
	return fmt.Sprint(answer.Data.Result[0].Value[1])
}

func get(b *testing.B, address string) []byte {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, address, nil)
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
		b.Fatalf("%s: %s %v %s", address, resp.Status, err, body)
	}
	return body
}
