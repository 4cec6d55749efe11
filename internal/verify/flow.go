package verify

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// flowState is what has become of a flow.
type flowState uint8

const (
	opening  flowState = iota // its SYN is not answered yet
	open                      // it is established and held
	failed                    // it did not open
	lost                      // it was open and ended before it was released
	released                  // it was closed by the test
)

// flow is one socket of the test.
type flow struct {
	fd    int
	since time.Time
	// cause of the failure or the loss: a kernel name such as ETIMEDOUT, or one of the causes below.
	cause  string
	banner []byte // what the target has said so far
	seen   netip.AddrPort
	state  flowState
	told   bool // the target's first line was read, or is not one of ours
}

// Causes that no errno names.
const (
	causeNoAnswer = "no answer" // nothing came back within the timeout
	causeFIN      = "FIN"       // the target closed an open flow
)

// family returns the address family of a socket to a.
func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// newSocket makes a socket that resets its flow when it is closed.
func newSocket(socket func(int) (int, error), to netip.AddrPort) (int, error) {
	fd, err := socket(family(to.Addr()))
	if err != nil {
		return -1, err
	}
	err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// errnoName names an error as the kernel's headers do.
func errnoName(err error) string {
	var e unix.Errno
	if errors.As(err, &e) {
		if name := unix.ErrnoName(e); name != "" {
			return name
		}
	}
	return err.Error()
}

// socketError returns the pending error of a socket, nil if there is none.
func socketError(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if n != 0 {
		return unix.Errno(n)
	}
	return nil
}

// bannerMost is longer than any first line of the server.
const bannerMost = 80

// hear adds what the target said; once its first line is complete it is parsed.
func (f *flow) hear(b []byte) {
	if f.told {
		return
	}
	f.banner = append(f.banner, b[:min(len(b), bannerMost)]...)
	i := bytes.IndexByte(f.banner, '\n')
	if i < 0 && len(f.banner) < bannerMost {
		return
	}
	f.told = true
	if i >= 0 {
		f.seen, _ = parseBanner(string(f.banner[:i]))
	}
	f.banner = nil
}

// bannerWord begins the server's first line; the caller's address and port follow.
const bannerWord = "snatwatch-verify"

func formatBanner(seen netip.AddrPort) string { return fmt.Sprintf("%s %v\n", bannerWord, seen) }

// parseBanner returns the address in the server's first line; not ok if it is another server's line.
func parseBanner(line string) (seen netip.AddrPort, ok bool) {
	text, ok := strings.CutPrefix(strings.TrimRight(line, "\r"), bannerWord+" ")
	if !ok {
		return netip.AddrPort{}, false
	}
	seen, err := netip.ParseAddrPort(text)
	return seen, err == nil
}
