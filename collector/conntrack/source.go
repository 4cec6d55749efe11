// Package conntrack reads the kernel's connection tracking over ctnetlink: the table, flow by flow; the events of flows
// that open and end; and the kernel's own statistics. It needs CAP_NET_ADMIN and changes nothing. parse.go parses the
// attributes of a message into a flow, layout.go does so faster where the message has the common layout.
package conntrack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/cputime"
	"github.com/snatwatch/snatwatch/collector/limits"
	"github.com/snatwatch/snatwatch/collector/netns"
)

// Config sets up a Source. The zero value reads the caller's own namespace.
type Config struct {
	// Netns is the namespace to read, nil for the caller's own. The caller keeps it open as long as it uses the Source.
	Netns *netns.Handle
	// Alive reports whether anybody else still uses the namespace; nil means always. A Source keeps its namespace from
	// vanishing, so it cannot see that by itself.
	Alive func() bool
	// Strategy; default Auto.
	Strategy Strategy
	// OnlyTranslated leaves out flows whose source this machine does not translate.
	OnlyTranslated bool
	// Interval is the time from one dump to the next when polling; default 5 s, at most 10 s. A small CPU budget stretches
	// it, but never so far that conntrack forgets flows that ended in between.
	Interval time.Duration
	// EventsInterval is the same beside events; default 30 s, at most 60 s. A small CPU budget stretches it up to 60 s.
	EventsInterval time.Duration
	// DrainInterval is how long events may wait to be read; default 200 ms. Where they would fill a tenth of their room
	// meanwhile, they are read sooner. Waking up for each costs six times as much.
	DrainInterval time.Duration
	// ReadBuffer is the room for events that wait, in bytes, 2 KiB an event; default 32 MiB.
	ReadBuffer int
	// CPUBudget is what a Source may take, in cores; default 0.02. The Source exceeds it rather than miss flows.
	CPUBudget float64
	// Process returns how much CPU time the process has taken so far; nil: all that counts is what a Source takes.
	Process func() time.Duration
	// EndsMatter reports whether a port may be free less than EndsLate after its TCP flow ended; nil means that none is.
	// Then only a dump says how many ports are held: Auto polls, and Events dumps as often as Poll.
	EndsMatter func() bool
	// Soon, if not nil, is called a second before a dump is due, or once it is known to be due sooner.
	Soon func()
	// Clock is the agent's clock; default one that starts as Unix time now.
	Clock func() collector.Time
}

const (
	drainIntervalDefault = 200 * time.Millisecond
	readBufferDefault    = 32 << 20
	cpuBudgetDefault     = 0.02
	// retryInterval is the time from an aborted dump, or from an overrun, to the next dump.
	retryInterval = time.Second
	// aliveInterval is how often a long dump checks that the namespace is still there.
	aliveInterval = 100 * time.Millisecond
)

// Source emits what happens to the flows of one namespace.
type Source struct {
	cfg   Config
	inode uint64
	clock *clock
	pacer pacer
	board board

	// Run, or Dump, owns what follows.
	out      collector.Batch
	meter    cputime.Meter // of dumps and events, without the sink
	own      *netns.Handle // of the caller's namespace, if that is read
	settings settings
	gaps     gaps
	table    *table
	listener *listener
	pace     pace
	workload workload

	aliveRead  collector.Time
	pacedAt    collector.Time // when the strategy was last changed
	begun      collector.Time // when the last complete dump began
	due        collector.Time // when the next is due
	soon       collector.Time // the due time that Soon was last called for
	taken      time.Duration  // by the process, as of takenAt
	takenAt    collector.Time
	openedThen uint64 // listener.opened at begun
}

// New returns a Source. It opens nothing yet.
func New(cfg Config) (*Source, error) {
	cfg.Interval = cmp.Or(cfg.Interval, intervalDefault)
	cfg.EventsInterval = cmp.Or(cfg.EventsInterval, eventsIntervalDefault)
	cfg.DrainInterval = cmp.Or(cfg.DrainInterval, drainIntervalDefault)
	cfg.ReadBuffer = cmp.Or(cfg.ReadBuffer, readBufferDefault)
	cfg.CPUBudget = cmp.Or(cfg.CPUBudget, cpuBudgetDefault)
	switch {
	case cfg.Interval < 0 || cfg.Interval > intervalMax:
		return nil, fmt.Errorf("interval %v: want more than 0 and at most %v", cfg.Interval, intervalMax)
	case cfg.EventsInterval < 0 || cfg.EventsInterval > eventsIntervalMax:
		return nil, fmt.Errorf("interval of dumps beside events %v: want more than 0 and at most %v", cfg.EventsInterval,
			eventsIntervalMax)
	case cfg.DrainInterval < 0 || cfg.DrainInterval > time.Second:
		return nil, fmt.Errorf("interval of reading events %v: want more than 0 and at most 1s", cfg.DrainInterval)
	case cfg.ReadBuffer < 0:
		return nil, fmt.Errorf("receive buffer of %d bytes: want more than 0", cfg.ReadBuffer)
	case cfg.CPUBudget < 0:
		return nil, fmt.Errorf("CPU budget of %v cores: want more than 0", cfg.CPUBudget)
	case cfg.Strategy > Events:
		return nil, fmt.Errorf("%v: want auto, poll or events", cfg.Strategy)
	}
	s := &Source{cfg: cfg, clock: newClock(cfg.Clock)}
	s.pacer = pacer{
		wanted: cfg.Strategy, interval: cfg.Interval, eventsInterval: cfg.EventsInterval,
		budget: cfg.CPUBudget,
	}
	if cfg.Netns != nil {
		s.inode = cfg.Netns.Inode()
		return s, nil
	}
	inode, err := netns.Own()
	if err != nil {
		return nil, err
	}
	s.inode = inode
	return s, nil
}

// Stats returns what was done so far. It may be called at any time.
func (s *Source) Stats() Stats { return s.board.read() }

// Dump emits one dump, and returns an error if it did not come to its end. Do not call it during Run.
func (s *Source) Dump(ctx context.Context, sink collector.Sink) error {
	defer s.close()
	s.out.Start(s.meter.Without(sink), batchMax)
	if err := s.open(); err != nil {
		return err
	}
	return s.dump(ctx)
}

// Run emits until ctx ends, the sink returns an error, or nothing can be read (ErrPermission, ErrNoConntrack, ErrGone).
func (s *Source) Run(ctx context.Context, sink collector.Sink) error {
	defer s.close()
	s.out.Start(s.meter.Without(sink), batchMax)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		if err := s.step(ctx); err != nil {
			return err
		}
		timer.Reset(s.wait())
	}
}

// step reads the events that are there, and makes a dump if one is due. Its errors end Run.
func (s *Source) step(ctx context.Context) error {
	if err := s.open(); err != nil {
		return err
	}
	if err := s.alive(s.clock.read()); err != nil {
		return s.vanish(ctx, err)
	}
	if s.listener != nil {
		if err := s.drain(ctx); err != nil {
			return err
		}
		if err := s.checkEvents(ctx); err != nil {
			return err
		}
	}
	now := s.clock.read()
	if now < s.due {
		return nil
	}
	s.readLimits()
	if err := s.readMasks(ctx, now); err != nil {
		return err
	}
	s.settings.policies.read(ctx, s.table.conn, &s.settings.timeouts)
	s.workload.forgets = s.settings.timeouts.forgets
	err := s.dump(ctx)
	switch {
	case err == nil:
		s.repace(now)
		s.due = now.Add(s.pace.interval)
		if s.pace.strategy == Events && s.listener == nil {
			s.due = now
		}
	case errors.Is(err, ErrGone):
		return s.vanish(ctx, err)
	case s.out.Refused() != nil, ctx.Err() != nil, errors.Is(err, ErrPermission), errors.Is(err, ErrNoConntrack):
		return err
	default: // counted
		s.due = now.Add(retryInterval)
	}
	if s.listener != nil && s.listener.lost {
		s.due = min(s.due, now.Add(retryInterval))
	}
	return nil
}

// vanish emits an empty dump of the namespace, and returns gone.
func (s *Source) vanish(ctx context.Context, gone error) error {
	for _, k := range []collector.Kind{collector.Begin, collector.End} {
		if err := s.out.Mark(ctx, k, s.clock.read(), s.inode); err != nil {
			return err
		}
	}
	if err := s.out.Flush(ctx); err != nil {
		return err
	}
	return gone
}

// alive returns ErrGone if nobody else uses the namespace.
func (s *Source) alive(now collector.Time) error {
	if s.cfg.Alive == nil || s.aliveRead != 0 && now.Sub(s.aliveRead) < aliveInterval {
		return nil
	}
	s.aliveRead = now
	if s.cfg.Alive() {
		return nil
	}
	return ErrGone
}

// open opens what is not open.
func (s *Source) open() error {
	now := s.clock.read()
	if s.settings.limits == nil {
		ns := s.cfg.Netns
		if ns == nil {
			own, err := netns.Self()
			if err != nil {
				return err
			}
			ns, s.own = own, own
		}
		s.settings.limits = limits.NewReader(ns)
		s.readLimits()
	}
	if s.table == nil {
		conn, err := dialDetached(s.fd())
		if err != nil {
			return err
		}
		s.table = &table{
			conn: conn, netns: s.inode, translated: s.cfg.OnlyTranslated, clock: s.clock,
			timeouts: &s.settings.timeouts, gaps: &s.gaps, out: &s.out, buckets: readBuckets,
		}
		s.table.between = s.between
	}
	if s.pace.strategy == Auto { // nothing was decided yet
		s.pace = s.decide(Poll)
		s.announce()
	}
	switch {
	case s.pace.strategy == Events && s.listener == nil:
		l, err := listen(s.fd(), s.cfg.ReadBuffer, s.table)
		if err != nil {
			return err
		}
		s.listener, s.openedThen = l, 0
		s.due = now // a dump: the listener gets no end of the flows that were there before it
	case s.pace.strategy == Poll && s.listener != nil:
		_ = s.listener.conn.Close()
		s.listener = nil
	}
	return nil
}

// decide returns the pace for what is known now, while the strategy now runs.
func (s *Source) decide(now Strategy) pace {
	s.pacer.endsMatter = s.cfg.EndsMatter != nil && s.cfg.EndsMatter()
	return s.pacer.decide(s.workload, now, s.settings.eventsErr)
}

func (s *Source) fd() int {
	if s.cfg.Netns == nil {
		return 0
	}
	return s.cfg.Netns.FD()
}

// readLimits reads the timeouts of the namespace and whether it has events.
func (s *Source) readLimits() {
	var err error
	s.gaps.most, err = s.settings.readLimits()
	s.board.write(func(b *Stats) { b.LimitsError, b.EventsError = err, s.settings.eventsErr })
}

// readMasks looks whether rules keep events back, as often as dumps come beside events.
func (s *Source) readMasks(ctx context.Context, now collector.Time) error {
	if s.cfg.Strategy != Poll {
		ns := s.cfg.Netns
		if ns == nil {
			ns = s.own
		}
		s.settings.masks.look(ctx, s.table.conn, ns, now, s.cfg.EventsInterval)
	}
	if s.settings.masks.why != nil && s.settings.eventsErr == nil {
		return s.missEvents(ctx, s.settings.masks.why, now)
	}
	return nil
}

// checkEvents makes a dump due if somebody has switched events off.
func (s *Source) checkEvents(ctx context.Context) error {
	now := s.clock.read()
	if !s.settings.eventsOff(now) {
		return nil
	}
	s.due = now
	return s.missEvents(ctx, ErrEventsOff, now)
}

// missEvents takes in why there can be no events any more, and marks that some may be missed already.
func (s *Source) missEvents(ctx context.Context, why error, now collector.Time) error {
	s.settings.eventsErr = why
	s.board.write(func(b *Stats) { b.EventsError = why })
	if s.listener == nil {
		return nil
	}
	s.listener.silent = true
	if err := s.out.Mark(ctx, collector.Gap, now, s.inode); err != nil {
		return err
	}
	return s.out.Flush(ctx)
}

func (s *Source) close() {
	s.settings.close()
	if s.own != nil {
		_ = s.own.Close()
		s.own = nil
	}
	if s.listener != nil {
		_ = s.listener.conn.Close()
		s.listener = nil
	}
	if s.table != nil {
		_ = s.table.conn.Close()
		s.table = nil
	}
}

// between runs between two reads of a dump, so that events do not wait and the end of the namespace is seen.
func (s *Source) between(ctx context.Context, now collector.Time) error {
	if err := s.alive(now); err != nil {
		return err
	}
	if s.listener == nil {
		return nil
	}
	return s.listener.between(ctx)
}

func (s *Source) drain(ctx context.Context) error {
	l := s.listener
	before, overruns := l.opened+l.closed, l.overruns
	s.meter.Resume()
	err := l.drain(ctx)
	s.meter.Pause()
	cpu, n := s.meter.Take(), l.opened+l.closed-before
	if n > 0 {
		s.workload.event = mean(s.workload.event, cpu/time.Duration(n))
	}
	if l.lost && overruns != l.overruns {
		s.due = min(s.due, max(s.clock.read(), s.begun.Add(retryInterval)))
	}
	if n > 0 || overruns != l.overruns {
		s.noteEvents()
	}
	return err
}

func (s *Source) noteEvents() {
	l := s.listener
	s.board.write(func(b *Stats) {
		b.parsed(&s.table.found)
		b.Opened += l.opened - l.reported.opened
		b.Closed += l.closed - l.reported.closed
		b.Overruns += l.overruns - l.reported.overruns
	})
	l.reported = l.counts
}
