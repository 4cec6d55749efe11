package backtest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/internal/backtest/record"
	"github.com/snatwatch/snatwatch/internal/backtest/scenario"
	"github.com/snatwatch/snatwatch/internal/backtest/score"
)

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
	var err error
	if r.trace, err = newTracer(j.trace, &record.Record{Destinations: names, Protocols: r.protocols}); err != nil {
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

// training is what the runs of one job teach: scores and what came of them, by method name.
type training map[string]*[horizons][]score.Judged

// train runs the seeds that thresholds are fitted on.
func (j job) train(ctx context.Context, cfg Config, advanced func(time.Duration)) (*training, error) {
	t := training{}
	cfg.Oracle = false // it is not trained
	for seed := range cfg.TrainSeeds {
		o, err := j.run(ctx, cfg, uint64(firstTrainSeed+seed), nil, advanced)
		if err != nil {
			return nil, err
		}
		for i, m := range o[0].methods {
			if t[m.Name()] == nil {
				t[m.Name()] = &[horizons][]score.Judged{}
			}
			for h, ahead := range detector.Horizons() {
				js := &t[m.Name()][h]
				*js = o[0].judged(*js, i, h, ahead)
			}
		}
	}
	return &t, nil
}

// fit finds a threshold for each method and horizon, the same for all scenarios, and what
// probability each score of a peer means.
func fit(jobs []job, trained []*training) *Fitted {
	f := &Fitted{Thresholds: map[string][horizons]float64{}, isotonic: map[string][horizons]score.Isotonic{}}
	if len(trained) == 0 {
		return f
	}
	for name := range *trained[0] {
		var thresholds [horizons]float64
		var isotonics [horizons]score.Isotonic
		for h := range horizons {
			var all []score.Judged
			var groups []score.Ranked
			for i, j := range jobs {
				js := (*trained[i])[name][h]
				all = append(all, js...)
				if i == 0 || jobs[i-1].scenario.Name != j.scenario.Name {
					groups = append(groups, score.Ranked{})
				}
				g := &groups[len(groups)-1]
				*g = score.Pool([]score.Ranked{*g, score.Rank(js)})
			}
			thresholds[h] = float64(score.FitThreshold(groups))
			isotonics[h] = score.FitIsotonic(all)
		}
		f.Thresholds[name] = thresholds
		if isPeer(name) {
			f.isotonic[name] = isotonics
		}
	}
	return f
}
