package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"time"
)

// questions are what a fleet is asked above its shards. Nothing there is evaluated: each rule reads the series of its
// clusters alone.
var questions = []struct{ about, expr string }{
	{"the ten gateways that are exhausted first", "bottomk(10, min by (cluster, gateway) " +
		"(gateway:snat_time_to_exhaustion_seconds:median))"},
	{"the ten gateways that are most likely exhausted within 5 minutes", "topk(10, max by (cluster, gateway) " +
		`(gateway:snat_exhaustion_probability:by_horizon{horizon="5m"}))`},
	{"the ten fullest gateways", "topk(10, max by (cluster, gateway) (gateway:snat_ports_held:sum) / " +
		"max by (cluster, gateway) (gateway:snat_budget_effective_ports:max))"},
	{"the ten fullest nodes", "topk(10, instance:snat_busiest_fill:ratio)"},
	{
		"ports held of the ten destinations that hold the most, over all shards",
		"topk(10, sum by (destination) (gateway:snat_ports_held:sum))",
	},
	{"nodes that are expected to be exhausted within an hour, by pool", "topk(10, " +
		`pool:snat_nodes_exhausted:expected{horizon="1h"})`},
}

// above measures a Prometheus that scrapes what the rules of all shards have recorded from their servers once a minute.
func above(out io.Writer, program string, recorded []string) error {
	dir, err := os.MkdirTemp("", "above")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	shards := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var i int
		if _, err := fmt.Sscanf(r.URL.Path, "/shard/%d", &i); err != nil || i >= len(recorded) {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, recorded[i])
	}))
	defer shards.Close()
	// Four times as often as once a minute, to be done sooner.
	const pace = 4
	config := fmt.Sprintf("scrape_configs:\n- job_name: shards\n  honor_labels: true\n  honor_timestamps: false\n"+
		"  scrape_interval: %s\n  static_configs:\n", time.Minute/pace)
	for i := range recorded {
		config += fmt.Sprintf("  - {targets: [%q], labels: {__metrics_path__: /shard/%d}}\n",
			strings.TrimPrefix(shards.URL, "http://"), i)
	}
	s, stop, err := serve(program, dir, config, time.Time{})
	if err != nil {
		return err
	}
	defer stop()
	if _, err := s.watch(time.Minute, func(sample) {}); err != nil {
		return err
	}
	var last sample
	cores, err := s.watch(time.Minute, func(now sample) { last = now })
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "above %d shards: %d recorded series, %.0f samples/s, %.2f GB in memory, %.2f %% of a core "+
		"to read them each minute; load %s\n", len(recorded), last.series, float64(last.series)/60, last.memory,
		100*cores/pace, loadAverage())
	for _, q := range questions {
		took, busy, err := s.least(q.expr)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(out, "  %.3f s on the clock, %.3f s of CPU: %s\n", took.Seconds(), busy, q.about)
	}
	return nil
}

// least asks a question of now five times and returns what it takes at least, as other work on the machine only adds.
func (s *server) least(expr string) (took time.Duration, busy float64, err error) {
	took, busy = time.Hour, 1e9
	for range 5 {
		before, err := s.cpu()
		if err != nil {
			return 0, 0, err
		}
		begin := time.Now()
		body, err := s.get(context.Background(), "/api/v1/query", url.Values{"query": {expr}})
		if err != nil {
			return 0, 0, err
		}
		if of, err := answered(body); err != nil || len(of) == 0 {
			return 0, 0, fmt.Errorf("%s: no answer (%w)", expr, err)
		}
		took = min(took, time.Since(begin))
		after, err := s.cpu()
		if err != nil {
			return 0, 0, err
		}
		busy = min(busy, after-before)
	}
	return took, busy, nil
}
