package owner

import (
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
)

// View is what the Watcher saw of the machine at its last look. It is immutable.
type View struct {
	// Cgroups tells by the id of a cgroup whose its sockets are, also for some minutes after it is gone.
	Cgroups map[uint64]Identity
	// Addresses tells by the address of a namespace on this machine whose its flows are; KindUnknown where two
	// namespaces have the address, or the processes of several owners share the namespace.
	Addresses map[netip.Addr]Identity
	// Netns tells the same by inode number, where CAP_SYS_PTRACE lets us see it.
	Netns map[uint64]Identity
	// Own are the addresses of the namespace in which flows leave.
	Own map[netip.Addr]bool
	// Sockets tells by flow whose a socket of that namespace is.
	Sockets map[flowKey]Identity
	// Inodes tells by a socket's inode number which process has it open, for sockets of no cgroup below the root.
	Inodes map[uint32]Identity
	// Names are of pods, by UID, and of containers, by ID, as far as files of this machine give them.
	Names map[string]string
	// Missing says what cannot be told, why, and which right would help.
	Missing []string
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

// ofSocket returns whose a socket is: by its cgroup, by its process where the cgroup is the root, by its namespace
// where that says more, as a container of a hybrid layout may be in the v1 trees alone.
func (v *View) ofSocket(f *collector.Flow, outer uint64) (Identity, found) {
	id, known := v.Cgroups[f.Cgroup]
	if f.Netns != outer {
		if ns, ok := v.Netns[f.Netns]; ok && rank(ns.Kind) > rank(id.Kind) {
			return ns, byGroup
		}
	}
	if rank(id.Kind) == 0 && f.Inode != 0 {
		if p, ok := v.Inodes[f.Inode]; ok {
			return p, byProcess
		}
	}
	if !known {
		return id, byNothing
	}
	return id, byGroup
}

// ofFlow returns whose a flow of conntrack is. shared says that other flows of its address may be another's.
func (v *View) ofFlow(f *collector.Flow) (id Identity, shared bool) {
	id, known := v.Addresses[f.Source.Addr()]
	if v.Own[f.Source.Addr()] || known && rank(id.Kind) == 0 {
		return v.Sockets[keyOf(f)], true
	}
	if !known {
		return clientAt(f.Source.Addr()), false
	}
	return id, false
}

// clientAt is the client of that address.
func clientAt(a netip.Addr) Identity { return Identity{Kind: collector.KindClient, ID: a.String()} }

// shortID is how many digits of a container's ID runtimes show.
const shortID = 12

// Name returns id as it is shown, by the names that the machine's own files give.
func (v *View) Name(id Identity) collector.Owner {
	w := collector.Owner{Kind: id.Kind, Name: id.ID}
	if name, ok := v.Names[id.ID]; ok {
		w.Name = name
		return w
	}
	switch id.Kind {
	case collector.KindContainer:
		w.Name = id.ID[:min(shortID, len(id.ID))]
	case "", collector.KindUnknown, collector.KindOther:
		if w.Kind == "" {
			w.Kind = collector.KindUnknown
		}
		w.Name = string(w.Kind)
	}
	return w
}
