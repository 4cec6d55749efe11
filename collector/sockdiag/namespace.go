package sockdiag

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// namespace is one network namespace that the Source reads. Its netlink sockets keep the namespace alive, so each poll
// checks whether anybody else still uses it.
type namespace struct {
	ns     netns.Netns
	dump   *nlraw.Conn // dumps and single look-ups; nil after an error
	events *nlraw.Conn // destroy groups; nil where they are not listened to

	tcp, udp heard
	unsure   *unsure
	filter   int            // how many dumps to go without loopback
	drained  collector.Time // when the destroy groups were last read
	// counter is nil where the kernel's counts cannot be read. quiet: the last dump showed no flow. counts and ends are
	// how many sockets there were, and had ended, just before; skipped dumps came since.
	counter *counter
	quiet   bool
	counts  counts
	ends    uint64
	skipped int
	stats   NetnsStats
}

func (s *namespace) inode() uint64 { return s.ns.Inode }

func (s *namespace) close() {
	for _, c := range []*nlraw.Conn{s.dump, s.events} {
		if c != nil {
			_ = c.Close()
		}
	}
	s.counter.close()
	s.dump, s.events, s.counter = nil, nil, nil
}

// unchanged reports whether a dump would show no flow, as its last one did.
func (s *namespace) unchanged(buffer []byte) bool {
	now := s.counter.read(buffer)
	ends := s.stats.Destroyed.Told + s.stats.Destroyed.Overruns
	most := skipMax
	if now.udp > 0 {
		most = skipMaxUDP
	}
	same := s.quiet && now.known && s.events != nil && now == s.counts && ends == s.ends && s.skipped < most
	s.counts, s.ends = now, ends
	if !same {
		s.skipped = 0
		return false
	}
	s.skipped++
	return true
}

// dial opens a sock_diag socket inside n. The error is an *netns.AccessError if rights are missing, and wraps
// netns.ErrGone if the namespace is gone.
func dial(n netns.Netns) (*nlraw.Conn, error) {
	h, err := n.Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = h.Close() }()
	return dialIn(h)
}

// dialIn opens a sock_diag socket inside the namespace of h.
func dialIn(h *netns.Handle) (*nlraw.Conn, error) {
	var c *nlraw.Conn
	err := h.Do(func() (err error) {
		c, err = nlraw.Dial(unix.NETLINK_INET_DIAG, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	return c, nil
}

// receiveBuffer holds about 16 000 destroyed sockets: what closes during a long dump.
const receiveBuffer = 32 << 20

// listen joins the destroy groups. large reports whether the receive buffer has the size receiveBuffer.
func listen(c *nlraw.Conn) (large bool, err error) {
	nl := c.Netlink()
	var errs []error
	for _, group := range []uint32{groupTCPDestroy, groupUDPDestroy, groupTCP6Destroy, groupUDP6Destroy} {
		if err := nl.JoinGroup(group); err != nil {
			errs = append(errs, fmt.Errorf("join destroy group %d: %w", group, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return false, err
	}
	if err := nl.SetReadBuffer(receiveBuffer); err != nil {
		return false, err
	}
	size, err := c.ReadBuffer()
	return size >= receiveBuffer, err
}
