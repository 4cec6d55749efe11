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
	// trace gets at each tick every port space that the first variant's ledger knows; nil without a trace.
	trace *tracer
	// restarts of the agent on the way.
	restarts []scenario.Restart
	// present is what an oracle knows; nil for a record.
	present *scenario.Present
	// advanced, when set, is called now and then with how far the replay is.
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
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	w := r.begin()
	w.player.stopped = func() bool { return ctx.Err() != nil }
	w.player.onTick = func(k int, now collector.Time) {
		if err := w.tick(k, now); err != nil {
			stop(err)
		}
	}
	w.player.play()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if r.trace != nil {
		if err := r.trace.flush(); err != nil {
			return nil, err
		}
	}
	for _, o := range w.out {
		o.truth.Settle()
	}
	return w.out, nil
}

// walk is a replay on its way.
type walk struct {
	*replay
	player    *player
	detectors []Detector // one per variant
	// index finds the number of a judged space by its destination.
	index map[int32]int
	out   []outcome // by space
	// said has what each variant says of each space at this tick; seen points to it, and is nil where a variant does not
	// know the space.
	said [][]detector.SpaceSnapshot
	seen [][]*detector.SpaceSnapshot
	// reported is how far the replay was said to be.
	reported collector.Time
}

// begin sets up the ledgers, the player and an observer for each judged space.
func (r *replay) begin() *walk {
	w := &walk{replay: r, detectors: r.ledgers(), index: map[int32]int{}, reported: r.source.From}
	w.player = &player{
		source:    r.source,
		restarts:  r.restarts,
		detectors: w.detectors,
		coolDown:  func(f *record.Flow) time.Duration { return r.budget.Terms(f.Protocol).CoolDown[f.Reason] },
		tick:      r.cfg.Tick,
		tallies:   make([]tally, len(r.protocols)),
	}
	starts := []int{0}
	for _, s := range r.restarts {
		starts = append(starts, int(s.At.Sub(r.source.From)/r.cfg.Tick))
	}
	for i, d := range r.spaces {
		w.out = append(w.out, outcome{observer: r.observer(w.player, starts)})
		w.said = append(w.said, make([]detector.SpaceSnapshot, len(w.detectors)))
		w.seen = append(w.seen, make([]*detector.SpaceSnapshot, len(w.detectors)))
		w.index[d] = i
	}
	return w
}

// ledgers makes one of each variant. With a trace they show all port spaces, else those that are judged.
func (r *replay) ledgers() []Detector {
	watched := r.spaces
	if r.trace != nil {
		watched = nil
		for i := range r.protocols {
			watched = append(watched, int32(i))
		}
	}
	var all []Detector
	for _, v := range r.cfg.Variants {
		l := NewLedger(v.Config, r.budget, r.protocols, watched, r.source.From)
		l.keep = slices.ContainsFunc(r.restarts, func(r scenario.Restart) bool { return r.State })
		all = append(all, l)
	}
	return all
}

// observer makes the observer of one space; the agent starts at the ticks starts.
func (r *replay) observer(p *player, starts []int) *observer {
	terms := r.budget.Terms(r.protocols[0])
	ms := methods(r.cfg.Variants, terms.CoolDown[collector.FIN])
	if r.cfg.Oracle {
		ms = append(ms, newOracle(r.present, p, terms))
	}
	o := newObserver(r.cfg.Tick, r.cfg.Every, r.cfg.WarmUp, ms, alarms(ms, r.points))
	o.starts = starts
	o.coolDown = terms.CoolDown[collector.FIN]
	if r.cfg.Charts {
		end := r.source.To
		if r.until > 0 {
			end = r.until
		}
		o.chart = newChart(int(end.Sub(r.source.From)/r.cfg.Tick), r.cfg.Tick)
	}
	return o
}

// tick looks at all ledgers at tick k, writes the trace and lets the observers judge.
func (w *walk) tick(k int, now collector.Time) error {
	w.report(now)
	for n := range w.detectors {
		if err := w.look(n, now); err != nil {
			return err
		}
	}
	if w.until > 0 && now > w.until {
		return nil
	}
	for i, d := range w.spaces {
		t := &w.player.tallies[d]
		ceiling := w.player.share(w.budget.Terms(w.protocols[d]).Effective)
		for _, s := range w.seen[i] {
			held := 0
			if s != nil {
				held = s.Held
			}
			if len(w.restarts) == 0 { // after one a ledger lacks what closed before
				w.out[i].apart = max(w.out[i].apart, held-t.held, t.held-held)
			}
		}
		w.out[i].observe(k, &Counts{now, t.held, ceiling, t.opened, t.closed, t.lived}, w.seen[i])
	}
	return nil
}

// report says how far the replay is, every ten minutes of its time.
func (w *walk) report(now collector.Time) {
	if done := now.Sub(w.reported); w.advanced != nil && done >= 10*time.Minute {
		w.advanced(done)
		w.reported = now
	}
}

// look takes what the ledger of variant n says of the judged spaces; the first one's goes to the trace, too.
func (w *walk) look(n int, now collector.Time) (err error) {
	for i := range w.seen {
		w.seen[i][n] = nil
	}
	w.detectors[n].Spaces(func(destination int32, s *detector.SpaceSnapshot) {
		if i, ok := w.index[destination]; ok {
			w.said[i][n] = *s
			w.seen[i][n] = &w.said[i][n]
		}
		if w.trace != nil && n == 0 && err == nil {
			ports := w.player.share(w.budget.Terms(w.protocols[destination]).Ports)
			err = w.trace.row(now, destination, ports, s)
		}
	})
	return err
}
