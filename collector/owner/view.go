package owner

import (
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
)

// View is what the Watcher saw of the machine at its last look. It is immutable.
type View struct {
	// Began is when the look began.
	Began collector.Time
	// Cgroups tells by the id of a cgroup whose its sockets are, also for some minutes after it is gone. Nil where no
	// cgroup v2 tree is mounted.
	Cgroups map[uint64]Identity
	// Hides are the owners by cgroup within which a runtime runs containers that only a v1 tree shows.
	Hides map[Identity]bool
	// Addresses tells by the address of a namespace on this machine whose its flows are; KindUnknown where two
	// namespaces have the address, or the processes of several owners share the namespace.
	Addresses map[netip.Addr]Identity
	// Stands tells by such an address a process of the namespace: once that is gone, another may have the address.
	Stands map[netip.Addr]Stand
	// Several are the addresses of namespaces that several owners share, or several containers of one pod.
	Several map[netip.Addr]bool
	// Netns tells the same by inode number, where CAP_SYS_PTRACE lets us see it.
	Netns map[uint64]Identity
	// Own are the addresses of the namespace in which flows leave.
	Own map[netip.Addr]bool
	// Sockets tells by flow whose a socket of that namespace is, and Inner the same of namespaces that several share.
	Sockets, Inner *index
	// Inodes tells by a socket's inode number whose the process is that has it open, for sockets whose cgroup is the
	// root or one of Hides.
	Inodes *index
	// Names are of pods, by UID, and of containers, by ID, as far as files of this machine give them. A container of a
	// pod has the name that it has there.
	Names map[string]string
	// Missing says what the Watcher cannot find out, why, and which right would help.
	Missing []string
}

// Stand is a process of a network namespace, and what netKey says of that.
type Stand struct {
	pid    int
	netKey uint64
}

// flowKey is a flow as its socket sees it.
type flowKey struct {
	source, destination netip.AddrPort
	protocol            collector.Protocol
}

func keyOf(f *collector.Flow) flowKey { return flowKey{f.Source, f.Destination, f.Protocol} }

// found says by what a socket's owner is known.
type found uint8

const (
	byNothing found = iota // its cgroup is new
	byGroup                // its cgroup or its namespace: all sockets of both have this owner
	byProcess              // the process that has it open
)

// ofSocket returns whose a socket is: by its cgroup, by its namespace where that says more, as a container of a hybrid
// layout may be in the v1 trees alone, and by its process where neither tells.
func (v *View) ofSocket(f *collector.Flow, outer uint64) (Identity, found) {
	id, known := v.Cgroups[f.Cgroup]
	known = known || v.Cgroups == nil
	if f.Netns != outer {
		if ns, ok := v.Netns[f.Netns]; ok && rank(ns.Kind) > rank(id.Kind) {
			return ns, byGroup
		}
	}
	if f.Inode != 0 && (rank(id.Kind) == 0 || f.Netns == outer && v.Hides[id]) {
		if p, ok := v.Inodes.find(uint64(f.Inode)); ok {
			return p, byProcess
		}
		id = Identity{Kind: collector.KindUnknown}
	}
	if !known {
		return id, byNothing
	}
	return id, byGroup
}

// ofFlow returns whose a flow of conntrack is that is not of the machine's own address. wanted is what the next look
// could tell of it; 0 if all flows of its address have the same answer.
func (v *View) ofFlow(f *collector.Flow) (id Identity, wanted uint32) {
	a := f.Source.Addr()
	id, known := v.Addresses[a]
	switch {
	case !known:
		return clientAt(a), 0
	case rank(id.Kind) > 0 && !v.Several[a]:
		return id, 0
	}
	socket, ok := v.Inner.of(f)
	if ok && (rank(id.Kind) == 0 || socket.Kind == id.Kind && socket.ID == id.ID) {
		return socket, wantInner
	}
	return id, wantInner
}

// clientAt is the client of that address.
func clientAt(a netip.Addr) Identity { return Identity{Kind: collector.KindClient, ID: a.String()} }

// shortID is how many digits of a container's ID runtimes show.
const shortID = 12

// Name returns id as it is shown, by the names that the machine's own files give.
func (v *View) Name(id Identity) collector.Owner {
	w := collector.Owner{Kind: id.Kind, Name: id.ID, Container: v.container(id.Container)}
	if name, ok := v.Names[id.ID]; ok {
		w.Name = name
		return w
	}
	switch id.Kind {
	case collector.KindContainer:
		w.Name = v.container(id.ID)
	case "", collector.KindUnknown, collector.KindOther:
		if w.Kind == "" {
			w.Kind = collector.KindUnknown
		}
		w.Name = string(w.Kind)
	}
	return w
}

// container returns the name of a container, or the first digits of its ID.
func (v *View) container(id string) string {
	if name, ok := v.Names[id]; ok {
		return name
	}
	return id[:min(shortID, len(id))]
}
