package nlraw

import (
	"context"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// waitStep is how long a detached Conn waits for a datagram before it looks whether it still should, in milliseconds.
const waitStep = 50

// Detach takes the socket off the poller of Go's runtime, which each datagram wakes, whether somebody waits for it or
// not: at 1,000 flows a second an agent that reads its events five times a second was woken 2,000 times, and 190 times
// once they were detached. Set options and join groups before: Netlink is nil afterwards. Close must not come during
// another call then. After an error c is closed.
func (c *Conn) Detach() error {
	if c.nl == nil { // a fake one
		return nil
	}
	d := &detached{fd: -1}
	var duplicated error
	err := c.raw.Control(func(fd uintptr) { d.fd, duplicated = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, duplicated); err != nil {
		_ = c.nl.Close()
		return fmt.Errorf("duplicate the socket: %w", err)
	}
	address, err := unix.Getsockname(d.fd)
	if own, ok := address.(*unix.SockaddrNetlink); ok {
		d.port = own.Pid
	}
	// The poller forgets a socket when the descriptor that it polls is closed.
	if err = errors.Join(err, c.nl.Close()); err != nil {
		return errors.Join(err, d.close())
	}
	c.nl, c.raw, c.detached, c.send = nil, d, d, d.send
	return nil
}

// Detached returns c after Detach, or the error that comes with c: it takes what dialling returns.
func Detached(c *Conn, err error) (*Conn, error) {
	if err != nil {
		return nil, err
	}
	if err := c.Detach(); err != nil {
		return nil, err
	}
	return c, nil
}

// detached is a socket that Go's poller does not know.
type detached struct {
	fd             int
	port, sequence uint32
}

func (d *detached) close() error {
	fd := d.fd
	d.fd = -1
	return unix.Close(fd)
}

func (d *detached) send(m netlink.Message) (netlink.Message, error) {
	d.sequence++
	m.Header.Sequence, m.Header.PID = d.sequence, d.port
	m.Header.Length = uint32((unix.NLMSG_HDRLEN + len(m.Data) + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1))
	b, err := m.MarshalBinary()
	if err != nil {
		return m, err
	}
	_, err = unix.Write(d.fd, b)
	return m, err
}

// wait returns once there is a datagram to read, or an error, or ctx is cancelled.
func (d *detached) wait(ctx context.Context) error {
	for ctx.Err() == nil {
		p := []unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(p, waitStep); n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return ctx.Err()
}

// Control, Read and Write make it a syscall.RawConn that waits for nothing.
func (d *detached) Control(f func(fd uintptr)) error {
	f(uintptr(d.fd))
	return nil
}

func (d *detached) Read(f func(fd uintptr) bool) error {
	f(uintptr(d.fd))
	return nil
}

func (d *detached) Write(f func(fd uintptr) bool) error {
	f(uintptr(d.fd))
	return nil
}
