package sockdiag

import (
	"context"
	"errors"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// Stalls returns the TCP flows of all namespaces whose first SYN was sent again and is unanswered. It asks the kernel
// for sockets in SYN_SENT only, an eighth of a full dump's work, and spares namespaces that sent no SYN again since
// they had none. It needs no Run beside it, and only one goroutine may call it. It returns all flows that it could
// read, and an error that joins what it could not read, such as an *netns.AccessError. A namespace that vanished
// meanwhile is no error.
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
		before = s.resent
	)
	s.resent = make(map[uint64]*resent, len(list))
	for _, n := range list {
		quiet := before[n.Inode]
		if quiet == nil {
			quiet = &resent{}
		}
		s.resent[n.Inode] = quiet
		if quiet.spared(processFolder(n, own), buffer) {
			continue
		}
		c, err := s.dial(n)
		if errors.Is(err, netns.ErrGone) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.UseBuffer(buffer)
		stalled := 0
		err = r.ask(ctx, &namespace{ns: n, dump: c}, collector.TCP, 1<<tcpSynSent, func(m nlraw.Message) error {
			if !r.parse(m) || r.socket.state != tcpSynSent || r.socket.retrans == 0 {
				return nil
			}
			stalled++
			if r.socket.leavesMachine() {
				var f collector.Flow
				r.socket.flow(&f, collector.TCP, n.Inode, r.written)
				flows = append(flows, f)
			}
			return nil
		})
		_ = c.Close()
		quiet.quiet = err == nil && stalled == 0
		if err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return flows, errors.Join(errs...)
}
