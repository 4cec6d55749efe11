// Command evaluation measures what rules cost the engine of Prometheus: it fills a database with the series of a fleet,
// in this process, and evaluates sets of rules on it in turns. What it reports is CPU time, which other work on the
// machine stretches little, as a share of the time that each group's interval leaves it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/internal/engines"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "evaluation:", err)
		os.Exit(1)
	}
}

// step is between two samples of a series.
const step = 15 * time.Second

func run(args []string, out io.Writer) error {
	app := kingpin.New("evaluation", "Measures what rules cost Prometheus on the series of a fleet.")
	app.Terminate(nil)
	var f fleet
	app.Flag("nodes", "Nodes, with 50 destinations each.").Default("1000").IntVar(&f.Nodes)
	app.Flag("gateways", "Gateways that nodes share.").Default("4").IntVar(&f.Gateways)
	app.Flag("clusters", "Clusters; a gateway is of one.").Default("1").IntVar(&f.Clusters)
	app.Flag("cluster", "Numbers of the clusters whose nodes are there; all where none is given.").IntsVar(&f.clusters)
	boards := app.Flag("board", "Ask the queries of a board instead, over an hour of the series that they read.").
		ExistingFiles()
	program := app.Flag("prometheus", "With --board: ask this Prometheus over HTTP, as a browser does, not the engine "+
		"in this process.").ExistingFile()
	var of sharding
	app.Flag("shard", "Regular expression of clusters, as snatgen was given it: measure the rules of each shard on the "+
		"Prometheus that --prometheus names, with the folder that has shard-1 and so on as the only argument.").
		StringsVar(&of.clusters)
	app.Flag("only", "With --shard: number of a shard to measure; all where none is given.").IntsVar(&of.only)
	app.Flag("pace", "With --shard: how many times as often groups are evaluated as their files say.").Default("30").
		IntVar(&of.pace)
	rounds := app.Flag("rounds", "Evaluations of each set, of which the median counts.").Default("5").Int()
	samples := app.Flag("samples", "Samples of each series: 60 are half of what a chunk takes.").Default("60").Int()
	verbose := app.Flag("verbose", "Print each rule or query.").Short('v').Bool()
	sets := app.Arg("rules", "Folders of rule files, one for each set.").Strings()
	if _, err := app.Parse(args); err != nil {
		return err
	}
	if of.rounds = *rounds; len(of.clusters) > 0 {
		if *program == "" || len(*sets) != 1 || len(*boards) > 0 {
			return errors.New("--shard: want --prometheus and one folder of shards")
		}
		return f.shards(out, *program, (*sets)[0], of)
	}
	if (len(*sets) == 0) == (len(*boards) == 0) {
		return errors.New("want folders of rule files, or --board")
	}
	dir, err := os.MkdirTemp("", "evaluation")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if len(*boards) > 0 {
		return askBoards(out, dir, f, *boards, *program, *verbose)
	}
	return compare(out, dir, f, *sets, *samples, *rounds, *verbose)
}

// compare evaluates the sets of rules in these folders in turns, on a database in dir, and reports what each takes.
func compare(out io.Writer, dir string, f fleet, sets []string, samples, rounds int, verbose bool) error {
	store, err := open(dir, false)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	if err := f.fill(store, time.Now().Truncate(step), samples, func(string) bool { return true }); err != nil {
		return err
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	n := store.Head().NumSeries()
	_, _ = fmt.Fprintf(out, "%d nodes: %d series, %.0f samples/s at a scrape every %s, %.2f GB in memory\n",
		f.present(), n,
		float64(n)/step.Seconds(), step, float64(m.HeapAlloc)/1e9)
	var all []*set
	for _, folder := range sets {
		s, err := load(store, folder)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	at := time.UnixMilli(store.Head().MaxTime())
	turn := slices.Clone(all)
	for range rounds + 2 { // the first two write what others read, and do not count
		slices.Reverse(turn) // no set always has the caches as the same other one left them
		for _, s := range turn {
			at = at.Add(time.Second)
			if err := s.evaluate(at); err != nil {
				return err
			}
		}
	}
	for _, s := range all {
		s.report(out, verbose)
	}
	for _, s := range all[1:] {
		a, b := all[0].share(), s.share()
		_, _ = fmt.Fprintf(out, "%s against %s: %.2f of the CPU, %.2f of the series, %.2f of the samples\n", s.name,
			all[0].name, b.cpu/a.cpu, b.series/a.series, b.samples/a.samples)
	}
	return nil
}

// fleet is the nodes of some clusters of a fleet.
type fleet struct {
	engines.Fleet
	clusters []int
}

func (f fleet) has(node int) bool {
	return len(f.clusters) == 0 || slices.Contains(f.clusters, f.Cluster(node))
}

func (f fleet) present() (n int) {
	for i := range f.Nodes {
		if f.has(i) {
			n++
		}
	}
	return n
}

// open opens an empty database. What is logged a server reads when it starts.
func open(dir string, logged bool) (*tsdb.DB, error) {
	o := tsdb.DefaultOptions()
	if !logged {
		o.WALSegmentSize = -1
	}
	o.RetentionDuration = 0
	store, err := tsdb.Open(dir, slog.New(slog.DiscardHandler), nil, o, nil)
	if err == nil {
		store.DisableCompactions()
	}
	return store, err
}

// fill writes so many samples of each series whose name is wanted, the last at end.
func (f fleet) fill(store *tsdb.DB, end time.Time, samples int, wanted func(name string) bool) error {
	for i := range f.Nodes {
		if !f.has(i) {
			continue
		}
		app := store.AppenderV2(context.Background())
		for _, s := range f.Node(i) {
			if !wanted(string(s.Name)) {
				continue
			}
			l := labels.FromStrings(append([]string{labels.MetricName, string(s.Name)}, s.Labels...)...)
			if err := write(app, l, end, step, samples, s.Value); err != nil {
				return err
			}
		}
		if err := app.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// write appends so many samples of a series, the last at end.
func write(app storage.AppenderV2, l labels.Labels, end time.Time, every time.Duration, samples int,
	value func(float64) float64,
) (err error) {
	var ref storage.SeriesRef
	for n := range samples {
		at := end.Add(-time.Duration(samples-1-n) * every)
		if ref, err = app.Append(ref, l, 0, at.UnixMilli(), value(float64(at.Unix())), nil, nil,
			storage.AppendV2Options{}); err != nil {
			return fmt.Errorf("append %s: %w", l, err)
		}
	}
	return nil
}

// set is the rules of one folder, and what each evaluation of a group and rule took.
type set struct {
	name   string
	groups []*rules.Group
	took   map[string][]cost
	order  []string
	every  map[string]time.Duration
	engine *counting
}

// cost is in seconds of CPU, and in series and samples that were read.
type cost struct{ cpu, series, samples float64 }

// counting is an engine of PromQL that counts the series and samples that its queries read. A series counts as often as
// an expression names it.
type counting struct {
	*promql.Engine
	series, samples int64
}

func load(store *tsdb.DB, folder string) (*set, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no rule files in %s", folder)
	}
	s := &set{name: folder, took: map[string][]cost{}, every: map[string]time.Duration{}}
	s.engine = &counting{Engine: promql.NewEngine(promql.EngineOpts{
		Logger: slog.New(slog.DiscardHandler), MaxSamples: 1e9, Timeout: 10 * time.Minute,
		Parser: parser.NewParser(parser.Options{}),
	})}
	query := func(ctx context.Context, expr string, at time.Time) (promql.Vector, error) {
		q, err := s.engine.NewInstantQuery(ctx, store, nil, expr, at)
		if err != nil {
			return nil, err
		}
		defer q.Close()
		r := q.Exec(ctx)
		if r.Err != nil {
			return nil, r.Err
		}
		s.engine.series += q.Stats().Samples.TotalSeries
		s.engine.samples += q.Stats().Samples.TotalSamples
		if v, err := r.Scalar(); err == nil {
			return promql.Vector{promql.Sample{T: v.T, F: v.V}}, nil
		}
		return r.Vector()
	}
	m := rules.NewManager(&rules.ManagerOptions{
		QueryFunc: query, AppendableV2: store, Queryable: store, Context: context.Background(),
		Logger:     slog.New(slog.DiscardHandler),
		NotifyFunc: func(context.Context, string, ...*rules.Alert) {}, OutageTolerance: time.Hour, ResendDelay: time.Minute,
		Parser: parser.NewParser(parser.Options{}),
	})
	// A group without an interval is evaluated as often as nodes are scraped.
	groups, errs := m.LoadGroups(step, labels.EmptyLabels(), "", nil, false, files...)
	if len(errs) > 0 {
		return nil, errs[0]
	}
	for _, g := range groups {
		s.groups = append(s.groups, g)
		s.every[g.Name()] = g.Interval()
	}
	// Records first, as their groups come first in the files.
	slices.SortFunc(s.groups, func(a, b *rules.Group) int { return len(a.AlertingRules()) - len(b.AlertingRules()) })
	return s, nil
}

func (s *set) evaluate(at time.Time) error {
	for _, g := range s.groups {
		s.engine.series, s.engine.samples = 0, 0
		before := cpu()
		g.Eval(context.Background(), at)
		c := cost{cpu() - before, float64(s.engine.series), float64(s.engine.samples)}
		if _, ok := s.took[g.Name()]; !ok {
			s.order = append(s.order, g.Name())
		}
		s.took[g.Name()] = append(s.took[g.Name()], c)
		for _, r := range g.Rules() {
			if r.Health() != rules.HealthGood {
				return fmt.Errorf("%s: %s: %w", s.name, r.Name(), r.LastError())
			}
		}
	}
	return nil
}

// median of a group's evaluations but the first two.
func median(all []cost) cost {
	c := slices.Clone(all[min(2, len(all)-1):])
	slices.SortFunc(c, func(a, b cost) int { return int((a.cpu - b.cpu) * 1e9) })
	return c[len(c)/2]
}

// share is the sum over groups of their cost in a second.
func (s *set) share() cost {
	var sum cost
	for name, all := range s.took {
		m, every := median(all), s.every[name].Seconds()
		sum.cpu += m.cpu / every
		sum.series += m.series / every
		sum.samples += m.samples / every
	}
	return sum
}

func (s *set) report(out io.Writer, verbose bool) {
	sum := s.share()
	_, _ = fmt.Fprintf(out, "%s: %.2f %% of a core, %.0f series and %.0f samples read a second\n", s.name, 100*sum.cpu,
		sum.series, sum.samples)
	for _, name := range s.order {
		m, every := median(s.took[name]), s.every[name]
		_, _ = fmt.Fprintf(out, "  %-30s %7.3f s of CPU each %4s: %5.2f %%  %8.0f series %8.0f samples\n", name, m.cpu,
			every, 100*m.cpu/every.Seconds(), m.series, m.samples)
		if !verbose {
			continue
		}
		for _, g := range s.groups {
			for _, r := range g.Rules() {
				if g.Name() == name {
					_, _ = fmt.Fprintf(out, "      %7.3f s on the clock %s\n", r.GetEvaluationDuration().Seconds(), r.Name())
				}
			}
		}
	}
}

// cpu is what this process has taken so far, in seconds.
func cpu() float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
