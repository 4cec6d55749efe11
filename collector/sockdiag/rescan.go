package sockdiag

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// ownPath leads to the namespace of the thread that opens it.
const ownPath = "/proc/thread-self/ns/net"

// list returns the namespaces to read, always with the agent's own, and what the agent lacks the rights to see.
func (s *Source) list(own uint64) (list []netns.Netns, refused []*netns.AccessError, err error) {
	if !s.cfg.OwnNetns {
		list, err = s.find()
		var denied *netns.AccessError
		if errors.As(err, &denied) {
			refused, err = append(refused, denied), nil
		}
	}
	i, ok := slices.BinarySearchFunc(list, own,
		func(n netns.Netns, inode uint64) int { return cmp.Compare(n.Inode, inode) })
	if !ok {
		list = slices.Insert(list, i, netns.Netns{Inode: own})
	}
	list[i].Path = ownPath
	return list, refused, err
}

// rescan looks for namespaces. It opens new ones, and emits an empty dump of those that vanished.
func (r *runner) rescan(ctx context.Context) error {
	list, refused, err := r.source.list(r.own)
	if err != nil {
		r.stats.FindErrors++
		if len(r.namespaces) > 0 {
			return nil
		}
	}
	r.stats.Refused, r.stats.Unread = refused, 0
	known := r.namespaces
	r.namespaces = make([]*namespace, 0, len(list))
	for _, n := range list {
		i, ok := slices.BinarySearchFunc(known, n.Inode,
			func(s *namespace, inode uint64) int { return cmp.Compare(s.inode(), inode) })
		if ok {
			sp := known[i]
			known = slices.Delete(known, i, i+1)
			sp.ns, sp.stats.Path = n, n.Path
			r.namespaces = append(r.namespaces, sp)
			continue
		}
		sp := &namespace{ns: n, stats: NetnsStats{Netns: n.Inode, Path: n.Path, Own: n.Inode == r.own}}
		if r.scanned == 0 { // of what came later all listeners are known
			sp.unsure = newUnsure()
		}
		if r.open(sp) || n.Inode == r.own {
			r.namespaces = append(r.namespaces, sp)
		}
	}
	for _, sp := range known {
		sp.close()
		if err := r.vanished(ctx, sp); err != nil {
			return r.fatal(ctx)
		}
	}
	return nil
}

// vanished emits an empty dump of a namespace: it is gone, or has no flow.
func (r *runner) vanished(ctx context.Context, sp *namespace) error {
	for _, kind := range []collector.Kind{collector.Begin, collector.End} {
		if err := r.reader.mark(ctx, kind, sp.inode()); err != nil {
			return err
		}
	}
	return r.reader.out.Flush(ctx)
}

// open makes the connections of a namespace that it lacks, and reports whether it can be read.
func (r *runner) open(sp *namespace) bool {
	if sp.dump == nil {
		c, err := nlraw.Detached(r.source.dial(sp.ns))
		if err != nil {
			r.unread(sp, err)
			return false
		}
		c.UseBuffer(r.buffer)
		sp.dump = c
	}
	if sp.counter == nil {
		sp.counter = r.source.count(sp.ns)
	}
	if sp.events == nil && !r.source.cfg.WithoutDestroy {
		c, err := r.source.dial(sp.ns)
		if err == nil {
			var large bool
			if large, err = r.source.join(c); err == nil {
				err = c.Detach()
			}
			if err != nil {
				_ = c.Close()
			} else {
				sp.events, sp.drained = c, r.source.cfg.Now()
				sp.stats.Destroyed.Listening, sp.stats.Destroyed.SmallBuffer = true, !large
			}
		}
		if err != nil {
			sp.stats.failed(err, r.source.cfg.Now())
		}
	}
	return true
}

// unread notes a namespace that could not be opened.
func (r *runner) unread(sp *namespace, err error) {
	if errors.Is(err, netns.ErrGone) {
		return
	}
	r.stats.Unread++
	sp.stats.failed(err, r.source.cfg.Now())
	var denied *netns.AccessError
	if errors.As(err, &denied) && !slices.ContainsFunc(r.stats.Refused,
		func(e *netns.AccessError) bool { return e.Missing == denied.Missing }) {
		r.stats.Refused = append(r.stats.Refused, denied)
	}
}
