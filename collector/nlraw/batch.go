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

// Batch is what one recvmmsg(2) can fill.
type Batch struct {
	hdrs []mmsghdr
	iovs []unix.Iovec
	bufs []byte

	n     int
	errno syscall.Errno
}

// NewBatch returns room for n datagrams.
func NewBatch(n int) *Batch {
	b := &Batch{hdrs: make([]mmsghdr, n), iovs: make([]unix.Iovec, n), bufs: make([]byte, n*eventSize)}
	for i := range b.hdrs {
		b.iovs[i].Base = &b.bufs[i*eventSize]
		b.iovs[i].SetLen(eventSize)
		b.hdrs[i].hdr.Iov = &b.iovs[i]
		b.hdrs[i].hdr.SetIovlen(1)
	}
	return b
}

// Len returns the number of datagrams of the last read.
func (b *Batch) Len() int { return b.n }

// Cap returns the number of datagrams that b has room for.
func (b *Batch) Cap() int { return len(b.hdrs) }

// Datagram returns the i-th datagram of the last read; its bytes are valid until
// the next. ok is false if it did not fit.
func (b *Batch) Datagram(i int) (datagram []byte, ok bool) {
	h := &b.hdrs[i]
	return b.bufs[i*eventSize:][:min(h.len, eventSize)], h.hdr.Flags&unix.MSG_TRUNC == 0
}

// ReceiveBatch reads the datagrams that are there, as many as fit into b, and
// does not wait for more: none is no error. An error of the kernel's is a
// syscall.Errno, unix.ENOBUFS where it had to drop datagrams.
func (c *Conn) ReceiveBatch(b *Batch) error {
	b.n, b.errno = 0, 0
	c.batch = b
	err := c.raw.Read(c.readBatch)
	c.batch = nil
	switch {
	case err != nil:
		return fmt.Errorf("receive: %w", err)
	case b.errno == unix.EAGAIN:
		return nil
	case b.errno != 0:
		return fmt.Errorf("receive: %w", b.errno)
	}
	return nil
}

func (c *Conn) readBatchOnce(fd uintptr) bool {
	b := c.batch
	r, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b.hdrs))),
		uintptr(len(b.hdrs)), unix.MSG_DONTWAIT, 0, 0)
	if errno == 0 {
		b.n = int(r)
	}
	b.errno = errno
	return true
}
