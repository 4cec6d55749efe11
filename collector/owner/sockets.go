package owner

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/sockdiag"
)

// readSockets puts the owners of the sockets of namespace h into next. It wants them again if a cgroup is new. Where
// next takes the sockets of several namespaces, addresses are the addresses of h; else they are nil.
func (w *Watcher) readSockets(
	ctx context.Context, v *View, h *netns.Handle, addresses []netip.Addr, next *indexer, again uint32,
) error {
	// whose returns the owner of a socket. lost says that its cgroup is known and does not tell it.
	whose := func(f *collector.Flow) (id Identity, lost bool) {
		id, by := v.ofSocket(f, w.outer())
		if by == byNothing {
			w.want(wantCgroups | again)
			return Identity{Kind: collector.KindUnknown}, false
		}
		return id, rank(id.Kind) == 0
	}
	add := func(key flowKey, id Identity) {
		if rank(id.Kind) > 0 {
			next.add(key.bits(), id)
		}
	}
	bound := map[flowKey]Identity{}
	err := sockdiag.DumpBound(ctx, h, w.cfg.Now, func(_ context.Context, events []collector.Event) error {
		for i := range events {
			e := &events[i]
			if e.Kind != collector.Seen || e.Flow.State == collector.Done {
				continue
			}
			id, lost := whose(&e.Flow)
			add(keyOf(&e.Flow), id)
			if lost {
				w.wanted.Or(wantOpeners)
			}
		}
		return nil
	}, func(f *collector.Flow) {
		id, lost := whose(f)
		if lost && !w.orphans[f.Inode] {
			w.orphans[f.Inode] = true
			w.wanted.Or(wantOpeners)
		}
		if other, twice := bound[keyOf(f)]; twice && other != id {
			id = Identity{Kind: collector.KindUnknown} // any of them may have sent
		}
		bound[keyOf(f)] = id
	})
	if addresses != nil {
		spread(bound, addresses)
	}
	for key, id := range bound {
		add(key, id)
	}
	return err
}

// spread puts each of addresses in place of all of them, to which a socket may be bound: other namespaces have sockets
// on that port, too.
func spread(bound map[flowKey]Identity, addresses []netip.Addr) {
	for _, all := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		for key, id := range bound {
			if key.source.Addr() != all {
				continue
			}
			delete(bound, key)
			for _, a := range addresses {
				k := key
				k.source = netip.AddrPortFrom(a, key.source.Port())
				if _, own := bound[k]; !own && (a.Is4() || all.Is6()) { // a socket of IPv4 sends nothing by IPv6
					bound[k] = id
				}
			}
		}
	}
}

// readShared reads the owners of the sockets of shared namespaces if that is wanted. innerErr says why they could not
// be read, until they are read again or no namespace is shared.
func (w *Watcher) readShared(ctx context.Context, v *View, wanted uint32) {
	switch {
	case wanted&wantInner != 0:
		w.readInner(ctx, v)
	case len(v.Several) == 0:
		w.innerErr = nil
	}
}

// readInner reads the owners of the sockets of each namespace that several owners or containers share.
func (w *Watcher) readInner(ctx context.Context, v *View) {
	inner := newIndexer()
	w.innerErr = nil
	defer func() { w.inner = inner.done() }()
	for _, s := range w.namespaces {
		if _, several := w.whose(s); !several || len(s.addresses) == 0 {
			continue
		}
		h, err := netns.Open(w.proc.path(s.pid, "ns/net"))
		if err == nil {
			if s.inode == 0 || h.Inode() == s.inode {
				err = w.readSockets(ctx, v, h, s.addresses, inner, wantInner)
			}
			_ = h.Close()
		}
		if errors.Is(err, fs.ErrPermission) {
			w.innerErr = err
		}
	}
}
