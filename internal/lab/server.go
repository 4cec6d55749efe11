package lab

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Server answers on one address of a host until it is closed.
type Server struct {
	// Addr is where it listens.
	Addr netip.AddrPort

	// delay is how long the server takes to answer a request, in nanoseconds.
	delay    atomic.Int64
	answered atomic.Uint64

	stop   func() error
	closed chan struct{}
	wg     sync.WaitGroup
	mu     sync.Mutex
	conns  map[net.Conn]struct{} // nil once closed
}

// SetDelay is how long the server takes to answer a request from now on.
func (s *Server) SetDelay(d time.Duration) { s.delay.Store(int64(d)) }

// Answered counts the requests, or datagrams, that the server answered.
func (s *Server) Answered() uint64 { return s.answered.Load() }

// Hold accepts TCP flows and holds each until its client closes it.
func (h *Host) Hold(ctx context.Context, at netip.AddrPort) (*Server, error) {
	return h.serveTCP(ctx, at, func(s *Server, c *net.TCPConn) {
		_, _ = io.Copy(io.Discard, c)
		s.finish(c)
	})
}

// Store answers each request, a byte, with a byte after the delay, and then waits for the client
// to close: a cache when the delay is 50 ms, a slow store when it is 30 s.
func (h *Host) Store(ctx context.Context, at netip.AddrPort, delay time.Duration) (*Server, error) {
	s, err := h.serveTCP(ctx, at, (*Server).answer)
	if err == nil {
		s.SetDelay(delay)
	}
	return s, err
}

func (s *Server) answer(c *net.TCPConn) {
	var b [1]byte
	for {
		if _, err := io.ReadFull(c, b[:]); err != nil {
			break
		}
		select {
		case <-time.After(time.Duration(s.delay.Load())):
		case <-s.closed:
			return
		}
		s.answered.Add(1)
		if _, err := c.Write(b[:]); err != nil {
			break
		}
	}
	s.finish(c)
}

// finish closes the server's side after the client's: a FIN, not a reset. It comes a little later than
// the client's, for should it overtake the ACK of that one on another CPU, the client answers the ACK once
// more, to a socket that is gone: a reset, and the router's entry goes from TIME_WAIT to CLOSE.
func (s *Server) finish(c *net.TCPConn) {
	select {
	case <-time.After(20 * time.Millisecond):
	case <-s.closed:
		return
	}
	_ = c.SetLinger(-1)
	_ = c.Close()
}

func (h *Host) serveTCP(ctx context.Context, at netip.AddrPort, handle func(*Server, *net.TCPConn)) (*Server, error) {
	l, err := h.Listen(ctx, at)
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: at, stop: l.Close, closed: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	s.wg.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			// Should the process die, the kernel resets the flow instead of waiting for
			// an answer that cannot come.
			_ = c.SetLinger(0)
			if !s.track(c) {
				return
			}
			s.wg.Go(func() {
				handle(s, c)
				s.untrack(c)
			})
		}
	})
	return s, nil
}

// EchoUDP sends every datagram back.
func (h *Host) EchoUDP(ctx context.Context, at netip.AddrPort) (*Server, error) {
	c, err := h.ListenUDP(ctx, at)
	if err != nil {
		return nil, err
	}
	_ = c.SetReadBuffer(4 << 20) // the kernel's limit applies
	s := &Server{Addr: at, stop: c.Close, closed: make(chan struct{})}
	s.wg.Go(func() {
		var b [64]byte
		for {
			n, from, err := c.ReadFromUDPAddrPort(b[:])
			if err != nil {
				return
			}
			s.answered.Add(1)
			_, _ = c.WriteToUDPAddrPort(b[:n], from) // lost is lost: it is UDP
		}
	})
	return s, nil
}

// track remembers c for Close; false if the server is closed already.
func (s *Server) track(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		_ = c.Close()
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) untrack(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Close stops the server and resets what it holds. It may be called once.
func (s *Server) Close() error {
	close(s.closed)
	err := s.stop()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.wg.Wait()
	return err
}
