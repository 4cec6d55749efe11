package backtest

import (
	"context"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/backtest/record"
	"github.com/snatwatch/snatwatch/internal/backtest/scenario"
)

// replay is one walk through a source with all methods at once.
type replay struct {
	cfg       Config
	source    *record.Source
	budget    *budget.Budget
	protocols []collector.Protocol // by destination
	// spaces are the destinations that are judged.
	spaces []int32
	points []Point
	// until is when judging stops; 0 means the end of the source.
	until collector.Time
	// trace, when set, is told at each tick of every port space that the first variant's
	// ledger knows.
	trace  func(now collector.Time, destination int32, ports int, s *detector.SpaceSnapshot) error
	finish func() error // of the trace
	// restarts of the agent on the way.
	restarts []scenario.Restart
	// present is what an oracle is told; nil for a record.
	present *scenario.Present
	// advanced, when set, is told now and then how far the replay is.
	advanced func(time.Duration)
}

// outcome is what a replay showed of one port space.
type outcome struct {
	*observer
	// beside: of this port space only the pages are judged, as its run's first is the one that matters.
	beside bool
	// apart is by how many ports the ledger and the replay differed at most.
	apart int
}

// run walks through the source. It stops early when ctx ends or a trace cannot be written.
func (r *replay) run(ctx context.Context) ([]outcome, error) {
	first := r.protocols[0]
	coolDown := r.budget.Terms(first).CoolDown[collector.FIN]
	watched := r.spaces
	if r.trace != nil {
		watched = nil
		for i := range r.protocols {
			watched = append(watched, int32(i))
		}
	}
	var detectors []Detector
	for _, v := range r.cfg.Variants {
		l := NewLedger(v.Config, r.budget, r.protocols, watched, r.source.From)
		l.keep = slices.ContainsFunc(r.restarts, func(r scenario.Restart) bool { return r.State })
		detectors = append(detectors, l)
	}
	starts := []int{0}
	for _, s := range r.restarts {
		starts = append(starts, int(s.At.Sub(r.source.From)/r.cfg.Tick))
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p := &player{
		source:    r.source,
		restarts:  r.restarts,
		detectors: detectors,
		coolDown:  func(f *record.Flow) time.Duration { return r.budget.Terms(f.Protocol).CoolDown[f.Reason] },
		tick:      r.cfg.Tick,
		tallies:   make([]tally, len(r.protocols)),
		stopped:   func() bool { return ctx.Err() != nil },
	}
	index := map[int32]int{}
	out := make([]outcome, len(r.spaces))
	said := make([][]detector.SpaceSnapshot, len(r.spaces)) // by space and variant
	seen := make([][]*detector.SpaceSnapshot, len(r.spaces))
	for i, d := range r.spaces {
		ms := methods(r.cfg.Variants, coolDown)
		if r.cfg.Oracle {
			ms = append(ms, newOracle(r.present, p, r.budget.Terms(first)))
		}
		out[i].observer = newObserver(r.cfg.Tick, r.cfg.Every, r.cfg.WarmUp, ms, alarms(ms, r.points))
		out[i].starts = starts
		if r.cfg.Charts {
			end := r.source.To
			if r.until > 0 {
				end = r.until
			}
			out[i].chart = newChart(int(end.Sub(r.source.From)/r.cfg.Tick), r.cfg.Tick)
		}
		said[i] = make([]detector.SpaceSnapshot, len(detectors))
		seen[i] = make([]*detector.SpaceSnapshot, len(detectors))
		index[d] = i
	}
	// report says how far the replay is, every ten minutes of its time.
	const report = 10 * time.Minute
	var reported collector.Time
	p.onTick = func(k int, now collector.Time) {
		if r.advanced != nil && now.Sub(max(reported, r.source.From)) >= report {
			r.advanced(now.Sub(max(reported, r.source.From)))
			reported = now
		}
		for n, d := range detectors {
			for i := range seen {
				seen[i][n] = nil
			}
			d.Spaces(func(destination int32, s *detector.SpaceSnapshot) {
				if i, ok := index[destination]; ok {
					said[i][n] = *s
					seen[i][n] = &said[i][n]
				}
				if r.trace != nil && n == 0 {
					if err := r.trace(now, destination, p.share(r.budget.Terms(r.protocols[destination]).Ports), s); err != nil {
						stop(err)
					}
				}
			})
		}
		if r.until > 0 && now > r.until {
			return
		}
		for i, d := range r.spaces {
			t := &p.tallies[d]
			c := Counts{now, t.held, p.share(r.budget.Terms(r.protocols[d]).Effective), t.opened, t.closed, t.lived}
			for _, s := range seen[i] {
				held := 0
				if s != nil {
					held = s.Held
				}
				if len(r.restarts) == 0 { // after one a ledger lacks what closed before
					out[i].apart = max(out[i].apart, held-t.held, t.held-held)
				}
			}
			out[i].observe(k, &c, seen[i])
		}
	}
	p.play()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if r.finish != nil {
		if err := r.finish(); err != nil {
			return nil, err
		}
	}
	for _, o := range out {
		o.truth.Settle()
	}
	return out, nil
}
