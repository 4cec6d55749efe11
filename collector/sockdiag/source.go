// Package sockdiag reads TCP and UDP sockets over sock_diag: dumps of every
// network namespace that it may enter, and the end of sockets from the destroy
// groups. A socket knows nothing of NAT: VIP is Source. It needs no capability in the
// agent's own namespace, and CAP_SYS_PTRACE and CAP_SYS_ADMIN for the others.
//
// A flow here is a connected socket that this machine opened, towards another
// machine. A socket that is bound and not connected is none.
package sockdiag

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// Config sets up a Source. The zero value works.
type Config struct {
	// Interval is the time from one dump of all namespaces to the next; default 5 s.
	Interval time.Duration
	// Rescan is how often new namespaces are looked for; default 30 s. That one
	// vanished is seen at the next dump.
	Rescan time.Duration
	// OwnNetns reads no namespace but the agent's own.
	OwnNetns bool
	// WithoutDestroy leaves the destroy groups alone. The Source then misses sockets that open and end between two dumps,
	// unless they leave a TIME_WAIT. Listening costs the kernel 2 to 5 µs a socket.
	WithoutDestroy bool
	// Finder finds the namespaces.
	Finder netns.Finder
	// Now is the agent's clock; default a clock of its own.
	Now func() collector.Time
}

// Source reads the sockets of this machine. Its methods may be called at the same time.
type Source struct {
	cfg   Config
	stats atomic.Pointer[Stats]
	// resent is by namespace; Stalls owns it.
	resent map[uint64]*resent

	// What tests replace.
	find  func() ([]netns.Netns, error)
	alive func(netns.Netns) bool
	own   func() (uint64, error)
	dial  func(netns.Netns) (*nlraw.Conn, error)
	join  func(*nlraw.Conn) (large bool, err error)
	count func(netns.Netns) *counter
}

// New returns a Source. It starts nothing.
func New(cfg Config) *Source {
	cfg.Interval = cmp.Or(cfg.Interval, 5*time.Second)
	cfg.Rescan = cmp.Or(cfg.Rescan, 30*time.Second)
	if cfg.Now == nil {
		cfg.Now = collector.Clock()
	}
	s := &Source{
		cfg: cfg, find: cfg.Finder.Find, alive: netns.Netns.Alive, own: netns.Own, dial: dial, join: listen,
		count: openCounter,
	}
	s.stats.Store(&Stats{})
	return s
}

// Stats returns the numbers after the last dump.
func (s *Source) Stats() *Stats { return s.stats.Load() }

// Run emits a dump of all namespaces at each interval, and the ends of sockets in between, until ctx is cancelled or
// sink returns an error, and returns the reason. It returns an error at once if it cannot read even the agent's own
// namespace.
func (s *Source) Run(ctx context.Context, sink collector.Sink) error {
	own, err := s.own()
	if err != nil {
		return err
	}
	r := &runner{source: s, own: own, buffer: make([]byte, nlraw.BufferSize), reader: newReader(s.cfg.Now, sink)}
	defer r.close()
	if err := r.poll(ctx); err != nil {
		return err
	}
	if sp := r.namespace(own); sp == nil || sp.stats.Dumps == 0 {
		if sp != nil && sp.stats.Err != nil {
			return sp.stats.Err
		}
		return errors.New("own network namespace: no sockets could be read")
	}
	poll := time.NewTicker(s.cfg.Interval)
	defer poll.Stop()
	drain := time.NewTimer(r.drainIn())
	defer drain.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
			err = r.poll(ctx)
		case <-drain.C:
			err = r.drain(ctx)
			drain.Reset(r.drainIn())
		}
		if err != nil {
			return err
		}
	}
}

// runner is what one Run owns.
type runner struct {
	source     *Source
	own        uint64
	buffer     []byte
	reader     *reader
	namespaces []*namespace // in order of inode
	stats      Stats

	scanned collector.Time
	drained collector.Time
}

func (r *runner) close() {
	for _, sp := range r.namespaces {
		sp.close()
	}
}

func (r *runner) namespace(inode uint64) *namespace {
	i, ok := slices.BinarySearchFunc(r.namespaces, inode,
		func(s *namespace, n uint64) int { return cmp.Compare(s.inode(), n) })
	if !ok {
		return nil
	}
	return r.namespaces[i]
}

// poll dumps all namespaces.
func (r *runner) poll(ctx context.Context) error {
	now := r.source.cfg.Now()
	due := r.scanned == 0 || now.Sub(r.scanned) >= r.source.cfg.Rescan
	if due || slices.ContainsFunc(r.namespaces, func(sp *namespace) bool { return !r.source.alive(sp.ns) }) {
		if err := r.rescan(ctx); err != nil {
			return err
		}
		r.scanned = now
	}
	for _, sp := range r.namespaces {
		if sp.dump == nil {
			r.open(sp)
		}
		switch {
		case sp.dump == nil:
		case sp.unchanged(r.buffer):
			if err := r.vanished(ctx, sp); err != nil { // as a dump without a flow
				return r.fatal(ctx)
			}
		default:
			err := r.reader.dump(ctx, sp)
			sp.quiet = err == nil && r.reader.tally.Flows+r.reader.tally.Unsure == 0
			if err != nil {
				if fatal := r.fatal(ctx); fatal != nil {
					return fatal
				}
				// What is left of the dump may still be in the socket.
				_ = sp.dump.Close()
				sp.dump = nil
			}
		}
		if err := r.drain(ctx); err != nil {
			return err
		}
	}
	r.publish()
	return nil
}

// fatal returns the error that ends the source after one that a dump or the destroy groups gave, nil if they alone are
// concerned.
func (r *runner) fatal(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return r.reader.out.Refused()
}

// drain reads the destroy groups of all namespaces.
func (r *runner) drain(ctx context.Context) error {
	now := r.source.cfg.Now()
	if r.drained != 0 && now.Sub(r.drained) < drainOften/2 {
		return nil
	}
	r.drained = now
	for _, sp := range r.namespaces {
		if sp.quiet && !sp.stats.Destroyed.SmallBuffer && now.Sub(sp.drained) < drainQuiet {
			continue
		}
		if err := r.reader.drain(ctx, sp); err != nil {
			if fatal := r.fatal(ctx); fatal != nil {
				return fatal
			}
		}
	}
	return nil
}

// drainIn returns how long the destroy groups may wait to be read.
func (r *runner) drainIn() time.Duration {
	every := r.source.cfg.Interval
	for _, sp := range r.namespaces {
		switch {
		case sp.stats.Destroyed.SmallBuffer:
			return drainOften
		case sp.stats.Destroyed.Listening:
			every = drainEvery
		}
	}
	return every
}

// publish shows the numbers of all namespaces in Stats.
func (r *runner) publish() {
	st := r.stats
	st.Netns = make([]NetnsStats, len(r.namespaces))
	st.OwnOnly = len(r.namespaces) == 1 && r.namespaces[0].inode() == r.own &&
		(r.source.cfg.OwnNetns || len(st.Refused) > 0)
	for i, sp := range r.namespaces {
		st.Netns[i] = sp.stats
	}
	r.source.stats.Store(&st)
}
