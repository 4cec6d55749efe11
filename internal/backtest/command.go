// Package backtest replays recorded or generated flows through the ledger and
// its forecast, and scores what it said, beside what people use today, against
// what came.
//
// To try one scenario quickly:
//
//	BACKTEST=slow BACKTEST_HOURS=4 go test -run TestScenario -v ./internal/backtest
package backtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/backtest/record"
	"github.com/snatwatch/snatwatch/internal/backtest/scenario"
)

// Command is what a person asks of a backtest: files to replay, or scenarios to generate.
type Command struct {
	Files []string
	// Scenario is a name, "all" for those that methods are compared with, or "loads" for those of the page. Profile is
	// one of P0, P15, P240; empty means all.
	Scenario, Profile string
	// Hours, Seeds, TrainSeeds and Tick are as in Config; Sized says that the first three are no defaults. Quick
	// asks for one seed of two hours.
	Hours             float64
	Seeds, TrainSeeds int
	// FirstSeed is the first seed to judge on. Constants are chosen on those from 1000 on, and on no others.
	FirstSeed uint64
	Sized     bool
	Tick      time.Duration
	Quick     bool
	// Train prints the constants of the forecast's factory that the training seeds lead to.
	Train bool
	// Oracle also judges an oracle, for scenarios of one destination.
	Oracle bool
	// Ablate also judges the forecast without each of its parts.
	Ablate bool

	// Model, Ports, Nodes and VIPs are as in Terms; CoolDowns has its cool-downs, one
	// replay each. Source keeps the flows of one source.
	Model       string
	Ports       int
	Nodes, VIPs int
	CoolDowns   []time.Duration
	Source      string

	// JSON prints every figure as JSON instead of tables. Trace and HTML name files to write.
	JSON        bool
	Trace, HTML string
	Parallel    int

	// Now tells the time.
	Now func() time.Time
	// Bar shows progress.
	Bar *Bar
}

// ErrBadInput is returned, after the result was printed, when over 1 % of a record was bad.
var ErrBadInput = errors.New("over 1 % of the input is bad")

// Run does what was asked: figures go to out, what is wrong with the input to errs.
func (c *Command) Run(ctx context.Context, out, errs io.Writer) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	if c.Train {
		c.Bar.Start("training")
		defer c.Bar.Clear()
		return TrainFactory(ctx, c.config(), out)
	}
	began := c.Now()
	var trace io.Writer
	if c.Trace != "" {
		o := &output{path: c.Trace}
		defer func() { err = errors.Join(err, o.Close()) }()
		trace = o
	}
	var result *Result
	var bad error
	if c.Scenario != "" {
		result, err = c.scenarios(ctx, trace)
	} else {
		result, bad, err = c.records(ctx, trace, errs)
	}
	c.Bar.Clear()
	if err != nil {
		return err
	}
	result.Took = c.Now().Sub(began)
	s := result.Summarize()
	if c.HTML != "" {
		o := &output{path: c.HTML}
		if err := errors.Join(result.writePage(o, s), o.Close()); err != nil {
			return err
		}
	}
	if c.JSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		err = enc.Encode(s)
	} else {
		err = s.WriteText(out)
	}
	return errors.Join(err, bad)
}

// mostPorts is far more than any budget has: thousands of VIPs.
const mostPorts = 1 << 30

// check refuses what makes no sense.
func (c *Command) check() error {
	switch {
	case c.Train && (len(c.Files) > 0 || c.Scenario != "" || c.Trace != "" || c.HTML != "" || c.JSON || c.Ablate):
		return errors.New("train takes all scenarios, and prints constants: leave out files, scenario, trace, " +
			"html, json and ablate")
	case !c.Train && (len(c.Files) == 0) == (c.Scenario == ""):
		return errors.New("name files to replay, or a scenario with --scenario")
	case c.Tick <= 0 || c.Tick > time.Minute:
		return fmt.Errorf("tick %v: want over 0 and at most a minute", c.Tick)
	case time.Minute%c.Tick != 0:
		return fmt.Errorf("tick %v: it does not divide a minute, and a horizon has whole ticks; want 0.5s, 1s, 2s, 5s, "+
			"10s, 15s, 30s or the like", c.Tick)
	case (c.Scenario != "" || c.Train) && !c.Quick && (!(c.Hours >= 0.5) || c.Hours > 1000):
		return fmt.Errorf("hours %v: want 0.5 to 1000", c.Hours)
	case c.Scenario != "" && !c.Quick && (c.Seeds < 1 || c.TrainSeeds < 1 || c.Seeds >= firstTrainSeed):
		return fmt.Errorf("seeds %d, train-seeds %d: want at least 1, and fewer than %d", c.Seeds, c.TrainSeeds,
			firstTrainSeed)
	case c.Ports < 0 || c.Ports > mostPorts:
		return fmt.Errorf("budget %d: want ports, at most %d, or none", c.Ports, mostPorts)
	case c.Scenario == "" && !c.Train && (c.Profile != "" || c.Sized || c.Quick):
		return errors.New("profile, hours, seeds, train-seeds and quick are for scenarios; a record is what it is")
	case c.Quick && c.Sized:
		return errors.New("quick has hours, seeds and train-seeds of its own: leave out one or the other")
	case c.Scenario != "" && (c.Model != "" && c.Model != modelStatic || c.Nodes != 0 || c.VIPs != 0):
		return errors.New("model, nodes and vips are for recorded flows; a scenario has its own budget")
	case (c.Model == "" || c.Model == modelStatic) && (c.Nodes != 0 || c.VIPs != 0):
		return fmt.Errorf("nodes %d, vips %d: want none with the model static, or name another model", c.Nodes, c.VIPs)
	case c.Oracle && (c.Tick != time.Second || c.Scenario == "" ||
		slices.ContainsFunc(only(scenario.Loads(), named(c.Scenario)), many)):
		return errors.New("oracle takes a scenario of one destination, all or loads, and a tick of 1s")
	case c.Scenario != "" && (c.Ports > 0 || len(c.CoolDowns) > 0 || c.Source != ""):
		return errors.New("budget, cool-down and source are for recorded flows; a scenario's profile has its own")
	}
	return c.checkOutputs()
}

// checkOutputs refuses an output that is one of the inputs, or the other output, or that cannot be written: before
// anything was read, and without a change to it.
func (c *Command) checkOutputs() error {
	outputs := []struct{ flag, path string }{{"trace", c.Trace}, {"html", c.HTML}}
	for i, o := range outputs {
		if o.path == "" {
			continue
		}
		for _, in := range c.Files {
			for _, read := range []string{in, record.NamesOf(in)} {
				if sameFile(o.path, read) {
					return fmt.Errorf("%s %s: it would overwrite what is read, %s: name another file", o.flag, o.path, read)
				}
			}
		}
		for _, other := range outputs[:i] {
			if other.path != "" && sameFile(o.path, other.path) {
				return fmt.Errorf("%s %s: it is the file of %s, too: name another", o.flag, o.path, other.flag)
			}
		}
		if err := writable(o.path); err != nil {
			return fmt.Errorf("%s: %w", o.flag, err)
		}
	}
	return nil
}

func (c *Command) config() Config {
	cfg := Config{
		Tick: c.Tick, Hours: c.Hours, FirstSeed: c.FirstSeed, Seeds: c.Seeds, TrainSeeds: c.TrainSeeds, Parallel: c.Parallel,
		Progress: c.Bar.Set, Charts: c.HTML != "", Oracle: c.Oracle,
	}
	if c.Quick {
		cfg.Hours, cfg.Seeds, cfg.TrainSeeds = 2, 1, 1
	}
	cfg.Variants = []Variant{{Name: NameForecast}}
	if c.Ablate {
		cfg.Variants = append(cfg.Variants, Ablations()...)
	}
	return cfg
}

func (c *Command) scenarios(ctx context.Context, trace io.Writer) (*Result, error) {
	scenarios, profiles, cfg := scenario.All(), scenario.Profiles(), c.config()
	named := named(c.Scenario)
	switch {
	case c.Scenario == "all":
	case c.Scenario == "loads":
		scenarios, cfg.Untrained = scenario.Loads(), true
	case slices.ContainsFunc(scenario.Loads(), named):
		scenarios, cfg.Untrained = only(scenario.Loads(), named), true
	case slices.ContainsFunc(scenarios, named):
		scenarios = only(scenarios, named)
	default:
		return nil, fmt.Errorf("scenario %q: want all, or one of %s, loads", c.Scenario, strings.Join(ScenarioNames(), ", "))
	}
	if c.Oracle {
		scenarios = slices.DeleteFunc(scenarios, many)
	}
	if c.Profile != "" {
		profiles = slices.DeleteFunc(profiles, func(p scenario.Profile) bool { return p.Name != c.Profile })
	}
	if len(profiles) == 0 {
		return nil, fmt.Errorf("profile %q: want P0, P15 or P240", c.Profile)
	}
	if len(jobsOf(scenarios, profiles)) == 0 {
		return nil, fmt.Errorf("scenario %q: it is not run with the profile %s", c.Scenario, c.Profile)
	}
	if trace != nil && len(scenarios)*len(profiles) != 1 {
		return nil, errors.New("a trace takes one scenario and one profile")
	}
	c.Bar.Start("replaying")
	return RunScenarios(ctx, cfg, scenarios, profiles, trace)
}

func named(name string) func(scenario.Scenario) bool {
	return func(s scenario.Scenario) bool { return s.Name == name }
}

func many(s scenario.Scenario) bool { return s.Many }

func only(all []scenario.Scenario, named func(scenario.Scenario) bool) []scenario.Scenario {
	return slices.DeleteFunc(all, func(s scenario.Scenario) bool { return !named(s) })
}

// ScenarioNames are the names of all scenarios and loads.
func ScenarioNames() []string {
	var names []string
	for _, s := range slices.Concat(scenario.All(), scenario.Loads()) {
		names = append(names, s.Name)
	}
	return names
}

func (c *Command) records(ctx context.Context, trace io.Writer, errs io.Writer) (res *Result, bad, err error) {
	var total, done int64
	for _, f := range c.Files {
		if info, err := os.Stat(f); err == nil {
			total += info.Size()
		}
	}
	c.Bar.Start("reading")
	r := record.Reader{Now: collector.Time(c.Now().UnixNano()), Progress: func(n int) {
		done += int64(n)
		c.Bar.Set(float64(done) / float64(max(1, total)))
	}}
	records, failed := r.ReadFiles(c.Files)
	c.Bar.Clear()
	for _, rec := range records {
		rec.Tell(errs)
		if rec.Unusable() {
			bad = ErrBadInput
		}
		if c.Source != "" {
			if err := rec.Only(c.Source); err != nil {
				return nil, nil, err
			}
		}
	}
	if len(records) == 0 {
		return nil, nil, failed
	}
	if failed != nil {
		_, _ = fmt.Fprintln(errs, failed)
		bad = errors.Join(failed, bad)
	}
	opt := Options{Config: c.config(), Trace: trace}
	coolDowns := c.CoolDowns
	if len(coolDowns) == 0 {
		coolDowns = c.assumed()
	}
	for _, d := range coolDowns {
		opt.Terms = append(opt.Terms, Terms{Model: c.Model, Ports: c.Ports, Nodes: c.Nodes, VIPs: c.VIPs, CoolDown: d})
	}
	c.Bar.Start("replaying")
	res, err = RunRecords(ctx, opt, records)
	return res, bad, err
}

// assumed are the cool-downs of a replay that names none: the model's own, or for static
// numbers no cool-down and those of the clouds, of which a trace takes the longest.
func (c *Command) assumed() []time.Duration {
	if c.Model != "" && c.Model != modelStatic {
		return []time.Duration{-1}
	}
	if c.Trace != "" {
		return []time.Duration{240 * time.Second}
	}
	return []time.Duration{0, 15 * time.Second, 65 * time.Second, 240 * time.Second}
}
