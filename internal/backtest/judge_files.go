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
	"github.com/snatwatch/snatwatch/detector"
)

// limits of a backtest of records.
const (
	// maxSpaces is how many port spaces of a record are judged: the fullest.
	maxSpaces = 50
	// busyShare is the share of the ceiling that a port space must reach to be judged.
	busyShare = 0.1
	// maxTicks bounds a record whose times lie too far apart to be one record.
	maxTicks = 50_000_000
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
func RunRecords(ctx context.Context, opt Options, records []*Record) (*Result, error) {
	warm := opt.WarmUp
	cfg := opt.withDefaults()
	var jobs []recordJob
	for _, r := range records {
		for _, t := range opt.Terms {
			b, err := t.budget()
			if err != nil {
				return nil, err
			}
			all := r.merged(func(p collector.Protocol) detector.Uniqueness { return b.Terms(p).Unique })
			js, err := newRecordJobs(cfg, all, t, b, warm)
			if err != nil {
				return nil, err
			}
			jobs = append(jobs, js...)
			if t.chosen() && len(all.Destinations) > 1 {
				// All destinations together are a port space of their own where a port serves one flow at a time.
				all = r.merged(func(collector.Protocol) detector.Uniqueness { return detector.PerNothing })
				if js, err = newRecordJobs(cfg, all, t, b, warm); err != nil {
					return nil, err
				}
				jobs = append(jobs, js...)
			}
		}
	}
	if opt.Trace != nil && len(jobs) != 1 {
		return nil, fmt.Errorf("a trace takes one record, one cool-down and a budget with ports; here are %d replays", len(jobs))
	}
	var total time.Duration
	for _, j := range jobs {
		total += j.to.Sub(j.source.From)
	}
	advanced := cfg.meter(total)
	res := &Result{Config: cfg, Fitted: builtinFit()}
	points := OperatingPoints(res.Fitted)
	cells := make([][]*Cell, len(jobs))
	g, running := errgroup.WithContext(ctx)
	g.SetLimit(cfg.Parallel)
	for i, j := range jobs {
		g.Go(func() (err error) {
			cells[i], err = j.judge(running, points, res.Fitted, opt.Trace, advanced)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	res.Cells = slices.Concat(cells...)
	var err error
	res.Foresight, err = foresee(ctx, cfg.Parallel, jobs)
	return res, err
}

// recordJob is one replay of a record.
type recordJob struct {
	cfg    Config
	record *Record
	source *Source
	budget *detector.Budget
	spaces []int32
	// to is the last open: what comes after it is no truth.
	to collector.Time
	// chosen: the budget was, for the one space there is.
	chosen bool
}

// newRecordJobs prepares the replays of a record under one budget.
func newRecordJobs(cfg Config, r *Record, t Terms, b *detector.Budget, warm time.Duration) ([]recordJob, error) {
	coolDown := b.TCP.CoolDown[collector.FIN]
	if cfg.WarmUp = warm; warm == 0 {
		cfg.WarmUp = coolDown + time.Minute
	}
	all := func(*Flow) bool { return true }
	source, last := r.source(cfg.Tick, all)
	ticks := int64(source.To.Sub(source.From) / cfg.Tick)
	if ticks > maxTicks {
		return nil, fmt.Errorf("%s: its times lie %d ticks apart, more than %d", r.Name, ticks, maxTicks)
	}
	held := r.held(source.From, last, cfg.Tick, b)
	if !t.chosen() {
		job := recordJob{cfg: cfg, record: r, source: source, budget: b, to: last}
		job.spaces = busy(r, held, b)
		return []recordJob{job}, nil
	}
	var jobs []recordJob
	best := 0
	for d := range r.Destinations {
		ports, episodes := choosePorts(held[d], cfg.Tick, int(cfg.WarmUp/cfg.Tick))
		// Where no space has enough episodes, the one with most of them has to do.
		if episodes < enough && (episodes <= best || best >= enough) {
			continue
		}
		if best < enough {
			jobs = jobs[:0]
		}
		best = max(best, episodes)
		only := func(f *Flow) bool { return int(f.Destination) == d }
		source, last := r.source(cfg.Tick, only)
		jobs = append(jobs, recordJob{cfg, r, source, staticBudget(ports, coolDown), []int32{int32(d)}, last, true})
	}
	return jobs, nil
}

// busy are the destinations worth judging, the fullest first.
func busy(r *Record, held [][]int32, b *detector.Budget) []int32 {
	var spaces []int32
	peak := make([]float64, len(held))
	for d, hs := range held {
		ceiling := b.Terms(r.Protocols[d]).Effective
		if len(hs) == 0 || ceiling == 0 {
			continue
		}
		if peak[d] = float64(slices.Max(hs)) / float64(ceiling); peak[d] >= busyShare {
			spaces = append(spaces, int32(d))
		}
	}
	slices.SortStableFunc(spaces, func(a, b int32) int { return cmp.Compare(peak[b], peak[a]) })
	return spaces[:min(maxSpaces, len(spaces))]
}

// held counts the held ports of each destination at each tick, as the ledger should.
func (r *Record) held(from, to collector.Time, tick time.Duration, b *detector.Budget) [][]int32 {
	n := int(to.Sub(from)/tick) + 1
	steps := make([][]int32, len(r.Destinations))
	at := func(t collector.Time) int { return min(n, int((t.Sub(from)+tick-1)/tick)) }
	for _, f := range r.Flows {
		if steps[f.Destination] == nil {
			steps[f.Destination] = make([]int32, n+1)
		}
		s := steps[f.Destination]
		s[at(f.Start)]++
		s[at(f.End.Add(b.Terms(f.Protocol).CoolDown[f.Reason]))]--
	}
	for d, s := range steps {
		for k := 1; k < len(s); k++ {
			s[k] += s[k-1]
		}
		steps[d] = s[:min(n, len(s))]
	}
	return steps
}

// judge replays the record and scores each of its spaces.
func (j recordJob) judge(ctx context.Context, points []Point, fit *Fitted, trace io.Writer, advanced func(time.Duration)) ([]*Cell, error) {
	r := &replay{
		cfg: j.cfg, source: j.source, budget: j.budget, protocols: j.record.Protocols,
		spaces: j.spaces, points: points, until: j.to, advanced: advanced,
	}
	if trace == nil {
		j.source.To = j.to
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
			Group:   fmt.Sprintf("%s %s/%s %s", j.record.Name, j.record.Destinations[d], j.record.Protocols[d], figure(coolDown.Seconds(), 0)+" s"),
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
