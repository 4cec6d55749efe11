package budget

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// Params are what a budget is resolved from. The zero value of a field means
// that it was not given.
type Params struct {
	Name, Model   string
	Pool, Gateway string

	// Nodes is the pool size.
	Nodes int
	// VIPs are the public addresses; VIPCount stands in where only their number is
	// known. With neither there is one.
	VIPs     []netip.Addr
	VIPCount int
	// Own are addresses of this machine among the VIPs, or all that it has where there are none. A flow from there
	// holds a port of the VIP even if nothing translates it. Only for a model that translates here.
	Own []netip.Addr
	// Here are addresses of this machine. A flow to one of them comes in, or never leaves, and no NAT further out gives
	// it a port. Only for a model of such a NAT.
	Here []netip.Addr

	// Ports per node: the allocation of the models that are given one.
	Ports int
	// MaxPorts is where an allocation that grows on demand stops.
	MaxPorts int
	// AliasRanges: the node has an alias range of /24 or larger (GKE).
	AliasRanges bool
	// PortRange is the range that ports are picked from, Reserved what is taken out of it.
	PortRange collector.PortRange
	Reserved  []collector.PortRange
	// Pools are the ports of each VIP where a failed pick is retried in all of them and they are not PortRange of
	// every VIP. PortRange then goes from the first of all ports to the last.
	Pools []Pool
	// SpacePerVIP: the VIP is fixed by a hash of source and destination.
	SpacePerVIP bool
	// EvictsTimeWait: the kernel gives the port of a closed entry to a new flow.
	EvictsTimeWait bool
	// EntryFIN and EntryRST are how long conntrack keeps the entry of a closed flow, which holds its port where the
	// kernel does not evict it: nf_conntrack_tcp_timeout_time_wait and _close. Default: as the model says.
	EntryFIN, EntryRST time.Duration
	// ReuseTimeWait is how long after its end the kernel gives the local port of a flow to another one; 0 means that it
	// waits for the end of TIME_WAIT.
	ReuseTimeWait time.Duration
	// Instances of the gateway, each with ports of its own.
	Instances int
	// Blocks of ports that a node gets, each of Ports.
	Blocks int
	// Retries is how many ports are tried before a first packet is dropped.
	Retries int
	// Shared: one stock for all nodes; only for a model that leaves it open.
	Shared bool
	// EffectiveCeiling is the fraction of the ports at which 1 % of first packets are lost.
	EffectiveCeiling float64

	TCP, UDP Overrides

	// Include and Exclude say which destinations count; see Budget.
	Include, Exclude []netip.Prefix
	Netns            uint64
}

// Pool is ports of one VIP.
type Pool struct {
	VIP   netip.Addr
	Ports collector.PortRange
}

// givenVIPs returns the number of VIPs, 0 where none was given; vips then returns 1.
func (p *Params) givenVIPs() int { return max(p.VIPCount, len(p.VIPs)) }

func (p *Params) vips() int { return max(1, p.givenVIPs()) }

// Overrides are terms of one protocol given instead of the model's own; nil is
// not given.
type Overrides struct {
	// Ports 0 says that the protocol is not translated here; other numbers are for static.
	Ports    *int
	Unique   *Uniqueness
	Idle     *time.Duration
	HalfOpen *time.Duration
	CoolDown map[collector.Reason]time.Duration
}

// KeyError says which parameter a model refuses, and what would be right.
type KeyError struct {
	// Key is the parameter as a config names it, such as "nodes", "vips[1]" or "tcp.idle".
	Key string
	// Value is what was given, empty when nothing was.
	Value string
	// Want completes "want …".
	Want string
}

func (e *KeyError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("%s: missing, want %s", e.Key, e.Want)
	}
	return fmt.Sprintf("%s: %s, want %s", e.Key, e.Value, e.Want)
}

func badKey(key string, value any, want string, args ...any) *KeyError {
	e := &KeyError{Key: key, Want: fmt.Sprintf(want, args...)}
	if value != nil {
		e.Value = fmt.Sprint(value)
	}
	return e
}
