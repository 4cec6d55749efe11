package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"github.com/mdlayher/socket"
	"golang.org/x/sys/unix"
)

// Host is one machine of the lab.
type Host struct {
	Name string
	// Addr and Addr6 are its own addresses; the router has none.
	Addr, Addr6 netip.Addr

	ns   *namespace
	rtnl rtnl
	diag *netlink.Conn // of sock_diag
}

// newHost makes a machine with loopback up.
func newHost(name string) (*Host, error) {
	ns, err := newNamespace()
	if err != nil {
		return nil, err
	}
	h := &Host{Name: name, ns: ns}
	if err := h.start(); err != nil {
		h.close()
		return nil, fmt.Errorf("start host %s: %w", name, err)
	}
	return h, nil
}

func (h *Host) start() (err error) {
	at := &netlink.Config{NetNS: h.FD()}
	if h.rtnl.c, err = netlink.Dial(unix.NETLINK_ROUTE, at); err != nil {
		return err
	}
	if h.diag, err = netlink.Dial(unix.NETLINK_SOCK_DIAG, at); err != nil {
		return err
	}
	lo, err := h.rtnl.index("lo")
	if err != nil {
		return err
	}
	return h.rtnl.up(lo)
}

func (h *Host) close() {
	for _, c := range []*netlink.Conn{h.rtnl.c, h.diag} {
		if c != nil {
			_ = c.Close()
		}
	}
	_ = h.ns.close()
}

// Do runs f on a thread inside the host and returns its error. f must not wait for
// long: there is one such thread per host.
func (h *Host) Do(f func() error) error { return h.ns.do(f) }

// At is the host's IPv4 address with a port.
func (h *Host) At(port uint16) netip.AddrPort { return netip.AddrPortFrom(h.Addr, port) }

// FD is the file descriptor of the host's network namespace, open until the lab is closed.
func (h *Host) FD() int { return int(h.ns.file.Fd()) }

// Path is the namespace as another process can open it, for nsenter --net=PATH.
func (h *Host) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), h.FD()) }

// Netns is the inode number of the host's network namespace.
func (h *Host) Netns() uint64 { return h.ns.inode }

// Set writes sysctls of the host, by their dotted names.
func (h *Host) Set(sysctls map[string]string) error {
	return h.ns.do(func() error {
		for name, value := range sysctls {
			if err := os.WriteFile(sysctlPath(name), []byte(value), 0); err != nil {
				return fmt.Errorf("set %s of %s: %w", name, h.Name, err)
			}
		}
		return nil
	})
}

// Sysctl reads a sysctl of the host that is a number.
func (h *Host) Sysctl(name string) (int, error) {
	var text []byte
	err := h.ns.do(func() (err error) {
		text, err = os.ReadFile(sysctlPath(name))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read %s of %s: %w", name, h.Name, err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read %s of %s: %w", name, h.Name, err)
	}
	return n, nil
}

func sysctlPath(name string) string { return "/proc/sys/" + strings.ReplaceAll(name, ".", "/") }

// Dial connects from the host to a TCP destination. Closed without Shutdown, the
// connection is reset.
func (h *Host) Dial(ctx context.Context, to netip.AddrPort) (*socket.Conn, error) {
	fds, err := h.sockets(family(to.Addr()), unix.SOCK_STREAM, 1)
	if err != nil {
		return nil, err
	}
	c, err := socket.New(fds[0], "tcp")
	if err != nil {
		closeAll(fds)
		return nil, fmt.Errorf("dial %v from %s: %w", to, h.Name, err)
	}
	if _, err := c.Connect(ctx, sockaddr(to)); err != nil {
		return nil, errors.Join(fmt.Errorf("dial %v from %s: %w", to, h.Name, err), c.Close())
	}
	return c, nil
}

// Socket makes a non-blocking TCP socket of the host.
func (h *Host) Socket(family int) (int, error) {
	fds, err := h.sockets(family, unix.SOCK_STREAM, 1)
	if err != nil {
		return -1, err
	}
	return fds[0], nil
}

// sockets makes n non-blocking sockets in the host; a stream resets when it is closed, so that a
// process that dies leaves no socket that waits for its peer and keeps the namespace alive.
func (h *Host) sockets(family, typ, n int) ([]int, error) {
	fds := make([]int, 0, n)
	err := h.ns.do(func() error {
		for range n {
			fd, err := unix.Socket(family, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			fds = append(fds, fd)
			if typ != unix.SOCK_STREAM {
				continue
			}
			if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		closeAll(fds)
		return nil, fmt.Errorf("make %d sockets in %s: %w", n, h.Name, err)
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// Listen listens on a TCP address of the host.
func (h *Host) Listen(ctx context.Context, at netip.AddrPort) (*net.TCPListener, error) {
	var l net.Listener
	err := h.ns.do(func() (err error) {
		var lc net.ListenConfig
		l, err = lc.Listen(ctx, "tcp", at.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", h.Name, err)
	}
	return l.(*net.TCPListener), nil
}

// ListenUDP listens on a UDP address of the host.
func (h *Host) ListenUDP(ctx context.Context, at netip.AddrPort) (*net.UDPConn, error) {
	var c net.PacketConn
	err := h.ns.do(func() (err error) {
		var lc net.ListenConfig
		c, err = lc.ListenPacket(ctx, "udp", at.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", h.Name, err)
	}
	return c.(*net.UDPConn), nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
