package owner

import (
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
)

// process is what is known of one.
type process struct {
	netKey uint64
	id     Identity
	seen   bool // at this look
}

// space is a network namespace as its processes show it.
type space struct {
	pid       int    // one of them
	inode     uint64 // 0 without CAP_SYS_PTRACE
	addresses []netip.Addr
	id        Identity
	mixed     bool // processes of several owners of the same rank share it
	seen      bool
}

// readProcesses looks at each process that is new, and at all if whole: another process may have taken a number. A
// namespace's addresses are read when it is new, and until it has one.
func (w *Watcher) readProcesses(whole bool) {
	pids, err := w.proc.pids()
	if err != nil && len(pids) == 0 {
		return
	}
	outer := w.outerKey()
	for _, p := range w.processes {
		p.seen = false
	}
	for _, s := range w.spaces {
		*s = space{pid: s.pid, inode: s.inode, addresses: s.addresses, id: Identity{Kind: collector.KindUnknown}}
	}
	for _, pid := range pids {
		p := w.processes[pid]
		if p == nil || whole {
			key, ok := w.proc.netKey(pid)
			if !ok {
				continue
			}
			p = &process{netKey: key, id: w.proc.identity(pid)}
			if rank(p.id.Kind) == 0 && key != outer {
				p.id = Identity{Kind: collector.KindProcess, ID: w.proc.command(pid)}
			}
			w.processes[pid] = p
		}
		p.seen = true
		if p.netKey != outer {
			w.joined(pid, p, whole)
		}
	}
	for pid, p := range w.processes {
		if !p.seen {
			delete(w.processes, pid)
		}
	}
	for key, s := range w.spaces {
		if !s.seen {
			delete(w.spaces, key)
		}
	}
}

// joined counts process p among those of its namespace.
func (w *Watcher) joined(pid int, p *process, whole bool) {
	s := w.spaces[p.netKey]
	if s == nil {
		s = &space{id: Identity{Kind: collector.KindUnknown}}
		w.spaces[p.netKey] = s
	}
	if !s.seen {
		s.seen = true
		s.pid = pid
		if whole || len(s.addresses) == 0 {
			s.addresses = w.proc.addresses(pid)
		}
		if whole || s.inode == 0 {
			s.inode = w.proc.netns(pid)
		}
	}
	id := p.id
	id.Container = ""
	switch {
	case rank(id.Kind) > rank(s.id.Kind):
		s.id, s.mixed = id, false
	case rank(id.Kind) == rank(s.id.Kind) && id != s.id:
		s.mixed = true
	}
}

// outerKey returns the netKey of the outer namespace.
func (w *Watcher) outerKey() (key uint64) {
	_ = w.cfg.Outer.Do(func() error {
		key, _ = inode("/proc/thread-self/net/dev")
		return nil
	})
	return key
}

// combine returns whose the addresses of namespaces are, and notes in v whose the namespaces are.
func (w *Watcher) combine(v *View) map[netip.Addr]Identity {
	out := map[netip.Addr]Identity{}
	for _, s := range w.spaces {
		id := s.id
		if s.mixed {
			id = Identity{Kind: collector.KindUnknown}
		}
		if s.inode != 0 {
			v.Netns[s.inode] = id
		}
		for _, a := range s.addresses {
			if other, twice := out[a]; twice && other != id {
				id = Identity{Kind: collector.KindUnknown}
			}
			out[a] = id
		}
	}
	return out
}

// readInodes finds the sockets of processes that are in no cgroup below the root.
func (w *Watcher) readInodes() {
	w.inodes, w.denied = map[uint32]Identity{}, 0
	for pid, p := range w.processes {
		if rank(p.id.Kind) > rank(collector.KindProcess) {
			continue
		}
		id := Identity{Kind: collector.KindProcess, ID: w.proc.command(pid)}
		if !w.proc.sockets(pid, func(inode uint32) { w.inodes[inode] = id }) {
			w.denied++
		}
	}
}
