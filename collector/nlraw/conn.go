// Package nlraw reads netlink as cheaply as the kernel lets it be read: whole
// datagrams into one reused buffer, messages and attributes as views into it.
// Dialling, options and sending stay with mdlayher/netlink.
//
// The measurements behind it (Linux 6.18): a dump costs the kernel about 2.8 µs
// a conntrack entry. Peeking for the size keeps the kernel at 4 KiB messages and
// doubles that; a read through the scheduler's system call path costs 10 to 16 %,
// because a dump read runs for 300 µs and its processor is taken away each time.
package nlraw

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
	"unsafe"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// BufferSize is the size of the receive buffer. The kernel fills at most 32 KiB of
// it in a dump (netlink_recvmsg, net/netlink/af_netlink.c), and 32 KiB less its
// own overhead only if it has once seen a buffer this large.
const BufferSize = 64 << 10

// slowRead is how long a read may take before the next one lets the scheduler
// have the processor meanwhile. A filtered dump walks the whole table in one read.
const slowRead = time.Millisecond

// ErrInterrupted means that the table changed during a dump, so that
// entries may be missing or shown twice (NLM_F_DUMP_INTR).
var ErrInterrupted = errors.New("dump interrupted")

// ErrMalformed means that a datagram is no sequence of netlink messages, or
// that did not fit its buffer.
var ErrMalformed = errors.New("malformed netlink message")

// Conn is a netlink socket. It is not safe for concurrent use, but for Close.
type Conn struct {
	nl  *netlink.Conn
	raw syscall.RawConn
	buf []byte

	// send and receive are the two ends that a test replaces. receive fills b
	// with one datagram and waits for it if wait is set.
	send    func(netlink.Message) (netlink.Message, error)
	receive func(b []byte, wait bool) (int, error)

	// What the callback of a read works on; fields, so that a read allocates nothing.
	read  func(fd uintptr) bool
	into  []byte
	n     int
	errno syscall.Errno
	wait  bool
	slow  bool

	readMany func(fd uintptr) bool
	many     *Datagrams

	detached *detached // nil before Detach
}

// Dial opens a netlink socket of the given family (unix.NETLINK_NETFILTER,
// unix.NETLINK_INET_DIAG). cfg may be nil; its NetNS is the descriptor of a namespace.
func Dial(family int, cfg *netlink.Config) (*Conn, error) {
	nl, err := netlink.Dial(family, cfg)
	if err != nil {
		return nil, err
	}
	raw, err := nl.SyscallConn()
	if err != nil {
		_ = nl.Close()
		return nil, err
	}
	c := &Conn{nl: nl, raw: raw, send: nl.Send}
	c.receive = c.receiveSocket
	c.read = c.readOnce
	c.readMany = c.readManyOnce
	return c, nil
}

// Fake returns a Conn without a socket, for tests of what a kernel may answer.
// answer is called with each request, its sequence number filled in, and returns
// the datagrams to be read then. After the last one a read fails with unix.EAGAIN.
func Fake(answer func(req netlink.Message) [][]byte) *Conn {
	var queue [][]byte
	var seq uint32
	c := &Conn{}
	c.send = func(m netlink.Message) (netlink.Message, error) {
		seq++
		m.Header.Sequence = seq
		queue = append(queue, answer(m)...)
		return m, nil
	}
	c.receive = func(b []byte, _ bool) (int, error) {
		if len(queue) == 0 {
			return 0, unix.EAGAIN
		}
		n := copy(b, queue[0])
		queue = queue[1:]
		return n, nil
	}
	return c
}

// UseBuffer makes c receive into b, at least BufferSize long, so that connections
// read one after the other need one buffer between them. Without it c makes its own
// when it first needs one, which reading batches does not.
func (c *Conn) UseBuffer(b []byte) { c.buf = b }

// Netlink is the connection that options are set and groups are joined on; nil after Detach.
func (c *Conn) Netlink() *netlink.Conn { return c.nl }

// ReadBuffer returns the size of the socket's queue, in bytes as the kernel counts them: twice what was asked for.
func (c *Conn) ReadBuffer() (size int, err error) {
	refused := c.raw.Control(func(fd uintptr) {
		size, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	})
	return size, errors.Join(refused, err)
}

// Close closes the socket and ends a read that waits.
func (c *Conn) Close() error {
	switch {
	case c.detached != nil:
		return c.detached.close()
	case c.nl == nil:
		return nil
	}
	return c.nl.Close()
}

// Send sends a request; its sequence number is filled in.
func (c *Conn) Send(m netlink.Message) (netlink.Message, error) { return c.send(m) }

// Receive waits for one datagram. The bytes are valid until the next call.
// A cancelled ctx ends the wait, with ctx's error.
func (c *Conn) Receive(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.buf == nil {
		c.buf = make([]byte, BufferSize)
	}
	n, err := c.receive(c.buf, false)
	if errors.Is(err, unix.EAGAIN) {
		n, err = c.receiveWait(ctx)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("receive: %w", err)
	case n == len(c.buf):
		return nil, fmt.Errorf("%w: datagram of %d bytes or more", ErrMalformed, n)
	}
	return c.buf[:n], nil
}

// receiveWait is the slow way: a dump's reads never come here, because its
// next datagram is there before the last one was handed out.
func (c *Conn) receiveWait(ctx context.Context) (int, error) {
	for c.detached != nil {
		if err := c.detached.wait(ctx); err != nil {
			return 0, err
		}
		if n, err := c.receive(c.buf, false); !errors.Is(err, unix.EAGAIN) {
			return n, err
		}
	}
	if c.nl != nil {
		done := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			defer close(done)
			_ = c.nl.SetReadDeadline(time.Unix(0, 1))
		})
		defer func() {
			if !stop() {
				<-done
				_ = c.nl.SetReadDeadline(time.Time{})
			}
		}()
	}
	n, err := c.receive(c.buf, true)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return n, err
}

func (c *Conn) receiveSocket(b []byte, wait bool) (int, error) {
	c.into, c.wait = b, wait
	err := c.raw.Read(c.read)
	c.into = nil
	switch {
	case err != nil:
		return 0, err
	case c.errno != 0:
		return 0, c.errno
	}
	return c.n, nil
}

// readOnce is one read(2). The socket is non-blocking, so it cannot hold its
// processor while it waits; while the kernel walks the table it does.
func (c *Conn) readOnce(fd uintptr) bool {
	p, n := uintptr(unsafe.Pointer(unsafe.SliceData(c.into))), uintptr(len(c.into))
	start := time.Now()
	var r uintptr
	if c.slow {
		r, _, c.errno = unix.Syscall(unix.SYS_READ, fd, p, n)
	} else {
		r, _, c.errno = unix.RawSyscall(unix.SYS_READ, fd, p, n)
	}
	c.slow = time.Since(start) > slowRead
	c.n = int(r)
	return c.errno != unix.EAGAIN || !c.wait
}
