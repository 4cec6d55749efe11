package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"
)

// back is how far boards look back.
const back = time.Hour

// askBoards asks each query of each board as Grafana does: the engine in this process, one query after the other, or
// where program names a Prometheus that server, over HTTP, as many at once as a browser does. It reports what they take
// on the clock and of the CPU.
func askBoards(out io.Writer, dir string, f fleet, paths []string, program string, verbose bool) error {
	var boards []board
	all := ""
	for _, path := range paths {
		b, err := f.read(path)
		if err != nil {
			return err
		}
		boards = append(boards, b)
		for _, q := range slices.Concat(b.panels...) {
			all += q.expr + " "
		}
	}
	store, err := open(dir, program != "")
	if err != nil {
		return err
	}
	err = f.history(store, all)
	_, _ = fmt.Fprintf(out, "%d nodes: %d series that these boards read\n", f.present(), store.Head().NumSeries())
	if err == nil && program == "" {
		runtime.GC()
		err = askEngine(out, store, boards, verbose)
	}
	end := time.UnixMilli(store.Head().MaxTime())
	if err := errors.Join(err, store.Close()); err != nil || program == "" {
		return err
	}
	debug.FreeOSMemory()
	return askServer(out, program, dir, end, boards)
}

func askEngine(out io.Writer, store *tsdb.DB, boards []board, verbose bool) error {
	engine := promql.NewEngine(promql.EngineOpts{
		Logger: slog.New(slog.DiscardHandler), MaxSamples: 50e6, Timeout: time.Minute,
		Parser:           parser.NewParser(parser.Options{}),
		EnableAtModifier: true, EnableNegativeOffset: true,
	})
	for _, b := range boards {
		var clock, slowest time.Duration
		before := cpu()
		queries := slices.Concat(append([][]query{b.hidden}, b.panels...)...)
		var names []string
		for i, q := range queries {
			q.expr = strings.NewReplacer(names...).Replace(q.expr)
			start, busy := time.Now(), cpu()
			of, err := q.ask(engine, store)
			if err != nil {
				return fmt.Errorf("%s: %w: %s", b.path, err, q.expr)
			}
			if i < len(b.hidden) {
				names = append(names, q.names(of)...)
			}
			took := time.Since(start)
			clock += took
			slowest = max(slowest, took)
			if verbose {
				_, _ = fmt.Fprintf(out, "  %6.3f s, %.3f s of CPU: %s\n", took.Seconds(), cpu()-busy, q)
			}
		}
		_, _ = fmt.Fprintf(out, "%s: %d queries one after the other: %.2f s on the clock, %.2f s of CPU; "+
			"the slowest %.2f s\n", b.path, len(queries), clock.Seconds(), cpu()-before, slowest.Seconds())
	}
	return nil
}

// askServer opens each board three times and reports the least, as other work on the machine only adds.
func askServer(out io.Writer, program, dir string, end time.Time, boards []board) error {
	s, stop, err := serve(program, dir, "", end)
	if err != nil {
		return err
	}
	defer stop()
	if err := s.rest(); err != nil {
		return err
	}
	for _, b := range boards {
		waited, variables, seen, busy, size := time.Hour, time.Hour, time.Hour, 1e9, 0
		for range 3 {
			first, _, _, err := s.open(b, b.panels[:b.inView])
			if err != nil {
				return fmt.Errorf("%s: %w", b.path, err)
			}
			before, err := s.cpu()
			if err != nil {
				return err
			}
			w, v, n, err := s.open(b, b.panels)
			if err != nil {
				return fmt.Errorf("%s: %w", b.path, err)
			}
			after, err := s.cpu()
			if err != nil {
				return err
			}
			waited, variables, seen, busy = min(waited, w), min(variables, v), min(seen, first), min(busy, after-before)
			size = n
		}
		_, _ = fmt.Fprintf(out, "%s: first screen %.2f s, all of it %.2f s, of which %.2f s for variables; %.2f s of CPU; "+
			"%d kB of answers\n", b.path, seen.Seconds(), waited.Seconds(), variables.Seconds(), busy, size/1000)
	}
	return nil
}

// panel is what a board says of the queries in it.
type panel struct {
	title  string
	points float64 // how many moments it asks for
	// variable takes the names that labels have in the answer.
	variable string
	labels   []string
}

// names is what a variable stands for: any of the names that its labels have in an answer.
func (q query) names(of []map[string]string) []string {
	var names []string
	for _, series := range of {
		for _, label := range q.labels {
			name := strings.ReplaceAll(regexp.QuoteMeta(series[label]), `\`, `\\`)
			if name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return []string{"$" + q.variable, "(" + strings.Join(names, "|") + ")"}
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

// firstScreen is how many rows of Grafana's grid are on a screen of 1,080 pixels. It asks for what is below when the
// reader comes there.
const firstScreen = 26

// board is the queries of each panel, and what is asked for each variable: a label and the series it is of.
type board struct {
	path      string
	panels    [][]query
	inView    int // how many of panels are on the first screen
	variables []string
	hidden    []query // one for each hidden variable: its values are a label's in the answer
}

// waits says whether a query is of names that another query returns.
func (b board) waits(q query) bool {
	return slices.ContainsFunc(b.hidden, func(h query) bool {
		return strings.Contains(q.expr, `"$`+h.variable+`"`) || strings.Contains(q.expr, `"$`+h.variable+`|"`)
	})
}

// target is a query as a board's file has it.
type target struct {
	Expr    string
	Instant bool
}

// boardFile is what the file of a board says of its queries.
type boardFile struct {
	Templating struct {
		List []struct {
			Name, AllValue, Regex string
			Query                 any
		}
	}
	Annotations struct{ List []target }
	Panels      []struct {
		Title         string
		GridPos       struct{ Y int }
		MaxDataPoints float64
		Targets       []target
	}
}

// chosen puts in place of a board's variables what Grafana does when all is chosen.
func (f fleet) chosen(v *boardFile) *strings.Replacer {
	var nodes []string
	for i := range f.Nodes {
		if f.has(i) {
			nodes = append(nodes, fmt.Sprintf("node-%d:9959", i))
		}
	}
	values := []string{"$__rate_interval", "1m", "$__range", "1h"}
	for _, v := range v.Templating.List {
		all := v.AllValue
		switch {
		case v.Regex != "":
			continue
		case all != "":
		case v.Name == "instance":
			all = "(" + strings.Join(nodes, "|") + ")"
		case v.Name == "budget":
			all = "nat"
		}
		values = append(values, "$"+v.Name, all)
	}
	return strings.NewReplacer(values...)
}

// read reads a board and replaces its variables as Grafana does when all is chosen: by the regular expression that the
// board gives to All, or by the names of all nodes and budgets.
func (f fleet) read(path string) (board, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return board{}, err
	}
	var v boardFile
	if err := json.Unmarshal(body, &v); err != nil {
		return board{}, fmt.Errorf("%s: %w", path, err)
	}
	fill := f.chosen(&v)
	b := board{path: path}
	for _, v := range v.Templating.List {
		of, _ := v.Query.(map[string]any)
		q, _ := of["query"].(string)
		if expr, hidden := strings.CutPrefix(q, "query_result("); hidden {
			// /[{, ](?:cluster|pool)="([^"]+)"/g, or of one label alone
			labels := regexp.MustCompile(`[a-z|]+\)?=`).FindString(v.Regex)
			b.hidden = append(b.hidden, query{
				panel{title: "names for " + v.Name, variable: v.Name, labels: strings.Split(strings.TrimRight(labels, ")="), "|")},
				fill.Replace(strings.TrimSuffix(expr, ")")), true,
			})
		} else if q != "" {
			series, label, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(q, "label_values("), ")"), "}, ")
			b.variables = append(b.variables, label+" "+fill.Replace(series)+"}")
		}
	}
	for _, a := range v.Annotations.List {
		b.panels = append(b.panels, []query{{panel{title: "annotation"}, fill.Replace(a.Expr), false}})
	}
	for _, p := range v.Panels {
		var queries []query
		for _, t := range p.Targets {
			queries = append(queries, query{panel{title: p.Title, points: p.MaxDataPoints}, fill.Replace(t.Expr), t.Instant})
		}
		if len(queries) > 0 {
			b.panels = append(b.panels, queries)
			if p.GridPos.Y < firstScreen {
				b.inView = len(b.panels)
			}
		}
	}
	return b, nil
}

// ask asks the engine, and returns the labels of what it answers at one moment.
func (q query) ask(engine *promql.Engine, store *tsdb.DB) ([]map[string]string, error) {
	ctx, end := context.Background(), time.UnixMilli(store.Head().MaxTime())
	var r promql.Query
	var err error
	if q.instant {
		r, err = engine.NewInstantQuery(ctx, store, nil, q.expr, end)
	} else {
		r, err = engine.NewRangeQuery(ctx, store, nil, q.expr, end.Add(-back), end, q.step())
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	answer := r.Exec(ctx)
	var out []map[string]string
	if v, ok := answer.Value.(promql.Vector); ok {
		for _, s := range v {
			out = append(out, s.Metric.Map())
		}
	}
	return out, answer.Err
}
