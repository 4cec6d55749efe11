package lab

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
)

// Relay passes each connection that l accepts on to an address inside host h, until ctx ends. It closes l.
func Relay(ctx context.Context, l net.Listener, h *Host, to netip.AddrPort) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var open sync.WaitGroup
	defer open.Wait()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return errors.Join(err, l.Close())
		}
		open.Go(func() { pass(ctx, c, h, to) })
	}
}

// pass copies both ways between c and a new connection to an address inside host h. Where nobody listens there, or when
// ctx ends, c is closed.
func pass(ctx context.Context, c net.Conn, h *Host, to netip.AddrPort) {
	defer func() { _ = c.Close() }()
	inside, err := h.Dial(ctx, to)
	if err != nil {
		return
	}
	defer func() { _ = inside.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = errors.Join(c.Close(), inside.Close()) })
	defer stop()
	var asked sync.WaitGroup
	asked.Go(func() {
		_, _ = io.Copy(inside, c)
		_ = inside.CloseWrite()
	})
	_, _ = io.Copy(c, inside)
	_ = c.Close()
	asked.Wait()
}
