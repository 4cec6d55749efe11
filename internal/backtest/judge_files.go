package backtest

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/backtest/record"
)

// limits of what is judged of a record.
const (
	// maxSpaces is how many port spaces of a record are judged: the fullest.
	maxSpaces = 50
	// busyShare is the share of the ceiling that a port space must reach to be judged.
	busyShare = 0.1
)

// Options of a backtest of records.
type Options struct {
	Config
	// Terms to judge under, one after the other.
	Terms []Terms
	// Trace, when set, gets a row per tick and port space; there must be one record and one of Terms,
	// with ports.
	Trace io.Writer
}

// RunRecords replays records. A record under terms without ports is replayed once for each of its
// destinations, with a ceiling chosen so that it is reached at least six times.
func RunRecords(ctx context.Context, opt Options, records []*record.Record) (*Result, error) {
	warm := opt.WarmUp
	cfg := opt.withDefaults()
	var jobs []recordJob
	var told [][]Peak
	more := 0
	for _, r := range records {
		for _, t := range opt.Terms {
			b, err := t.budget()
			if err != nil {
				return nil, err
			}
			all := r.Merged(func(p collector.Protocol) budget.Uniqueness { return b.Terms(p).Unique })
			js, err := newRecordJobs(cfg, all, t, b, warm, opt.Trace != nil)
			if err != nil {
				return nil, err
			}
			jobs = append(jobs, js...)
			if !t.chosen() {
				of, left := peaks(all, b)
				told, more = append(told, of), more+left
			}
			if t.chosen() && len(all.Destinations) > 1 {
				// All destinations together are a port space of their own where a port serves one flow at a time.
				all = r.Merged(func(collector.Protocol) budget.Uniqueness { return budget.PerNothing })
				if js, err = newRecordJobs(cfg, all, t, b, warm, opt.Trace != nil); err != nil {
					return nil, err
				}
				jobs = append(jobs, js...)
			}
		}
	}
	if opt.Trace != nil && len(jobs) != 1 {
		return nil, fmt.Errorf("a trace takes one record, one cool-down and a budget with ports; here are %d replays",
			len(jobs))
	}
	var total time.Duration
	for _, j := range jobs {
		total += j.to.Sub(j.source.From) * time.Duration(1+len(j.foresight))
	}
	advanced := cfg.meter(total)
	chosen := slices.ContainsFunc(opt.Terms, Terms.chosen)
	res := &Result{Config: cfg, Fitted: builtinFit(), Chosen: chosen, Peaks: slices.Concat(told...), MorePeaks: more}
	points := OperatingPoints(res.Fitted)
	var err error
	res.Cells, err = judgeAll(ctx, cfg.Parallel, jobs, func(ctx context.Context, j recordJob) ([]*Cell, error) {
		return j.judge(ctx, points, res.Fitted, opt.Trace, advanced)
	})
	if err != nil {
		return nil, err
	}
	res.Foresight, err = foresee(ctx, cfg.Parallel, jobs, advanced)
	return res, err
}

// judgeAll judges so many jobs at once, until one fails; the cells come in the order of the jobs.
func judgeAll(ctx context.Context, parallel int, jobs []recordJob, judge func(context.Context, recordJob) ([]*Cell,
	error),
) ([]*Cell, error) {
	cells := make([][]*Cell, len(jobs))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, j := range jobs {
		g.Go(func() (err error) {
			cells[i], err = judge(ctx, j)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(cells...), nil
}

// recordJob is one replay of a record.
type recordJob struct {
	cfg    Config
	record *record.Record
	source *record.Source
	budget *budget.Budget
	spaces []int32
	// to is the last open: what comes after it is no truth.
	to collector.Time
	// foresight are replays of the one space of a chosen budget, under budgets chosen from the first half.
	foresight []recordJob
}

// newRecordJobs prepares the replays of a record under one budget.
func newRecordJobs(cfg Config, r *record.Record, t Terms, b *budget.Budget, warm time.Duration,
	traced bool,
) ([]recordJob, error) {
	coolDown := b.TCP.CoolDown[collector.FIN]
	if cfg.WarmUp = warm; warm == 0 {
		cfg.WarmUp = coolDown + time.Minute
	}
	all := func(*record.Flow) bool { return true }
	source, last := r.Source(cfg.Tick, all)
	if err := replayed(r, source, last, cfg.Tick, traced); err != nil {
		return nil, err
	}
	count := newCounter(r, source.From, last, cfg.Tick, b)
	if !t.chosen() {
		job := recordJob{cfg: cfg, record: r, source: source, budget: b, to: last}
		job.spaces = fullest(r, func(d int32) float64 {
			ceiling := b.Terms(r.Protocols[d]).Effective
			if share := float64(count.most(d)) / float64(ceiling); ceiling > 0 && share >= busyShare {
				return share
			}
			return 0
		})
		return []recordJob{job}, judgedTicks(r, source, last, cfg.Tick, len(job.spaces))
	}
	spaces := fullest(r, func(d int32) float64 { return float64(count.most(d)) })
	if err := judgedTicks(r, source, last, cfg.Tick, len(spaces)); err != nil {
		return nil, err
	}
	slices.Sort(spaces)
	var jobs []recordJob
	best := 0
	for _, d := range spaces {
		held := count.held(d)
		ports, episodes := choosePorts(held, cfg.Tick, int(cfg.WarmUp/cfg.Tick))
		// Where no space has enough episodes, the one with most of them has to do.
		if episodes < enough && (episodes <= best || best >= enough) {
			continue
		}
		if best < enough {
			jobs = jobs[:0]
		}
		best = max(best, episodes)
		only := func(f *record.Flow) bool { return f.Destination == d }
		source, last := r.Source(cfg.Tick, only)
		job := recordJob{
			cfg: cfg, record: r, source: source, budget: staticBudget(ports, coolDown),
			spaces: []int32{d}, to: last,
		}
		job.foresight = job.foresightJobs(held)
		jobs = append(jobs, job)
	}
	return jobs, nil
}

// fullest are the destinations worth judging, the fullest first; fill is 0 for one that is not.
func fullest(r *record.Record, fill func(d int32) float64) []int32 {
	var spaces []int32
	fills := make([]float64, len(r.Destinations))
	for d := range fills {
		if fills[d] = fill(int32(d)); fills[d] > 0 {
			spaces = append(spaces, int32(d))
		}
	}
	slices.SortStableFunc(spaces, func(a, b int32) int { return cmp.Compare(fills[b], fills[a]) })
	return spaces[:min(maxSpaces, len(spaces))]
}

// judge replays the record and scores each of its spaces.
func (j recordJob) judge(ctx context.Context, points []Point, fit *Fitted, trace io.Writer,
	advanced func(time.Duration),
) ([]*Cell, error) {
	source := *j.source
	if trace == nil {
		source.To = j.to
	}
	r := &replay{
		cfg: j.cfg, source: &source, budget: j.budget, protocols: j.record.Protocols,
		spaces: j.spaces, points: points, until: j.to, advanced: advanced,
	}
	if err := r.traceTo(trace, j.record); err != nil {
		return nil, err
	}
	out, err := r.run(ctx)
	if err != nil {
		return nil, err
	}
	var cells []*Cell
	for i, d := range j.spaces {
		terms := j.budget.Terms(j.record.Protocols[d])
		coolDown := terms.CoolDown[collector.FIN]
		c := &Cell{
			Group: fmt.Sprintf("%s %s/%s %s", j.record.Name, j.record.Destinations[d], j.record.Protocols[d],
				exact(coolDown.Seconds())+" s"),
			Nominal: terms.Ports, Ports: terms.Effective, CoolDown: coolDown,
		}
		c.add(out[i:i+1], points, fit)
		cells = append(cells, c)
	}
	return cells, nil
}

// builtinFit are the thresholds that the scenarios' training seeds gave, for records, which have
// none of their own.
func builtinFit() *Fitted {
	f := &Fitted{Thresholds: map[string][horizons]float64{}}
	for _, m := range methods([]Variant{{Name: NameForecast}}, 0) {
		t, ok := builtinThresholds()[m.Name()]
		if !ok {
			t = [horizons]float64{math.NaN(), math.NaN(), math.NaN(), math.NaN()}
		}
		f.Thresholds[m.Name()] = t
	}
	return f
}
