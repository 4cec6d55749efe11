package conntrack

import (
	"context"
	"errors"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// dump makes one dump and notes how long it took.
func (s *Source) dump(ctx context.Context) error {
	begin := s.clock.read()
	resync, announced := false, false
	if l := s.listener; l != nil {
		announced = s.begun != 0 && l.began <= s.begun && !l.lost && !l.silent
		resync, l.lost, l.silent = l.lost, false, false
	}
	s.meter.Resume()
	err := s.table.dump(ctx, s.begun, announced)
	if s.listener != nil && s.out.Refused() == nil && ctx.Err() == nil {
		err = errors.Join(err, s.listener.release(ctx))
	}
	s.meter.Pause()
	cpu := s.meter.Take()
	if s.listener != nil {
		s.noteEvents()
	}
	took := s.clock.read().Sub(begin)
	s.board.write(func(b *Stats) {
		b.parsed(&s.table.found)
		if resync {
			b.Resyncs++
		}
		if err != nil {
			b.Aborted++
			b.DumpError = err
			return
		}
		b.dumped(&s.table.found, took, cpu)
		b.Gap = s.gaps.why
	})
	switch {
	case err == nil:
		s.measure(begin, cpu)
	case errors.Is(err, nlraw.ErrInterrupted):
	default:
		_ = s.table.conn.Close() // the rest of the dump is still in the socket
		conn, dialErr := dialDetached(s.fd())
		if dialErr != nil {
			return errors.Join(err, dialErr)
		}
		s.table.conn = conn
	}
	return err
}

// soonLead is how long before a dump Config.Soon is called.
const soonLead = time.Second

// wait returns how long there is nothing to do, and says when a dump is due soon.
func (s *Source) wait() time.Duration {
	wait := s.due.Sub(s.clock.read())
	if s.cfg.Soon != nil && s.soon != s.due {
		if wait > soonLead {
			wait -= soonLead
		} else {
			s.soon = s.due
			s.cfg.Soon()
		}
	}
	if s.listener != nil {
		wait = min(wait, s.listener.pause(s.cfg.DrainInterval))
	}
	return wait
}

// measure learns from a complete dump that began at begin.
func (s *Source) measure(begin collector.Time, cpu time.Duration) {
	f := &s.table.found
	s.workload.dump = mean(s.workload.dump, cpu)
	s.measureRest(cpu)
	opened := uint64(f.recent)
	if s.listener != nil {
		opened, s.openedThen = s.listener.opened-s.openedThen, s.listener.opened
	}
	if s.begun != 0 && begin > s.begun {
		rate := float64(opened) / begin.Sub(s.begun).Seconds()
		if s.cfg.OnlyTranslated && f.flows > 0 {
			rate *= float64(f.entries) / float64(f.flows)
		}
		s.workload.rate = (s.workload.rate + rate) / 2
		s.workload.late(s.clock.read().Sub(s.due))
	}
	s.begun = begin
}

// measureRest learns how much CPU time the process takes beside dumps. dump is what the last dump took.
func (s *Source) measureRest(dump time.Duration) {
	if s.cfg.Process == nil {
		return
	}
	taken, now := s.cfg.Process(), s.clock.read()
	if since := now.Sub(s.takenAt); s.takenAt != 0 && since > 0 {
		rest := (taken - s.taken - dump).Seconds() / since.Seconds()
		if s.workload.rest > 0 {
			rest = (s.workload.rest + rest) / 2
		}
		s.workload.rest = rest
	}
	s.taken, s.takenAt = taken, now
}

// repace chooses the strategy and the interval. It keeps a strategy for a while; open puts a new one in place.
func (s *Source) repace(now collector.Time) {
	p := s.decide(s.pace.strategy)
	if p.strategy != s.pace.strategy {
		if s.settings.eventsErr == nil && s.pacedAt != 0 && now.Sub(s.pacedAt) < dwell {
			return
		}
		s.pacedAt = now
	}
	s.pace = p
	s.announce()
}

func (s *Source) announce() {
	s.board.write(func(b *Stats) {
		b.Strategy, b.Why, b.Interval = s.pace.strategy, s.pace.why, s.pace.interval
		b.Cost, b.BudgetExceeded = s.pace.cost, s.pace.exceeded
	})
}

// mean smooths a measurement that varies; the first value counts in full.
func mean(old, now time.Duration) time.Duration {
	if old == 0 {
		return now
	}
	return (old + now) / 2
}
