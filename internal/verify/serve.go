package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Server is the far end: it tells each caller the address and port that it came from, and holds the
// flow until the caller ends it.
type Server struct {
	// Limit is how many flows it holds at the same time; callers beyond are reset. 0 means 100,000.
	Limit int
	// Longest is how long it holds a flow; 0 means 15 minutes.
	Longest time.Duration

	mu    sync.Mutex
	conns map[*net.TCPConn]struct{} // nil once the server has ended
}

// Serve accepts flows on l until ctx ends, then closes l and resets all that it holds.
func (s *Server) Serve(ctx context.Context, l *net.TCPListener) error {
	if s.Limit == 0 {
		s.Limit = 100_000
	}
	if s.Longest == 0 {
		s.Longest = 15 * time.Minute
	}
	s.mu.Lock()
	s.conns = map[*net.TCPConn]struct{}{}
	s.mu.Unlock()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer s.end()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		c, err := l.AcceptTCP()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // no file descriptor left, say: the caller is kept waiting and the next may do better
			if !sleep(ctx, 100*time.Millisecond) {
				return nil
			}
			continue
		}
		_ = c.SetLinger(0)
		if !s.track(c) {
			_ = c.Close()
			continue
		}
		wg.Go(func() {
			defer s.untrack(c)
			s.hold(c)
		})
	}
}

// hold says to c where it came from and waits for its end.
func (s *Server) hold(c *net.TCPConn) {
	from, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return
	}
	_ = c.SetDeadline(time.Now().Add(s.Longest))
	if _, err := io.WriteString(c, formatBanner(netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))); err != nil {
		return
	}
	var b [64]byte
	for {
		if _, err := c.Read(b[:]); err != nil {
			return
		}
	}
}

// Held is how many flows the server holds now.
func (s *Server) Held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// track remembers c; false if the server holds as many as it may, or has ended.
func (s *Server) track(c *net.TCPConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil || len(s.conns) >= s.Limit {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) untrack(c *net.TCPConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	_ = c.Close()
}

// end closes what is held, so that each hold returns.
func (s *Server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

// Listen opens the port of a server, such as ":9960".
func Listen(ctx context.Context, at string) (*net.TCPListener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", at)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("listen on %s: not TCP", at)
	}
	return tcp, nil
}

// sleep waits for d; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
