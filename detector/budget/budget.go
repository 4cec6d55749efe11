// Package budget says how many ports a node may hold, for how long the provider keeps a port after its flow
// ended, and which flows count: a table of models, one row for each provider, and what a configuration changes
// of a row. Azure's 1024/512/256 stand in table.go.
package budget

import (
	"net/netip"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// Scope says whose ports a budget counts.
type Scope uint8

// The scopes.
const (
	// ScopeNode: this node's own share; nobody else can use it.
	ScopeNode Scope = iota
	// ScopeShared: one stock for all nodes behind the gateway.
	ScopeShared
)

func (s Scope) String() string {
	if s == ScopeShared {
		return "shared"
	}
	return "node"
}

// Stage says where on its way out a flow takes a port of a budget. A flow may hold one at each stage, and the
// budget that is used up first is the one that stops it.
type Stage uint8

// The stages, in the order in which a flow passes them.
const (
	// StageSocket: a port of the machine itself.
	StageSocket Stage = iota
	// StageNode: this machine's NAT.
	StageNode
	// StageBeyond: a NAT further out, such as a cloud's. It sees flows as they leave this machine.
	StageBeyond
	// NumStages is the length of an array indexed by Stage.
	NumStages
)

var stageNames = [NumStages]string{"socket", "node", "beyond"}

func (s Stage) String() string { return stageNames[s] }

// Place says in words where the stage is.
func (s Stage) Place() string {
	return [NumStages]string{"ports of this machine", "NAT of this machine", "NAT beyond this machine"}[s]
}

// Uniqueness says what a port must be unique against: flows that differ in it may
// use the same port at the same time.
type Uniqueness uint8

// The uniquenesses.
const (
	// PerEndpoint: destination address and port. The destination reads 203.0.113.7:443.
	PerEndpoint Uniqueness = iota
	// PerAddress: destination address alone. The destination reads 203.0.113.7:*.
	PerAddress
	// PerNothing: a port serves one flow at a time. The destination reads *.
	PerNothing
)

func (u Uniqueness) String() string {
	switch u {
	case PerAddress:
		return "address"
	case PerNothing:
		return "nothing"
	}
	return "endpoint"
}

// Terms are the numbers of a budget for one protocol.
type Terms struct {
	// Ports a node may hold in one port space; 0 means that this protocol has no
	// budget here and its flows are not counted.
	Ports int
	// Effective is the fill, in ports, at which 1 % of first packets are lost: the
	// effective ceiling. 0 < Effective <= Ports.
	Effective int
	// Unique is what a port must be unique against.
	Unique Uniqueness
	// Total is how many ports all port spaces together may hold; 0 means that only each port space has a limit.
	Total int
	// Idle is how long after its last packet a live flow loses its port; 0 means as long as
	// the kernel shows the flow. A flow that the kernel gave up earlier for want of packets
	// (Idle, Timeout) keeps its port until then.
	Idle time.Duration
	// CoolDown is how long a port stays held after the flow ended, by reason.
	CoolDown [collector.NumReasons]time.Duration
	// HalfOpen is how long an unanswered first packet holds a port; 0 means as
	// long as the kernel shows the flow.
	HalfOpen time.Duration
}

// bound adds a limit on all port spaces together, 0 for none. A total that is below the limit of one port space is the
// only limit that binds: then all flows form one port space.
func (t *Terms) bound(total int) {
	switch {
	case total == 0 || t.Ports == 0:
	case total <= t.Ports:
		t.Effective = max(1, t.Effective*total/t.Ports)
		t.Ports, t.Unique = total, PerNothing
	default:
		t.Total = total
	}
}

// Ceiling returns the effective ceiling in ports, or all ports if none is set.
func (t *Terms) Ceiling() int {
	if t.Effective > 0 {
		return t.Effective
	}
	return t.Ports
}

// Budget is how many ports this node may hold, resolved from a model, a pool
// size and the number of VIPs. It is immutable once made.
type Budget struct {
	Name, Model   string
	Pool, Gateway string
	Scope         Scope
	// Assumed names the terms whose value the provider does not document.
	Assumed []string
	// Source is where the model's numbers come from.
	Source string
	// FailureSignal is where the provider itself tells of exhaustion.
	FailureSignal string

	// VIPs are the public addresses where known; VIPCount counts them also where
	// only their number is known.
	VIPs     []netip.Addr
	VIPCount int
	// SpacePerVIP: each VIP is a port space of its own, because the VIP is fixed
	// by a hash and a failed pick is not retried on another.
	SpacePerVIP bool
	// Classes: ports below 1024 are port spaces of their own, see ClassOf.
	Classes bool
	// Local: the ports are the sockets' own on this machine (Source), not of a VIP. OnNode: the NAT is this machine's,
	// which conntrack need not show.
	Local, OnNode bool

	TCP, UDP Terms

	// Include and Exclude say which destinations count: those in Include (all
	// when empty) and not in Exclude. Translated restricts the budget to flows that
	// this machine translates, to one of VIPs where there are any, and to those from Own, whose
	// ports its NAT cannot give out a second time. PortRange, unless
	// zero, restricts it to ports held in that range: the VIP's, or the Source's where Local.
	// Here are addresses of this machine, to which no flow leaves.
	Include, Exclude []netip.Prefix
	Translated       bool
	Own, Here        []netip.Addr
	PortRange        collector.PortRange
	// Netns restricts the budget to one network namespace; 0 means any.
	Netns uint64

	// Nodes is the pool size; the next two are the table's edge, zero without a table:
	// nodes that can be added before the share shrinks, and the ports after that.
	Nodes           int
	NodesToNextTier int
	NextTierPorts   int

	// Params are what it was resolved from.
	Params Params
}

// Stage returns where on their way out flows take ports of b.
func (b *Budget) Stage() Stage {
	switch {
	case b.Local:
		return StageSocket
	case b.Translated, b.OnNode:
		return StageNode
	}
	return StageBeyond
}

// Terms returns the numbers for protocol p; a protocol other than TCP and UDP
// has none.
func (b *Budget) Terms(p collector.Protocol) *Terms {
	switch p {
	case collector.TCP:
		return &b.TCP
	case collector.UDP:
		return &b.UDP
	}
	return &Terms{}
}

// FreesAtEnd reports whether a new flow can take the port of a TCP flow as soon as that has ended: the NAT of this
// machine evicts closed entries. Conntrack tells of such an end in a dump, or by an event up to 120 s late.
func (b *Budget) FreesAtEnd() bool {
	return b.Translated && b.Params.EvictsTimeWait && b.TCP.Ports > 0 && b.TCP.CoolDown[collector.FIN] == 0
}

// EndsMatter reports whether a port is free before conntrack tells that its TCP flow ended, where that is known so late
// at most.
func (b *Budget) EndsMatter(late time.Duration) bool {
	return b.Stage() != StageSocket && b.TCP.Ports > 0 && b.TCP.CoolDown[collector.FIN] < late
}

// EntryHolds reports whether the port of a TCP flow that has ended is free when its conntrack entry is gone, and not
// before: the NAT is this machine's, its kernel does not evict closed entries, and nobody has configured a cool-down.
func (b *Budget) EntryHolds() bool {
	return b.Translated && !b.Params.EvictsTimeWait && len(b.Params.TCP.CoolDown) == 0
}
