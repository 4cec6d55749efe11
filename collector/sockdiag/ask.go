package sockdiag

import (
	"context"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// ask sends the requests that show the sockets of one protocol in the given states.
func (r *reader) ask(ctx context.Context, sp *namespace, p collector.Protocol, states uint32,
	each func(nlraw.Message) error,
) error {
	var filter []byte
	if sp.filter > 0 {
		filter = r.loopback
	}
	if p == collector.TCP && !r.perFamily {
		err := r.one(ctx, sp, requestTCP(states, r.extensions, filter), each)
		if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EINVAL) {
			return named(err, p)
		}
		r.perFamily = true
	}
	shown := 0
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		req := requestFamily(family, p, states, filter)
		req.Data[reqExtensions] = r.extensions
		err := r.one(ctx, sp, req, each)
		// A kernel without UDP diagnosis or without IPv6 has none to show; one
		// without TCP over IPv4 cannot be read.
		if errors.Is(err, unix.ENOENT) && (p == collector.UDP || shown > 0) {
			continue
		}
		if err != nil {
			return named(err, p)
		}
		shown++
	}
	return nil
}

// askInfo asks for TCP sockets with struct tcp_info.
func (r *reader) askInfo(ctx context.Context, sp *namespace, states uint32, each func(nlraw.Message) error) error {
	r.extensions = 1 << (attrInfo - 1)
	defer func() { r.extensions = 0 }()
	return r.ask(ctx, sp, collector.TCP, states, each)
}

func (r *reader) one(ctx context.Context, sp *namespace, req netlink.Message, each func(nlraw.Message) error) error {
	now := r.now()
	r.last = [2]collector.Time{now, now}
	datagram := func() error {
		// The kernel writes a datagram of a dump while the one before it is read.
		now := r.now()
		r.written = written{after: r.last[0], before: now}
		r.last[0], r.last[1] = r.last[1], now
		return nil
	}
	err := sp.dump.Dump(ctx, req, datagram, each)
	if errors.Is(err, nlraw.ErrInterrupted) {
		return fmt.Errorf("%w by changes", err)
	}
	return err
}

func named(err error, p collector.Protocol) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("dump %v sockets: %w", p, err)
}

// parse reads a message into r.socket, and reports whether it could.
func (r *reader) parse(m nlraw.Message) bool {
	r.tally.Sockets++
	if err := r.socket.parse(m.Data); err != nil {
		if r.tally.Malformed++; r.tally.firstMalformed == nil {
			r.tally.firstMalformed = fmt.Errorf("dumped socket: %w", err)
		}
		return false
	}
	r.tally.UnknownAttributes += uint64(r.socket.unknown)
	return true
}
