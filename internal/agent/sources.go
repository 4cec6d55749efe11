package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/sockdiag"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/config"
)

// chooseEvery is how often the choice between the sources is made anew: conntrack may
// become active when a rule is loaded, and a local budget may come with a reload.
const chooseEvery = 30 * time.Second

// runSources runs what the plan says until ctx is cancelled, and again when the plan
// changes. It returns an error if nothing works.
func (a *agent) runSources(ctx context.Context) error {
	broken := ""
	p, err := a.plan(ctx, broken, true)
	if err != nil {
		return err
	}
	for {
		a.notices.set("source", p.notice)
		a.notices.say(slog.LevelInfo, "times", timesText(p.choice, p.limits))
		a.logger.Info("source chosen", "chosen", p.source, "why", p.why)
		before := p.source
		next, err := a.runPlan(ctx, broken, p)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			p = next
		case a.started.Source == config.SourceAuto && p.source == config.SourceConntrack:
			broken = err.Error()
			if p, err = a.plan(ctx, broken, false); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: %w", errNoSource, err)
		}
		if p.source != before {
			if err := a.loop.switchSource(ctx, a.outer.Inode()); err != nil {
				return err
			}
		}
	}
}

// runPlan runs the sources of p until a better plan is known, which it returns.
func (a *agent) runPlan(ctx context.Context, broken string, p plan) (next plan, err error) {
	sources := a.sourcesOf(p)
	a.mu.Lock()
	a.sources = sources
	a.mu.Unlock()
	better := errors.New("another plan")
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range sources {
		g.Go(func() error { return supervise(ctx, s, a.loop.sink(s.feed), a.notices) })
	}
	g.Go(func() error {
		f := following{plan: p}
		return every(ctx, a.chooseEvery, func() error {
			q, err := a.plan(ctx, broken, false)
			if err != nil {
				a.logger.Debug("sources not chosen anew", "err", err)
				return nil
			}
			var changed bool
			if next, changed = f.look(q); changed {
				return better
			}
			a.notices.say(slog.LevelInfo, "times", timesText(p.choice, q.limits))
			a.notices.set("untracked", f.untrackedText(q))
			return nil
		})
	})
	if err = g.Wait(); errors.Is(err, better) {
		err = nil
	}
	a.notices.set("untracked", "")
	return next, err
}

func (a *agent) sourcesOf(p plan) []source {
	if p.source == config.SourceConntrack {
		out := []source{a.conntrackSource(p), a.stallSensor()}
		if p.local {
			out = append(out, a.socketSource(feedLocal, "local ports are those of sockets"))
		}
		return out
	}
	return []source{a.socketSource(feedBoth, p.why), a.stallSensor()}
}

func (a *agent) conntrackSource(p plan) source {
	var current stats[conntrack.Stats]
	logged := conntrack.Auto
	return source{
		subject: "conntrack", feed: feedNAT,
		run: func(ctx context.Context, sink collector.Sink) error {
			strategy, err := conntrack.ParseStrategy(string(a.started.Strategy))
			if err != nil {
				return err
			}
			s, err := conntrack.New(conntrack.Config{
				Netns: a.foreign(), OnlyTranslated: p.translated, Strategy: strategy,
				Interval: a.started.PollInterval, CPUBudget: a.started.CPUBudget, Clock: a.now,
			})
			if err != nil {
				return err
			}
			current.from(s.Stats)
			return s.Run(ctx, sink)
		},
		hopeless: func(err error) bool {
			return errors.Is(err, conntrack.ErrPermission) || errors.Is(err, conntrack.ErrNoConntrack)
		},
		stats: func() sourceStats {
			st := current.read()
			a.tracked.Store(st.Opened + st.Recent)
			a.notices.set("events", errorText(st.EventsError))
			a.notices.set("conntrack timeouts", errorText(st.LimitsError))
			if st.Strategy != logged && st.Strategy != conntrack.Auto {
				logged = st.Strategy
				a.logger.Info("strategy chosen", "chosen", st.Strategy, "why", st.Why)
			}
			why := p.why
			if st.Why != "" && st.Why != why {
				why += "; " + st.Why
			}
			return sourceStats{
				shown: []metrics.Source{{
					Netns: a.outer.Inode(), Name: string(config.SourceConntrack), Strategy: st.Strategy.String(), Why: why,
					DecodeErrors: st.ParseErrors, Dump: seconds(st.DumpSeconds),
				}},
				cpuExceeded: st.BudgetExceeded,
				causes:      conntrackCauses(st.Strategy),
			}
		},
	}
}

// conntrackCauses are the causes of failed opens that conntrack tells of. An RST that answers
// the first SYN deletes the entry at once, so no dump shows it, only an event.
func conntrackCauses(s conntrack.Strategy) []string {
	if s == conntrack.Events {
		return []string{metrics.CauseUnanswered, metrics.CauseRefused, metrics.CausePorts}
	}
	return []string{metrics.CauseUnanswered, metrics.CausePorts}
}

// foreign returns the outer namespace if it is not the agent's own, which nobody needs to
// enter: that takes CAP_SYS_ADMIN.
func (a *agent) foreign() *netns.Handle {
	if own, err := netns.Own(); err == nil && own == a.outer.Inode() {
		return nil
	}
	return a.outer
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (a *agent) socketSource(to feed, why string) source {
	s := sockdiag.New(sockdiag.Config{Now: a.now, Finder: a.finder()})
	return source{
		subject: "sockets", feed: to,
		run: s.Run,
		// One that has never read its own namespace never will.
		hopeless: func(error) bool {
			return !slices.ContainsFunc(s.Stats().Netns, func(n sockdiag.NetnsStats) bool { return n.Dumps > 0 })
		},
		stats: func() sourceStats {
			st := s.Stats()
			a.refused(st)
			var out sourceStats
			for _, n := range st.Netns {
				out.shown = append(out.shown, metrics.Source{
					Netns: n.Netns, Name: string(config.SourceSockets), Why: why,
					DecodeErrors: n.Malformed, Dump: seconds(n.DumpSeconds),
				})
			}
			if to == feedBoth {
				out.causes = []string{metrics.CauseUnanswered, metrics.CauseRefused, metrics.CausePorts}
			}
			return out
		},
	}
}

// finder finds the machine's network namespaces. One that was named on the command line may
// have neither a process nor a mount, so the agent's own descriptors count too then.
func (a *agent) finder() netns.Finder {
	if a.started.Netns == "" {
		return netns.Finder{}
	}
	return netns.Finder{Mounts: []string{"/run/netns", "/run/docker/netns", "/proc/self/fd"}}
}

// refused says which namespaces are not seen for lack of rights. How many processes are hidden is left out: that
// changes all the time, and a notice is logged at each change.
func (a *agent) refused(st *sockdiag.Stats) {
	var texts []string
	for _, e := range st.Refused {
		uncounted := *e
		uncounted.Hidden = 0
		texts = append(texts, withRemedy(&uncounted))
	}
	a.notices.replace(slog.LevelWarn, "sockets", texts)
}

// withRemedy says what is denied and how to give it.
func withRemedy(e *netns.AccessError) string {
	if r := e.Remedy(); r != "" {
		return e.Error() + "; to give it: " + r
	}
	return e.Error()
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
