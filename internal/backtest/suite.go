package backtest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/backtest/record"
	"github.com/snatwatch/snatwatch/internal/backtest/scenario"
)

// Config of a backtest. The zero value works.
type Config struct {
	// Tick of the ledger; default 1 s. Predictions are judged every Every; default 5 s.
	Tick, Every time.Duration
	// WarmUp is how long nothing is judged; default 15 minutes.
	WarmUp time.Duration
	// Hours that a run of a scenario lasts (day and night nine times as long); default 8.
	Hours float64
	// Seeds to judge on; default 3. TrainSeeds other ones to fit thresholds on; default 2.
	Seeds, TrainSeeds int
	// Untrained takes the thresholds that are built in.
	Untrained bool
	// FirstSeed to judge on; default 1.
	FirstSeed uint64
	// Oracle also judges an oracle. It takes scenarios of one destination, and a tick of a second.
	Oracle bool
	// Variants of the ledger; default the one that the agent runs.
	Variants []Variant
	// Charts keeps what the page draws.
	Charts bool
	// Parallel is how many runs go on at once; 0 means one.
	Parallel int
	// Progress, when set, is told what share is done, from several goroutines.
	Progress func(done float64)
}

// firstTrainSeed keeps training apart from judging.
const firstTrainSeed = 1000

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.Tick, time.Second)
	if c.Oracle {
		set(&c.Every, soonEvery*time.Second)
	}
	set(&c.Every, 5*time.Second)
	set(&c.WarmUp, 15*time.Minute)
	if c.Hours == 0 {
		c.Hours = 8
	}
	if c.Seeds == 0 {
		c.Seeds = 3
	}
	if c.TrainSeeds == 0 {
		c.TrainSeeds = 2
	}
	if c.FirstSeed == 0 {
		c.FirstSeed = 1
	}
	if len(c.Variants) == 0 {
		c.Variants = []Variant{{Name: NameForecast}}
	}
	c.Parallel = max(1, c.Parallel)
	return c
}

// runs is how many each scenario and profile has.
func (c *Config) runs() int {
	if c.Untrained {
		return c.Seeds
	}
	return c.Seeds + c.TrainSeeds
}

// Result of a backtest.
type Result struct {
	Config Config
	Fitted *Fitted
	Cells  []*Cell
	// Foresight is nil for scenarios.
	Foresight *Foresight
	// Scenarios: the cells are generated; targets are stated for those.
	Scenarios bool
	// Peaks are what records held against their budgets; MorePeaks is how many are not among them. There are none where
	// ceilings were chosen.
	Peaks     []Peak
	MorePeaks int
	// Chosen: ceilings were chosen for the port spaces of the records.
	Chosen bool
	// Took is filled by the caller, who has a clock.
	Took time.Duration
}

// RunScenarios trains on some seeds of the scenarios and judges on others.
// A trace, when set, gets the first seed of a single scenario and profile.
func RunScenarios(ctx context.Context, cfg Config, scenarios []scenario.Scenario, profiles []scenario.Profile,
	trace io.Writer,
) (*Result, error) {
	cfg = cfg.withDefaults()
	jobs := jobsOf(scenarios, profiles)
	var total time.Duration
	for _, j := range jobs {
		total += time.Duration(j.scenario.Length * cfg.Hours * float64(cfg.runs()) * float64(time.Hour))
	}
	advanced := cfg.meter(total)

	fit := builtinFit()
	if !cfg.Untrained {
		var err error
		if fit, err = trainAll(ctx, cfg, jobs, advanced); err != nil {
			return nil, err
		}
	}
	points := OperatingPoints(fit)

	jobs[0].trace = trace
	res := &Result{Scenarios: true, Config: cfg, Fitted: fit, Cells: make([]*Cell, len(jobs))}
	err := forEach(ctx, cfg.Parallel, jobs, func(ctx context.Context, i int, j job) (err error) {
		res.Cells[i], err = j.judge(ctx, cfg, fit, points, advanced)
		return err
	})
	return res, err
}

// trainAll fits thresholds on the training seeds of all jobs.
func trainAll(ctx context.Context, cfg Config, jobs []job, advanced func(time.Duration)) (*Fitted, error) {
	trained := make([]*training, len(jobs))
	err := forEach(ctx, cfg.Parallel, jobs, func(ctx context.Context, i int, j job) (err error) {
		trained[i], err = j.train(ctx, cfg, advanced)
		return err
	})
	if err != nil {
		return nil, err
	}
	return fit(jobs, trained), nil
}

// meter adds up what is done of total, for Progress; nil without it.
func (c *Config) meter(total time.Duration) func(time.Duration) {
	if c.Progress == nil || total <= 0 {
		return nil
	}
	var done atomic.Int64
	return func(d time.Duration) { c.Progress(float64(done.Add(int64(d))) / float64(total)) }
}

// job is one cell of the table of scenarios and profiles.
type job struct {
	scenario scenario.Scenario
	profile  scenario.Profile
	trace    io.Writer
}

func jobsOf(scenarios []scenario.Scenario, profiles []scenario.Profile) []job {
	var jobs []job
	for _, s := range scenarios {
		for _, p := range profiles {
			if !s.Has(p) {
				continue
			}
			jobs = append(jobs, job{scenario: s, profile: p})
		}
	}
	return jobs
}

// forEach calls f for each job, the longest first; f writes what it finds to its own place.
func forEach(ctx context.Context, parallel int, jobs []job, f func(ctx context.Context, i int, j job) error) error {
	order := make([]int, len(jobs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return int(jobs[b].scenario.Length) - int(jobs[a].scenario.Length)
	})
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, i := range order {
		g.Go(func() error { return f(ctx, i, jobs[i]) })
	}
	return g.Wait()
}

// run replays one seed of the job.
func (j job) run(ctx context.Context, cfg Config, seed uint64, points []Point,
	advanced func(time.Duration),
) ([]outcome, error) {
	load := j.scenario.Generate(j.profile, seed, cfg.Hours)
	budget := staticBudget(scenario.Budget, 0)
	budget.TCP.CoolDown, budget.UDP.CoolDown = load.CoolDown, load.CoolDown
	r := &replay{
		cfg:       cfg,
		source:    &load.Source,
		budget:    budget,
		restarts:  load.Restarts,
		present:   load.Present,
		protocols: slices.Repeat([]collector.Protocol{load.Protocol}, load.Destinations),
		points:    points,
		advanced:  advanced,
	}
	for d := range min(load.Destinations, besideMost) {
		r.spaces = append(r.spaces, int32(d))
	}
	var names []string
	for d := range load.Destinations {
		names = append(names, fmt.Sprintf("%s %d", j.scenario.Name, d))
	}
	names[0] = j.scenario.Name
	if err := r.traceTo(j.trace, &record.Record{Destinations: names, Protocols: r.protocols}); err != nil {
		return nil, err
	}
	out, err := r.run(ctx)
	for i := range out {
		out[i].beside = i > 0
	}
	return out, err
}

// besideMost is how many port spaces of a run are judged.
const besideMost = 20

func names(ms []Method) []string {
	var ns []string
	for _, m := range ms {
		ns = append(ns, m.Name())
	}
	return ns
}

// judge runs the seeds that count.
func (j job) judge(ctx context.Context, cfg Config, fit *Fitted, points []Point,
	advanced func(time.Duration),
) (*Cell, error) {
	c := &Cell{
		Group: j.scenario.Name, Member: j.profile.Name, Nominal: scenario.Budget, Ports: scenario.Budget,
		CoolDown: j.profile.CoolDown,
	}
	var runs []outcome
	for seed := range cfg.Seeds {
		o, err := j.run(ctx, cfg, cfg.FirstSeed+uint64(seed), points, advanced)
		if err != nil {
			return nil, err
		}
		j.trace, cfg.Charts = nil, false
		runs = append(runs, o...)
	}
	c.add(runs, points, fit)
	return c, nil
}
