package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/snatwatch/snatwatch/rules/records"
)

// back is how far boards look back.
const back = time.Hour

// askBoards asks each query of each board as Grafana does, one after the other, and reports what they take on the clock
// and of the CPU.
func askBoards(out io.Writer, dir string, f fleet, boards []string, verbose bool) error {
	queries := map[string][]query{}
	all := ""
	for _, path := range boards {
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var board any
		if err := json.Unmarshal(body, &board); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		queries[path] = find(board, f.variables(), panel{})
		for _, q := range queries[path] {
			all += q.expr + " "
		}
	}
	store, err := open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	read := map[string]bool{}
	for _, name := range regexp.MustCompile(`[a-z][a-z_:0-9]+`).FindAllString(all, -1) {
		read[name] = true
	}
	wanted := func(name string) bool { return read[name] }
	if err := f.fill(store, int(back/step), wanted); err != nil {
		return err
	}
	if err := f.recorded(store); err != nil {
		return err
	}
	runtime.GC()
	_, _ = fmt.Fprintf(out, "%d nodes: %d series that these boards read\n", f.present(), store.Head().NumSeries())
	engine := promql.NewEngine(promql.EngineOpts{
		Logger: slog.New(slog.DiscardHandler), MaxSamples: 50e6, Timeout: time.Minute,
		Parser:           parser.NewParser(parser.Options{}),
		EnableAtModifier: true, EnableNegativeOffset: true,
	})
	for _, path := range boards {
		var clock, slowest time.Duration
		before := cpu()
		for _, q := range queries[path] {
			start, busy := time.Now(), cpu()
			if err := q.ask(engine, store); err != nil {
				return fmt.Errorf("%s: %w: %s", path, err, q.expr)
			}
			took := time.Since(start)
			clock += took
			slowest = max(slowest, took)
			if verbose {
				_, _ = fmt.Fprintf(out, "  %6.3f s, %.3f s of CPU: %s\n", took.Seconds(), cpu()-busy, q)
			}
		}
		_, _ = fmt.Fprintf(out, "%s: %d queries one after the other: %.2f s on the clock, %.2f s of CPU; "+
			"the slowest %.2f s\n", filepath.Base(path),
			len(queries[path]), clock.Seconds(), cpu()-before, slowest.Seconds())
	}
	return nil
}

// panel is what a board says of the queries in it.
type panel struct {
	title  string
	points float64 // how many moments it asks for
}

// query is one of a panel, at one moment or over time.
type query struct {
	panel
	expr    string
	instant bool
}

// String is the panel's title, and the start of the query.
func (q query) String() string {
	return fmt.Sprintf("%s: %.60s", q.title, strings.Join(strings.Fields(q.expr), " "))
}

// step is between two moments as Grafana has them: the range over the panel's points, rounded to a step of its own.
func (q query) step() time.Duration {
	exact := back / time.Duration(max(q.points, 1))
	for _, s := range []time.Duration{step, 20 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute} {
		if s >= exact*3/4 {
			return s
		}
	}
	return 5 * time.Minute
}

// variables replaces the variables of a board as Grafana does when all is chosen: by the names of all nodes and budgets.
// Pools narrow nothing, since most metrics have no label of them.
func (f fleet) variables() *strings.Replacer {
	var nodes []string
	for i := range f.Nodes {
		if f.has(i) {
			nodes = append(nodes, fmt.Sprintf("node-%d:9959", i))
		}
	}
	all := "(" + strings.Join(nodes, "|") + ")"
	return strings.NewReplacer("$__rate_interval", "1m", "$__range", "1h", "$cluster", ".*", "$job", ".*", "$pool", ".*",
		"$budget", "nat", "$instance", all)
}

// find returns the queries below a part of a board, in a panel.
func find(v any, fill *strings.Replacer, in panel) []query {
	var out []query
	switch v := v.(type) {
	case map[string]any:
		if points, ok := v["maxDataPoints"].(float64); ok {
			in.points = points
		}
		if title, ok := v["title"].(string); ok && v["targets"] != nil {
			in.title = title
		}
		if expr, ok := v["expr"].(string); ok {
			instant, _ := v["instant"].(bool)
			out = append(out, query{in, fill.Replace(expr), instant})
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			out = append(out, find(v[name], fill, in)...)
		}
	case []any:
		for _, of := range v {
			out = append(out, find(of, fill, in)...)
		}
	}
	return out
}

func (q query) ask(engine *promql.Engine, store *tsdb.DB) error {
	ctx, end := context.Background(), time.UnixMilli(store.Head().MaxTime())
	var r promql.Query
	var err error
	if q.instant {
		r, err = engine.NewInstantQuery(ctx, store, nil, q.expr, end)
	} else {
		r, err = engine.NewRangeQuery(ctx, store, nil, q.expr, end.Add(-back), end, q.step())
	}
	if err != nil {
		return err
	}
	defer r.Close()
	return r.Exec(ctx).Err
}

// recorded writes an hour of what rules have recorded, a sample a minute.
func (f fleet) recorded(store *tsdb.DB) error {
	end := time.Now().Truncate(step)
	app := store.AppenderV2(context.Background())
	put := func(name string, value float64, of ...string) error {
		l := labels.FromStrings(append([]string{labels.MetricName, name}, of...)...)
		return write(app, l, end, time.Minute, int(back/time.Minute), func(at float64) float64 { return value + at/1e9 })
	}
	var err error
	try := func(name string, value float64, of ...string) {
		if err == nil {
			err = put(name, value, of...)
		}
	}
	horizons := []string{"1m", "5m", "15m", "1h"}
	for g := range f.Gateways {
		gateway := []string{"cluster", fmt.Sprintf("c%d", g%f.Clusters), "budget", "nat", "gateway",
			fmt.Sprintf("nat-%d", g), "protocol", "tcp"}
		for _, name := range []string{records.GatewayPorts, records.GatewayUnseen, records.GatewayOpened} {
			try(name, 55000, gateway...)
		}
		for d := range 50 {
			space := append(append([]string{}, gateway...), "destination", fmt.Sprintf("203.0.113.%d:443", d))
			try(records.GatewayHeld, float64(1000+d), space...)
			try(records.GatewayTime, float64(100*d), space...)
			for _, h := range horizons {
				try(records.GatewayProbability, float64(d)/1e3, append(space, "horizon", h)...)
				try(records.GatewayMean, float64(1000+d), append(space, "horizon", h)...)
			}
		}
	}
	for p := range 5 * f.Clusters {
		pool := []string{"cluster", fmt.Sprintf("c%d", p%f.Clusters), "budget", "nat", "pool", fmt.Sprintf("pool-%d", p),
			"protocol", "tcp"}
		for _, name := range []string{records.PoolHeld, records.PoolOpened, records.PoolFill} {
			try(name, float64(p), pool...)
		}
		for _, h := range horizons {
			for _, name := range []string{records.PoolMean, records.PoolVariance, records.PoolProbability,
				records.PoolExpected} {
				try(name, float64(p), append(pool, "horizon", h)...)
			}
		}
	}
	for i := range f.Nodes {
		if f.has(i) {
			try(records.NodeFill, float64(i)/1e5, "cluster", fmt.Sprintf("c%d", f.Cluster(i)), "instance",
				fmt.Sprintf("node-%d:9959", i), "job", "snatwatch",
				"budget", "nat", "protocol", "tcp")
		}
	}
	if err != nil {
		return err
	}
	return app.Commit()
}
