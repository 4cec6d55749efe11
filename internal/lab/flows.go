package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// poll is how often a wait looks at the kernel again.
const poll = 100 * time.Millisecond

// Flows are client sockets of one host to one destination, without a goroutine each.
type Flows struct {
	host *Host
	To   netip.AddrPort
	fds  []int
}

// OpenTCP starts n TCP connections at once and does not wait for them. Close resets
// those that are not shut down.
func (h *Host) OpenTCP(to netip.AddrPort, n int) (*Flows, error) {
	return h.open(to, 0, n, unix.SOCK_STREAM)
}

// OpenUDP connects n UDP sockets, each of its own source port. Send makes flows of them.
func (h *Host) OpenUDP(to netip.AddrPort, n int) (*Flows, error) {
	return h.open(to, 0, n, unix.SOCK_DGRAM)
}

// OpenUDPFrom is OpenUDP with source ports from first on.
func (h *Host) OpenUDPFrom(to netip.AddrPort, first uint16, n int) (*Flows, error) {
	return h.open(to, first, n, unix.SOCK_DGRAM)
}

// open makes and connects sockets; their source ports start at first, or are the kernel's choice when it is 0.
func (h *Host) open(to netip.AddrPort, first uint16, n, typ int) (*Flows, error) {
	f := &Flows{host: h, To: to}
	var err error
	if f.fds, err = h.sockets(family(to.Addr()), typ, n); err != nil {
		return nil, err
	}
	sa := sockaddr(to)
	for i, fd := range f.fds {
		err := error(nil)
		if first != 0 {
			err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(h.source(to.Addr()), first+uint16(i))))
		}
		if err == nil {
			err = unix.Connect(fd, sa)
		}
		if err != nil && !errors.Is(err, unix.EINPROGRESS) {
			f.Close()
			return nil, fmt.Errorf("open flow from %s to %v: %w", h.Name, to, err)
		}
	}
	return f, nil
}

// source is the host's address of the family of to.
func (h *Host) source(to netip.Addr) netip.Addr {
	if to.Is4() {
		return h.Addr
	}
	return h.Addr6
}

// Len is the number of sockets.
func (f *Flows) Len() int { return len(f.fds) }

// Send sends one small datagram or segment on socket i.
func (f *Flows) Send(i int) error {
	_, err := unix.Write(f.fds[i], []byte{'?'})
	return err
}

// Received reads what arrived on socket i and says whether there was anything.
func (f *Flows) Received(i int) bool {
	var b [16]byte
	n, err := unix.Read(f.fds[i], b[:])
	return err == nil && n > 0
}

// Errors counts the sockets that got an error: refused, reset, unreachable, timed out.
func (f *Flows) Errors() (int, error) {
	n := 0
	for _, fd := range f.fds {
		e, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			return 0, fmt.Errorf("read error of a flow to %v: %w", f.To, err)
		}
		if e != 0 {
			n++
		}
	}
	return n, nil
}

// AwaitEstablished waits until n of the host's sockets to the destination are ESTABLISHED, at
// most for d, and returns the last count.
func (f *Flows) AwaitEstablished(ctx context.Context, n int, d time.Duration) (Sockets, error) {
	deadline := time.Now().Add(d)
	for {
		s, err := f.host.Sockets(f.To)
		if err != nil || s.Established >= n || time.Now().After(deadline) {
			return s, err
		}
		if err := sleep(ctx, poll); err != nil {
			return s, err
		}
	}
}

// Shutdown sends a FIN on every established flow; the server answers with its own.
func (f *Flows) Shutdown() {
	for _, fd := range f.fds {
		_ = unix.Shutdown(fd, unix.SHUT_WR) // ENOTCONN: it never was established
	}
}

// Close closes the sockets: a reset on each that is established, nothing on one that is
// shut down on both sides or still opening.
func (f *Flows) Close() {
	closeAll(f.fds)
	f.fds = nil
}

// sleep waits for d or the context's end, whose error it returns.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
