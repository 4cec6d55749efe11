package sockdiag

import (
	"context"
	"errors"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// Stalls returns the TCP flows of all namespaces whose first SYN was sent again and is unanswered. It asks the kernel
// for sockets in SYN_SENT only, an eighth of a full dump's work, of namespaces that have a TCP socket, and needs no Run
// beside it. It returns all flows
// that it could read, and an error that joins what it could not read, such as an *netns.AccessError. A namespace that
// vanished meanwhile is no error.
func (s *Source) Stalls(ctx context.Context) ([]collector.Flow, error) {
	own, err := s.own()
	if err != nil {
		return nil, err
	}
	list, refused, err := s.list(own)
	errs := []error{err}
	for _, e := range refused {
		errs = append(errs, e)
	}
	var (
		flows  []collector.Flow
		buffer = make([]byte, nlraw.BufferSize)
		r      = newReader(s.cfg.Now, nil)
	)
	for _, n := range s.busy(list, buffer) {
		c, err := s.dial(n)
		if errors.Is(err, netns.ErrGone) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.UseBuffer(buffer)
		err = r.ask(ctx, &space{ns: n, dump: c}, collector.TCP, 1<<tcpSynSent, func(m nlraw.Message) error {
			if r.parse(m) && r.socket.state == tcpSynSent && r.socket.retrans > 0 && r.socket.leavesMachine() {
				var f collector.Flow
				r.socket.flow(&f, collector.TCP, n.Inode, r.written)
				flows = append(flows, f)
			}
			return nil
		})
		_ = c.Close()
		if err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return flows, errors.Join(errs...)
}

// busy returns the namespaces of list but those that are known to have no TCP socket, which is cheap to know: the kernel
// walks its whole table for each namespace that it is asked of, and most are pods that open nothing.
func (s *Source) busy(list []netns.Netns, buffer []byte) (out []netns.Netns) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[uint64]*counter, len(list))
	for _, n := range list {
		c := s.counters[n.Inode]
		if c == nil {
			c = s.count(n)
		}
		next[n.Inode] = c
		if now := c.read(buffer); !now.known || now.tcp > 0 {
			out = append(out, n)
		}
		delete(s.counters, n.Inode)
	}
	for _, c := range s.counters { // their namespaces are gone but for our files
		c.close()
	}
	s.counters = next
	return out
}
