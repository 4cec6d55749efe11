// Package conntrack reads the kernel's connection tracking over ctnetlink:
// the table, flow by flow, the events of flows that open and end, and the kernel's own statistics.
package conntrack

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/limits"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// Config sets up a Source. The zero value reads the caller's own namespace.
type Config struct {
	// Netns is the namespace to read, nil for the caller's own. It stays open
	// as long as the Source is used.
	Netns *netns.Handle
	// Alive reports whether the namespace is still used by anybody else; nil means always.
	// A Source keeps its namespace from vanishing, so it cannot see that by itself.
	Alive func() bool
	// OnlyTranslated leaves out flows whose source this machine does not translate.
	OnlyTranslated bool
	// Interval is the time from one dump to the next; default 5 s, at most 10 s,
	// for which conntrack remembers a flow that was reset.
	Interval time.Duration
	// Clock is the agent's clock; default one that starts as Unix time now.
	Clock func() collector.Time
}

const (
	intervalDefault = 5 * time.Second
	intervalMax     = 10 * time.Second
	// limitsInterval is how often the namespace's timeouts are read again.
	limitsInterval = time.Minute
)

// Source emits what happens to the flows of one namespace.
type Source struct {
	cfg   Config
	inode uint64
	clock *clock

	// Owned by Run, or by Dump.
	table      *table
	limits     collector.Limits
	limitsRead collector.Time

	mu    sync.Mutex
	stats Stats
}

// Stats is what a Source has done so far.
type Stats struct {
	// Dumps and Aborted count dumps that came to their end and that did not.
	Dumps, Aborted uint64
	// DumpSeconds is how long the last complete dump took, the sink included.
	DumpSeconds float64
	// Flows and Translated are what it showed.
	Flows, Translated int
	// ParseErrors counts messages that could not be read and were skipped; ParseError is the last.
	ParseErrors uint64
	ParseError  error
	// LimitsError is why not all timeouts of the namespace could be read. Ages that
	// hang on the others are unknown then.
	LimitsError error
	// UnknownAttributes counts attributes that are newer than this package.
	UnknownAttributes uint64
	// OtherProtocols counts the entries of the last complete dump that are neither TCP nor UDP.
	OtherProtocols map[collector.Protocol]int
}

// New returns a Source. It opens nothing yet.
func New(cfg Config) (*Source, error) {
	if cfg.Interval == 0 {
		cfg.Interval = intervalDefault
	}
	if cfg.Interval < 0 || cfg.Interval > intervalMax {
		return nil, fmt.Errorf("interval %v: want more than 0 and at most %v", cfg.Interval, intervalMax)
	}
	s := &Source{cfg: cfg, clock: newClock(cfg.Clock)}
	if cfg.Netns == nil {
		inode, err := netns.Own()
		if err != nil {
			return nil, err
		}
		s.inode = inode
		return s, nil
	}
	s.inode = cfg.Netns.Inode()
	return s, nil
}

// Stats returns what was done so far; it may be called at any time.
func (s *Source) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Run emits until ctx ends, the sink refuses, or there is nothing to read
// (ErrPermission, ErrNoConntrack, ErrGone).
func (s *Source) Run(ctx context.Context, sink collector.Sink) error {
	defer s.close()
	tick := time.NewTicker(s.cfg.Interval)
	defer tick.Stop()
	for {
		if err := s.dump(ctx, sink); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Dump emits one dump, and returns an error if it did not come to its end. It is not to be called during Run.
func (s *Source) Dump(ctx context.Context, sink collector.Sink) error {
	defer s.close()
	return s.dump(ctx, sink)
}

func (s *Source) dump(ctx context.Context, sink collector.Sink) error {
	if err := s.open(); err != nil {
		return err
	}
	begin := s.clock.read()
	err := s.table.dump(ctx, sink)
	s.note(s.clock.read().Sub(begin), err)
	if err != nil && !errors.Is(err, nlraw.ErrInterrupted) {
		s.close() // the rest of the dump is still in the socket
	}
	return err
}

// open gets ready what is not: socket and timeouts.
func (s *Source) open() error {
	if s.table == nil {
		fd := 0
		if s.cfg.Netns != nil {
			fd = s.cfg.Netns.FD()
		}
		conn, err := dial(fd)
		if err != nil {
			return err
		}
		s.table = newTable(conn, s.inode, s.cfg.OnlyTranslated, s.clock)
		s.table.timeouts = newTimeouts(s.limits)
	}
	if now := s.clock.read(); s.limitsRead == 0 || now.Sub(s.limitsRead) > limitsInterval {
		l, err := s.readLimits()
		s.limits, s.limitsRead = l, now
		s.table.timeouts = newTimeouts(l)
		s.mu.Lock()
		s.stats.LimitsError = err
		s.mu.Unlock()
	}
	return nil
}

func (s *Source) readLimits() (collector.Limits, error) {
	h := s.cfg.Netns
	if h == nil {
		own, err := netns.Self()
		if err != nil {
			return collector.Limits{}, err
		}
		defer own.Close()
		h = own
	}
	return limits.Of(h)
}

func (s *Source) close() {
	if s.table != nil {
		_ = s.table.conn.Close()
		s.table = nil
	}
}

// note puts the last dump into the stats.
func (s *Source) note(took time.Duration, err error) {
	f := &s.table.found
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.UnknownAttributes += f.unknown
	s.stats.ParseErrors += f.parseErrors
	if f.parseError != nil {
		s.stats.ParseError = f.parseError
	}
	if err != nil {
		s.stats.Aborted++
		return
	}
	s.stats.Dumps++
	s.stats.DumpSeconds = took.Seconds()
	s.stats.Flows, s.stats.Translated = f.flows, f.translated
	s.stats.OtherProtocols = map[collector.Protocol]int{}
	for p, n := range f.others {
		if n > 0 {
			s.stats.OtherProtocols[collector.Protocol(p)] = int(n)
		}
	}
}
