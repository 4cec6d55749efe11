package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/collector/cputime"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/sockdiag"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/config"
	"github.com/snatwatch/snatwatch/internal/record"
)

// chooseEvery is how often the agent chooses between the sources again: conntrack may become active when a rule is
// loaded, and a reload may bring a local budget.
const chooseEvery = 30 * time.Second

// sensors are the sources of flows that run, and the choice between them.
type sensors struct {
	*base
	setup *setup // its budgets say which flows the agent must see
	loop  *loop  // to hand flows to
	// chooseEvery is the time between two looks at which source is best.
	chooseEvery time.Duration
	record      *record.Options // nil: nothing is recorded
	// tracked counts the flows that the conntrack source saw open.
	tracked atomic.Uint64

	mu      sync.Mutex // guards running; held for moments only
	running []source
	unseen  string // of the selection that runs
}

// stats returns what each source that runs says of itself.
func (ss *sensors) stats() []sourceStats {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	var out []sourceStats
	for _, s := range ss.running {
		out = append(out, s.stats())
	}
	return out
}

// run runs the sources of the selection until ctx is cancelled, and others when the selection changes. It returns an
// error if no source works.
func (ss *sensors) run(ctx context.Context) error {
	broken := ""
	p, err := ss.selectSources(ctx, broken, true)
	if err != nil {
		return err
	}
	for {
		ss.notices.set("source", p.notice)
		ss.notices.say(slog.LevelInfo, "times", timesText(p.choice, p.limits))
		ss.logger.Info("source chosen", "chosen", p.source, "why", p.why)
		before := p.source
		next, err := ss.runSelection(ctx, broken, p)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			p = next
		case ss.started.Source == config.SourceAuto && p.source == config.SourceConntrack:
			broken = err.Error()
			if p, err = ss.selectSources(ctx, broken, false); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: %w", errNoSource, err)
		}
		if p.source != before {
			if err := ss.loop.switchSource(ctx, ss.outer.Inode()); err != nil {
				return err
			}
		}
	}
}

// runSelection runs the sources of p until there is a better selection, and returns that.
func (ss *sensors) runSelection(ctx context.Context, broken string, p selection) (next selection, err error) {
	sources := ss.sourcesOf(p)
	ss.mu.Lock()
	ss.running, ss.unseen = sources, p.unseen
	ss.mu.Unlock()
	better := errors.New("another selection")
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range sources {
		g.Go(func() error { return supervise(ctx, s, ss.loop.sink(s.feed), ss.notices) })
	}
	g.Go(func() error {
		f := following{selection: p}
		return every(ctx, ss.chooseEvery, func() error {
			q, err := ss.selectSources(ctx, broken, false)
			if err != nil {
				ss.logger.Debug("sources not chosen anew", "err", err)
				return nil
			}
			var changed bool
			if next, changed = f.look(q); changed {
				return better
			}
			ss.notices.say(slog.LevelInfo, "times", timesText(p.choice, q.limits))
			ss.notices.set("untracked", f.untrackedText(q))
			return nil
		})
	})
	if err = g.Wait(); errors.Is(err, better) {
		err = nil
	}
	ss.notices.set("untracked", "")
	return next, err
}

func (ss *sensors) sourcesOf(p selection) []source {
	if p.source == config.SourceConntrack {
		out := []source{ss.conntrackSource(p), ss.stallSensor(true)}
		if p.local {
			here := !p.elsewhere && ss.foreign() == nil
			out = append(out, ss.socketSource(feedLocal, "the budget is of local ports, which sockets show", here))
		}
		return out
	}
	if ss.record != nil {
		ss.notices.set("record", "flows are not recorded: a record needs conntrack, and the flows here come from sockets")
	}
	return []source{ss.socketSource(feedBoth, p.why, false), ss.stallSensor(false)}
}

func (ss *sensors) conntrackSource(p selection) source {
	var current stats[conntrack.Stats]
	logged := conntrack.Auto
	strategy, strategyErr := conntrack.ParseStrategy(string(ss.started.Strategy))
	return source{
		subject: "conntrack", feed: feedNAT,
		run: func(ctx context.Context, sink collector.Sink) error {
			if strategyErr != nil {
				return strategyErr
			}
			s, err := conntrack.New(conntrack.Config{
				Netns: ss.foreign(), OnlyTranslated: p.translated, Strategy: strategy,
				Interval: ss.started.PollInterval, CPUBudget: ss.started.CPUBudget, Process: cputime.Process,
				Clock: ss.now, Soon: ss.loop.owners.expectDump,
				EndsMatter: func() bool {
					return slices.ContainsFunc(ss.setup.current(), func(b *budget.Budget) bool {
						return b.EndsMatter(conntrack.EndsLate)
					})
				},
			})
			if err != nil {
				return err
			}
			current.from(s.Stats)
			return ss.recorded(p.translated, sink, func(sink collector.Sink) error { return s.Run(ctx, sink) })
		},
		hopeless: func(err error) bool {
			return errors.Is(err, conntrack.ErrPermission) || errors.Is(err, conntrack.ErrNoConntrack)
		},
		stats: func() sourceStats {
			st := current.read()
			ss.tracked.Store(st.Opened + st.Recent)
			ss.notices.set("events", eventsText(strategy, &st))
			ss.notices.set("conntrack timeouts", errorText(st.LimitsError))
			ss.notices.set("conntrack gaps", st.Gap)
			if st.Strategy != logged && st.Strategy != conntrack.Auto {
				logged = st.Strategy
				ss.logger.Info("strategy chosen", "chosen", st.Strategy, "why", st.Why)
			}
			why := p.why
			if st.Why != "" && st.Why != why {
				why += "; " + st.Why
			}
			return sourceStats{
				shown: []metrics.Source{{
					Netns: ss.outer.Inode(), Name: string(config.SourceConntrack), Strategy: st.Strategy.String(), Why: why,
					DecodeErrors: st.ParseErrors, Dump: seconds(st.DumpSeconds),
				}},
				cpuExceeded: st.BudgetExceeded,
				causes:      conntrackCauses(st.Strategy),
				others:      sum(st.OtherProtocols),
			}
		},
	}
}

// conntrackCauses returns the causes of failed opens that conntrack can show. An RST that answers the first SYN deletes
// the entry at once, so only an event shows it, no dump.
//
// A flow that finds no port of this machine's own NAT leaves no entry: portsCause has the sensor of that.
func conntrackCauses(s conntrack.Strategy) metrics.Causes {
	seen := []string{metrics.CauseUnanswered}
	if s == conntrack.Events {
		seen = append(seen, metrics.CauseRefused)
	}
	return metrics.Causes{Further: append(slices.Clone(seen), metrics.CausePorts), Here: seen}
}

// socketCauses returns the causes that sockets show. Where nothing tells of destroyed sockets, nobody knows of those
// that found no local port.
func socketCauses(to feed, st *sockdiag.Stats) (c metrics.Causes) {
	c.Local = []string{metrics.CauseUnanswered, metrics.CauseRefused}
	if to == feedBoth {
		c.Here = slices.Clone(c.Local)
		c.Further = append(slices.Clone(c.Local), metrics.CausePorts)
	}
	if slices.ContainsFunc(st.Netns, func(n sockdiag.NetnsStats) bool { return n.Destroyed.Listening }) {
		c.Local = append(c.Local, metrics.CausePorts)
	}
	return c
}

// portsCause returns whether anything tells which flows this machine's own NAT finds no port for: the sockets that send
// their first packet again, if all flows are of sockets here (stalled), or the kernel's counters of dropped packets.
func portsCause(forwards, stalled bool, counters *metrics.Kernel) []string {
	if forwards && counters != nil && counters.Counted || !forwards && stalled {
		return []string{metrics.CausePorts}
	}
	return nil
}

// eventsText says why there can be no events, where that matters: they were asked for, or polling does not fit the CPU
// budget.
func eventsText(asked conntrack.Strategy, st *conntrack.Stats) string {
	if asked == conntrack.Events || asked == conntrack.Auto && st.BudgetExceeded {
		return errorText(st.EventsError)
	}
	return ""
}

func sum(counts map[collector.Protocol]int) (n uint64) {
	for _, c := range counts {
		n += uint64(c)
	}
	return n
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// socketSource reads sockets, of the agent's own namespace alone if here.
func (ss *sensors) socketSource(to feed, why string, here bool) source {
	s := sockdiag.New(sockdiag.Config{Now: ss.now, Finder: ss.finder(), OwnNetns: here})
	return source{
		subject: "sockets", feed: to,
		run: s.Run,
		// A source that has never read its own namespace never will.
		hopeless: func(error) bool {
			return !slices.ContainsFunc(s.Stats().Netns, func(n sockdiag.NetnsStats) bool { return n.Dumps > 0 })
		},
		stats: func() sourceStats {
			st := s.Stats()
			ss.refused(st)
			ss.notices.say(slog.LevelInfo, "direction", directionText(st))
			var out sourceStats
			for _, n := range st.Netns {
				out.shown = append(out.shown, metrics.Source{
					Netns: n.Netns, Name: string(config.SourceSockets), Why: why,
					DecodeErrors: n.Malformed, Dump: seconds(n.DumpSeconds),
				})
			}
			out.causes = socketCauses(to, st)
			return out
		},
	}
}

// refused says in a notice which namespaces the agent lacks the rights to see. It leaves out how many processes are
// hidden: the number changes all the time, and tells nothing.
func (ss *sensors) refused(st *sockdiag.Stats) {
	var texts []string
	for _, e := range st.Refused {
		uncounted := *e
		uncounted.Hidden = 0
		texts = append(texts, withRemedy(&uncounted))
	}
	ss.notices.replace(slog.LevelWarn, "sockets", texts)
}

// withRemedy says what is denied and how to grant it.
func withRemedy(e *netns.AccessError) string {
	if r := e.Remedy(); r != "" {
		return e.Error() + "; to give it: " + r
	}
	return e.Error()
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
