package backtest

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
)

// Config of a backtest. The zero value works.
type Config struct {
	// Tick of the ledger; default 1 s. Predictions are judged every Every; default 5 s.
	Tick, Every time.Duration
	// WarmUp is how long nothing is judged; default 15 minutes.
	WarmUp time.Duration
	// Hours that a run of a scenario lasts (day and night three times as long); default 8.
	Hours float64
	// Seeds to judge on; default 3. TrainSeeds other ones to fit thresholds on; default 2.
	Seeds, TrainSeeds int
	// Variants of the ledger; default the one that the agent runs.
	Variants []Variant
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
	if len(c.Variants) == 0 {
		c.Variants = []Variant{{Name: NameForecast}}
	}
	c.Parallel = max(1, c.Parallel)
	return c
}

// Result of a backtest.
type Result struct {
	Config Config
	Fitted *Fitted
	Cells  []*Cell
	// Scenarios: the cells are generated; targets are stated for those.
	Scenarios bool
	// Took is filled by the caller, who has a clock.
	Took time.Duration
}

// RunScenarios trains on some seeds of the scenarios and judges on others.
func RunScenarios(ctx context.Context, cfg Config, scenarios []Scenario) (*Result, error) {
	cfg = cfg.withDefaults()
	var total, done atomic.Int64
	report := func(hours float64) {
		d := done.Add(int64(hours * 3600))
		if cfg.Progress != nil {
			cfg.Progress(float64(d) / float64(total.Load()))
		}
	}
	jobs := jobsOf(scenarios)
	for _, j := range jobs {
		total.Add(int64(j.scenario.length*cfg.Hours*3600) * int64(cfg.Seeds+cfg.TrainSeeds))
	}

	trained := make([]*training, len(jobs))
	err := forEach(ctx, cfg.Parallel, jobs, func(i int, j job) {
		trained[i] = j.train(cfg, report)
	})
	if err != nil {
		return nil, err
	}
	fit := fit(jobs, trained)
	points := OperatingPoints(cfg.Variants, fit)

	res := &Result{Scenarios: true, Config: cfg, Fitted: fit, Cells: make([]*Cell, len(jobs))}
	err = forEach(ctx, cfg.Parallel, jobs, func(i int, j job) {
		res.Cells[i] = j.judge(cfg, fit, points, report)
	})
	return res, err
}

// job is one cell of the table of scenarios and profiles.
type job struct {
	scenario Scenario
	profile  Profile
}

func jobsOf(scenarios []Scenario) []job {
	var jobs []job
	for _, s := range scenarios {
		for _, p := range Profiles() {
			jobs = append(jobs, job{s, p})
		}
	}
	return jobs
}

// forEach calls f for each job, the longest first; f writes what it finds to its own place.
func forEach(ctx context.Context, parallel int, jobs []job, f func(i int, j job)) error {
	order := make([]int, len(jobs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return int(jobs[b].scenario.length) - int(jobs[a].scenario.length)
	})
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, i := range order {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			f(i, jobs[i])
			return nil
		})
	}
	return g.Wait()
}

// run replays one seed of the job.
func (j job) run(cfg Config, seed uint64, points []Point) (*observer, int) {
	src := j.scenario.Generate(j.profile, seed, cfg.Hours)
	b := staticBudget(Budget, j.profile.CoolDown)
	protocols := []collector.Protocol{collector.TCP}
	ms := methods(cfg.Variants, j.profile.CoolDown)
	o := newObserver(cfg.Tick, cfg.Every, cfg.WarmUp, ms, alarms(ms, points))
	ds := newForecasts(cfg.Variants, b, protocols, src.From)
	said := make([]detector.SpaceSnapshot, len(ds))
	space := make([]*detector.SpaceSnapshot, len(ds))
	apart := 0
	p := &player{
		source:    src,
		detectors: ds,
		coolDown:  func(*Flow) time.Duration { return j.profile.CoolDown },
		tick:      cfg.Tick,
		tallies:   make([]tally, 1),
		ports:     Budget,
	}
	p.onTick = func(k int, now collector.Time) {
		t := &p.tallies[0]
		c := Counts{now, t.held, p.ports, t.opened, t.closed, t.lived}
		for i, d := range ds {
			space[i] = nil
			d.Spaces(func(_ int32, s *detector.SpaceSnapshot) {
				said[i] = *s
				space[i] = &said[i]
				apart = max(apart, s.Held-t.held, t.held-s.Held)
			})
		}
		o.observe(k, &c, space)
	}
	p.play()
	o.truth.settle()
	return o, apart
}

func names(ms []Method) []string {
	var ns []string
	for _, m := range ms {
		ns = append(ns, m.Name())
	}
	return ns
}

// judge runs the seeds that count.
func (j job) judge(cfg Config, fit *Fitted, points []Point, report func(float64)) *Cell {
	c := &Cell{Group: j.scenario.Name, Member: j.profile.Name, Ports: Budget, CoolDown: j.profile.CoolDown}
	var runs []*observer
	for seed := range cfg.Seeds {
		o, apart := j.run(cfg, uint64(seed+1), points)
		runs = append(runs, o)
		c.Apart = max(c.Apart, apart)
		report(cfg.Hours * j.scenario.length)
	}
	c.add(runs, names(runs[0].methods), points, fit)
	return c
}

// staticBudget holds n ports per destination, with one cool-down whatever the reason.
func staticBudget(n int, coolDown time.Duration) *detector.Budget {
	t := detector.Terms{Ports: n, Effective: n}
	for r := range t.CoolDown {
		t.CoolDown[r] = coolDown
	}
	return &detector.Budget{Name: "backtest", Model: "static", TCP: t, UDP: t}
}
