package lab

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// fillUp: the kernel looks for a free port in a few places only, so first packets are lost
// before the last port is taken. Each cycle fills the ports towards a destination of its own.
func fillUp(ctx context.Context, b *bench, r *StepReport) error {
	const (
		cycles = 40
		// attempts of one cycle: 1024 that get a port and room for those that do not.
		attempts = 1350
		one      = 1 // percent of first packets lost that make the effective ceiling
	)
	levels := []fillLevel{
		{to: 80}, {to: 90}, {to: 93}, {to: 95}, {to: 96}, {to: 97}, {to: 98}, {to: 99}, {to: 99.5},
	}
	for cycle := range cycles {
		s, err := b.echo(ctx, 0, uint16(5000+cycle))
		if err != nil {
			return err
		}
		// Source ports of its own for each cycle: the NAT gives a source that it knows
		// the port that it had, and searches only for a new one.
		f, err := b.Node(nodeFill).OpenUDPFrom(s.Addr, uint16(10000+cycle*attempts), attempts)
		if err != nil {
			return err
		}
		err = b.fillCycle(ctx, s, f, levels)
		f.Close()
		if err != nil {
			return err
		}
	}
	from, ceiling := 0.0, 0.0
	for i, l := range levels {
		want := (*Bounds)(nil)
		means := "soft failure: the next try may get through, a second late"
		switch {
		case i == 0:
			want, means = between(0, 0.05), "all first packets get a port"
		case l.loss() < one:
			means = "a rare retry"
		case i == len(levels)-1:
			want, means = atLeast(20), "nearly full is as bad as full"
		}
		if ceiling == 0 && l.loss() >= one {
			ceiling = from
		}
		r.add(fmt.Sprintf("first packets lost at %s–%s %% fill, of %d sent", number(from), number(l.to), l.sent),
			l.loss(), "%", want, means)
		from = l.to
	}
	r.add("fill above which 1 % or more are lost", ceiling, "%", between(85, 96),
		"the effective ceiling: page before it, not at 100 %")
	return nil
}

// fillLevel counts first packets sent while the fill was below to percent and above the level before.
type fillLevel struct {
	to         float64
	sent, lost int
}

// loss is the share of first packets lost, in percent.
func (l *fillLevel) loss() float64 { return 100 * float64(l.lost) / float64(max(l.sent, 1)) }

// fillCycle sends first packets, one per socket, until the ports towards s are filled to the last level. What the
// router's insert_failed counts was lost, what the server counts went through.
func (b *bench) fillCycle(ctx context.Context, s *Server, f *Flows, levels []fillLevel) error {
	const batch = 64 // within the server's receive buffer, and small against a level
	held, used := 0, 0
	for i := range levels {
		l := &levels[i]
		goal := int(l.to * float64(perVIP().Len()) / 100)
		for held < goal {
			n := min(goal-held, batch, f.Len()-used)
			if n == 0 {
				return errors.New("more first packets were lost than there are sockets to send from")
			}
			before, err := b.Counters()
			if err != nil {
				return err
			}
			arrived := s.Answered()
			for range n {
				if err := f.Send(used); err != nil {
					return fmt.Errorf("send to %v: %w", s.Addr, err)
				}
				used++
			}
			through, lost, err := b.await(ctx, s, n, arrived, before.InsertFailed)
			if err != nil {
				return err
			}
			l.sent += n
			l.lost += lost
			held += through
		}
	}
	return nil
}

// await waits until each of n packets has arrived at the server or was dropped by the router.
func (b *bench) await(ctx context.Context, s *Server, n int, arrived, failed uint64) (through, lost int, err error) {
	deadline := time.Now().Add(2 * time.Second)
	for {
		c, err := b.Counters()
		if err != nil {
			return 0, 0, err
		}
		through, lost = int(s.Answered()-arrived), int(c.InsertFailed-failed)
		if through+lost == n {
			return through, lost, nil
		}
		if time.Now().After(deadline) {
			return 0, 0, fmt.Errorf("of %d first packets %d arrived and %d were dropped by the NAT", n, through, lost)
		}
		if err := sleep(ctx, 100*time.Microsecond); err != nil {
			return 0, 0, err
		}
	}
}
