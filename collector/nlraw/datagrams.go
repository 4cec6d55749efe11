package nlraw

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// eventSize is room for one multicast message: NLMSG_GOODSIZE,
// include/linux/netlink.h, is a page, at most 8 KiB, less overhead.
const eventSize = 8 << 10

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// Datagrams is room for what one recvmmsg(2) reads.
type Datagrams struct {
	hdrs []mmsghdr
	iovs []unix.Iovec
	bufs []byte

	n     int
	errno syscall.Errno
}

// NewDatagrams returns room for n datagrams.
func NewDatagrams(n int) *Datagrams {
	d := &Datagrams{hdrs: make([]mmsghdr, n), iovs: make([]unix.Iovec, n), bufs: make([]byte, n*eventSize)}
	for i := range d.hdrs {
		d.iovs[i].Base = &d.bufs[i*eventSize]
		d.iovs[i].SetLen(eventSize)
		d.hdrs[i].hdr.Iov = &d.iovs[i]
		d.hdrs[i].hdr.SetIovlen(1)
	}
	return d
}

// Len returns the number of datagrams of the last read.
func (d *Datagrams) Len() int { return d.n }

// Cap returns the number of datagrams that d has room for.
func (d *Datagrams) Cap() int { return len(d.hdrs) }

// Datagram returns the i-th datagram of the last read; its bytes are valid until
// the next. ok is false if it did not fit.
func (d *Datagrams) Datagram(i int) (datagram []byte, ok bool) {
	h := &d.hdrs[i]
	return d.bufs[i*eventSize:][:min(h.len, eventSize)], h.hdr.Flags&unix.MSG_TRUNC == 0
}

// ReceiveReady reads the datagrams that are there, as many as fit into d, and
// does not wait for more: none is no error. An error of the kernel's is a
// syscall.Errno, unix.ENOBUFS where it had to drop datagrams.
func (c *Conn) ReceiveReady(d *Datagrams) error {
	d.n, d.errno = 0, 0
	c.many = d
	err := c.raw.Read(c.readMany)
	c.many = nil
	switch {
	case err != nil:
		return fmt.Errorf("receive: %w", err)
	case d.errno == unix.EAGAIN:
		return nil
	case d.errno != 0:
		return fmt.Errorf("receive: %w", d.errno)
	}
	return nil
}

func (c *Conn) readManyOnce(fd uintptr) bool {
	d := c.many
	r, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(unsafe.SliceData(d.hdrs))),
		uintptr(len(d.hdrs)), unix.MSG_DONTWAIT, 0, 0)
	if errno == 0 {
		d.n = int(r)
	}
	d.errno = errno
	return true
}
