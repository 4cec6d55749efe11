package sockdiag

import (
	"context"
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// showsBound reports whether the kernel shows a TCP socket that is bound and not connected. A kernel
// before 6.8 takes the question and shows nothing, so it is tried with a socket of our own.
func showsBound() bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return false
	}
	name, err := unix.Getsockname(fd)
	local, ok := name.(*unix.SockaddrInet4)
	if err != nil || !ok {
		return false
	}
	c, err := nlraw.Dial(unix.NETLINK_INET_DIAG, nil)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	req := requestTCP(1<<tcpBoundInactive, nil)
	binary.BigEndian.PutUint16(req.Data[4:], uint16(local.Port)) // idiag_sport
	shown := false
	err = c.Dump(context.Background(), req, nil, func(nlraw.Message) error { shown = true; return nil })
	return err == nil && shown
}
