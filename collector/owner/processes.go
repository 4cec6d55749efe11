package owner

import (
	"net/netip"
	"slices"

	"github.com/snatwatch/snatwatch/collector"
)

// process is what is known of one.
type process struct {
	netKey uint64
	id     Identity
	// carried is what the cgroup tells that the process's sockets carry.
	carried Identity
	pause   bool // of a pod, with the name of the program that does nothing but hold its namespaces open
	seen    bool // at this look
	// fresh: in another namespace and in no container at the first look at it. A runtime may be about to make it one.
	fresh bool
}

// namespace is a network namespace as its processes show it.
type namespace struct {
	pid       int    // one of them
	inode     uint64 // 0 without CAP_SYS_PTRACE
	addresses []netip.Addr
	ids       []Identity // of its processes, those alone whose kind tells the most
	seen      bool
}

// idsMax bounds how many owners of one namespace are told apart.
const idsMax = 64

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
	w.pauses, w.hides = map[string]bool{}, map[Identity]bool{}
	for _, s := range w.namespaces {
		*s = namespace{pid: s.pid, inode: s.inode, addresses: s.addresses}
	}
	for _, pid := range pids {
		p := w.processes[pid]
		if p == nil || p.fresh || whole {
			key, ok := w.proc.netKey(pid)
			if !ok {
				continue
			}
			first := p == nil
			p = &process{netKey: key}
			p.id, p.carried = w.proc.identity(pid)
			if w.cfg.Tree == "" {
				p.carried = Identity{Kind: collector.KindUnknown}
			}
			switch {
			case rank(p.id.Kind) == 0 && key != outer:
				p.id = Identity{Kind: collector.KindProcess, ID: w.proc.command(pid)}
			case p.id.Container != "":
				command := w.proc.command(pid)
				p.pause = command == "pause" || command == "pod" // containerd, Docker, CRI-O; CRI-O of OpenShift
			}
			p.fresh = first && key != outer && rank(p.id.Kind) < rank(collector.KindContainer)
			w.processes[pid] = p
		}
		p.seen = true
		if idle, told := w.pauses[p.id.Container]; p.id.Container != "" {
			w.pauses[p.id.Container] = p.pause && (idle || !told)
		}
		if p.netKey == outer {
			if rank(p.id.Kind) > rank(p.carried.Kind) && rank(p.carried.Kind) > 0 {
				w.hides[p.carried] = true
			}
		} else {
			w.joined(pid, p, whole)
		}
	}
	for pid, p := range w.processes {
		if !p.seen {
			delete(w.processes, pid)
		}
	}
	for key, s := range w.namespaces {
		if !s.seen {
			delete(w.namespaces, key)
		}
	}
}

// joined counts process p among the processes of its namespace.
func (w *Watcher) joined(pid int, p *process, whole bool) {
	s := w.namespaces[p.netKey]
	if s == nil {
		s = &namespace{}
		w.namespaces[p.netKey] = s
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
	switch {
	case p.fresh:
	case len(s.ids) == 0 || rank(p.id.Kind) > rank(s.ids[0].Kind):
		s.ids = append(s.ids[:0], p.id)
	case rank(p.id.Kind) == rank(s.ids[0].Kind) && len(s.ids) < idsMax && !slices.Contains(s.ids, p.id):
		s.ids = append(s.ids, p.id)
	}
}

// whose returns whose namespace s is. several says that its sockets have more than one owner, or are of more than one
// container of the pod that is returned.
func (w *Watcher) whose(s *namespace) (id Identity, several bool) {
	first := true
	for _, other := range s.ids {
		switch {
		case w.sandbox(other, s.ids):
		case first:
			id, first = other, false
		case other == id:
		case other.Kind == collector.KindPod && other.ID == id.ID:
			id.Container, several = "", true
		default:
			return Identity{Kind: collector.KindUnknown}, true
		}
	}
	if first {
		id = Identity{Kind: collector.KindUnknown}
		if len(s.ids) > 0 { // a pod whose sandbox alone runs
			id = s.ids[0]
			id.Container = ""
		}
	}
	return id, several
}

// sandbox reports whether id is the container that holds its pod's namespaces open and opens no flow: where a runtime
// says so, and where it does nothing but pause and has no log while another container of the pod has one.
func (w *Watcher) sandbox(id Identity, all []Identity) bool {
	if id.Kind != collector.KindPod || id.Container == "" {
		return false
	}
	if w.names.sandboxes[id.Container] {
		return true
	}
	return w.pauses[id.Container] && w.names.of[id.Container] == "" && slices.ContainsFunc(all, func(other Identity) bool {
		return other.ID == id.ID && w.names.of[other.Container] != ""
	})
}

// outerKey returns the netKey of the outer namespace.
func (w *Watcher) outerKey() (key uint64) {
	_ = w.cfg.Outer.Do(func() error {
		key, _ = inode("/proc/thread-self/net/dev")
		return nil
	})
	return key
}

// combine notes in v whose the namespaces and their addresses are.
func (w *Watcher) combine(v *View) {
	v.Addresses, v.Netns, v.Several = map[netip.Addr]Identity{}, map[uint64]Identity{}, map[netip.Addr]bool{}
	v.Stands = map[netip.Addr]Stand{}
	for key, s := range w.namespaces {
		whose, several := w.whose(s)
		if s.inode != 0 {
			v.Netns[s.inode] = whose
		}
		for _, a := range s.addresses {
			id := whose
			if other, twice := v.Addresses[a]; twice && other != id {
				id = Identity{Kind: collector.KindUnknown}
			}
			v.Addresses[a] = id
			v.Stands[a] = Stand{s.pid, key}
			if several {
				v.Several[a] = true
			}
		}
	}
}

// readInodes finds the sockets of processes whose owner the cgroup of their sockets does not tell.
func (w *Watcher) readInodes() {
	inodes := newIndexer()
	w.denied = 0
	for pid, p := range w.processes {
		if rank(p.carried.Kind) > 0 && !w.hides[p.carried] {
			continue
		}
		id := p.id
		if rank(id.Kind) == 0 {
			id = Identity{Kind: collector.KindProcess, ID: w.proc.command(pid)}
		}
		if !w.proc.sockets(pid, func(inode uint32) { inodes.add(uint64(inode), id) }) {
			w.denied++
		}
	}
	w.inodes = inodes.done()
}
