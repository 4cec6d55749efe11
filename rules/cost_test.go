package rules_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/internal/prom"
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
	target := httptest.NewServer(nodesOf)
	defer target.Close()
	var targets strings.Builder
	for n := range nodes {
		fmt.Fprintf(&targets, "  - targets: [%q]\n    labels: {__metrics_path__: /node/%d, instance: 'node-%d:9959', cluster: c1}\n",
			strings.TrimPrefix(target.URL, "http://"), n, n)
	}
	config := func(scrapeEvery time.Duration) string {
		return fmt.Sprintf("global: {scrape_interval: %s, scrape_timeout: 5s, evaluation_interval: %s}\nrule_files: [rules-*.yaml]\nscrape_configs:\n- job_name: snatwatch\n  static_configs:\n%s",
			scrapeEvery, measureEvery, targets.String())
	}
	ctx, cancel := context.WithCancel(b.Context())
	server, err := prom.Prometheus(ctx, prometheus, dir, config(partEvery))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { cancel(); server.Wait() }()

	for int(nodesOf.done.Load()) < nodes {
		nodesOf.checkTime(b)
		wait(b, 100*time.Millisecond)
	}
	wait(b, partEvery)
	b.Log(nodes, "nodes scraped in", time.Since(nodesOf.start).Round(time.Second))
	if got := query(b, server, "count(snat_ports_held)"); got != fmt.Sprint(nodes*51) {
		b.Fatalf("Prometheus has %s series of snat_ports_held, want %d", got, nodes*51)
	}
	files, err := rules.Default().Files()
	if err != nil {
		b.Fatal(err)
	}
	for name, body := range files {
		put("rules-"+name, regexp.MustCompile(`(?m)^    interval: .*\n`).ReplaceAllString(string(body), ""))
	}
	if err := server.Reload(config(time.Hour)); err != nil {
		b.Fatal(err)
	}
	// Two rounds until recorded series stand and alerts fire.
	wait(b, 2*measureEvery)
	c := groups(b, server, measureEvery)
	if got := query(b, server, `count(ALERTS{alertname="SnatPortsExhausted",alertstate="firing"})`); failing > 0 && got != fmt.Sprint(failing) {
		b.Fatalf("SnatPortsExhausted fires on %s nodes, want %d", got, failing)
	}
	nodesOf.checkTime(b)
	return c
}

// groups returns what an evaluation of each group and rule takes: the median over the rounds.
func groups(b *testing.B, server *prom.Server, measureEvery time.Duration) cost {
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
	before := processCPU(b, server)
	for range measureRounds {
		wait(b, measureEvery)
		var data struct {
			Groups []struct {
				Name           string
				EvaluationTime float64
				Rules          []struct {
					Name, Health, LastError string
					EvaluationTime          float64
				}
			}
		}
		if err := server.API(b.Context(), "/api/v1/rules", &data); err != nil {
			b.Fatal(err)
		}
		c = cost{}
		report.Reset()
		for _, g := range data.Groups {
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
	c.cpu = (processCPU(b, server) - before) / measureRounds
	_, _ = fmt.Fprint(os.Stderr, report.String())
	return c
}

// processCPU is the CPU time that Prometheus has taken so far, in seconds.
func processCPU(b *testing.B, server *prom.Server) float64 {
	b.Helper()
	body, err := server.Get(b.Context(), "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
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

// query returns the value of the one series that expr leads to, "no" where there is none or more than one.
func query(b *testing.B, server *prom.Server, expr string) string {
	b.Helper()
	samples, err := server.Query(b.Context(), expr)
	if err != nil {
		b.Fatal(err)
	}
	if len(samples) != 1 {
		return "no"
	}
	return samples[0].Value
}
