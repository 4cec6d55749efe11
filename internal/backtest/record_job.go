package backtest

import (
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
	"github.com/snatwatch/snatwatch/internal/backtest/score"
)

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
	var err error
	if r.trace, err = newTracer(trace, j.record); err != nil {
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

// foresightLeast is how many seconds half a record must last to be judged with foresight.
const foresightLeast = 600

// foresightShares are the ceilings of a port space that is judged with foresight, in shares of the
// most that it held in the first half of its record.
func foresightShares() []float64 { return []float64{0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5} }

// Foresight is what the forecast's probabilities are worth where nobody chose the ceiling knowing what
// came: each is set from the first half of a record and judged on the second.
type Foresight struct {
	// Spaces is the number of port spaces, each with several ceilings.
	Spaces      int
	Reliability [horizons]score.Reliability
}

// foresightJobs are the replays of one port space of a record, one for each ceiling; none where it is
// too short or holds too little.
func (j recordJob) foresightJobs(held []int32) []recordJob {
	from, half := int(j.cfg.WarmUp/j.cfg.Tick), len(held)/2
	if time.Duration(half-from)*j.cfg.Tick < foresightLeast*time.Second {
		return nil
	}
	top := slices.Max(held[from:half])
	var jobs []recordJob
	last := 0
	for _, share := range foresightShares() {
		ports := int(math.Ceil(share * float64(top)))
		if ports < leastPorts || ports == last {
			continue
		}
		last = ports
		k := j
		k.cfg.WarmUp, k.cfg.Charts = time.Duration(half)*j.cfg.Tick, false
		k.budget = staticBudget(ports, j.budget.TCP.CoolDown[collector.FIN])
		jobs = append(jobs, k)
	}
	return jobs
}

// foresee replays the port spaces of jobs under ceilings set with foresight.
func foresee(ctx context.Context, parallel int, jobs []recordJob, advanced func(time.Duration)) (*Foresight, error) {
	f := &Foresight{}
	var all []recordJob
	for _, j := range jobs {
		if len(j.foresight) > 0 {
			f.Spaces++
			all = append(all, j.foresight...)
		}
	}
	cells, err := judgeAll(ctx, parallel, all, func(ctx context.Context, j recordJob) ([]*Cell, error) {
		cells, err := j.judge(ctx, nil, &Fitted{}, nil, advanced)
		for _, c := range cells {
			c.ranks = nil // of no use, and most of what a cell takes
		}
		return cells, err
	})
	if err != nil {
		return nil, err
	}
	for _, c := range cells {
		for h := range horizons {
			f.Reliability[h].Merge(&c.Methods[0].Horizons[h].Reliability)
		}
	}
	return f, nil
}
