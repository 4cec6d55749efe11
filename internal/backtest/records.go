package backtest

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

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

// limits of what one record may ask for.
const (
	// maxTicks bounds the time that a replay takes, and the rows of a trace.
	maxTicks = 50_000_000
	// maxJudged bounds the ticks of all judged port spaces together: about 250 bytes each.
	maxJudged = 16_000_000
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

// replayed refuses a record that has one replay go on for too long: one whose flows start too far apart, or with a
// trace, which goes on until the last has ended, one with a flow that ends too late.
func replayed(r *record.Record, s *record.Source, last collector.Time, tick time.Duration, traced bool) error {
	to := last
	if traced {
		to = s.To
	}
	n := int64(to.Sub(s.From) / tick)
	if n <= maxTicks {
		return nil
	}
	if to != last {
		for _, f := range r.Flows {
			if f.End == to {
				return fmt.Errorf("%s: a flow that starts at %s ends at %s: a trace until then has %d ticks, more than %d; take "+
					"a longer --tick, or mend the record",
					r.Name, onClock(r, f.Start), onClock(r, f.End), n, maxTicks)
			}
		}
	}
	return fmt.Errorf("%s: %d ticks, more than %d: %s; take a longer --tick, or mend the record", r.Name, n,
		maxTicks, apart(r))
}

// judgedTicks refuses a record of which too much would have to be kept.
func judgedTicks(r *record.Record, s *record.Source, last collector.Time, tick time.Duration, spaces int) error {
	n := int64(last.Sub(s.From)/tick) * int64(spaces)
	if n <= maxJudged {
		return nil
	}
	return fmt.Errorf("%s: %d ticks of %d port spaces, more than %d that can be judged at once: %s; take a longer "+
		"--tick or one --source, or mend the record",
		r.Name, n/int64(spaces), spaces, maxJudged, apart(r))
}

// apart tells of the longest time without a start: what is odd about a record that lasts too long.
func apart(r *record.Record) string {
	at := 0
	for i := range r.Flows[1:] {
		if r.Flows[i+1].Start-r.Flows[i].Start > r.Flows[at+1].Start-r.Flows[at].Start {
			at = i
		}
	}
	return fmt.Sprintf("its flows start from %s to %s, none of them between %s and %s", onClock(r, r.Flows[0].Start),
		onClock(r, r.Flows[len(r.Flows)-1].Start), onClock(r, r.Flows[at].Start), onClock(r, r.Flows[at+1].Start))
}

// onClock is t as the record has it, in seconds.
func onClock(r *record.Record, t collector.Time) string { return figure((t - r.Zero()).Seconds(), 0) }
