package config

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// The types of this file are scalars. The error of UnmarshalText says what would
// be right.

// Source is where flows are seen.
type Source string

// The sources.
const (
	SourceAuto      Source = "auto"
	SourceConntrack Source = "conntrack"
	SourceSockets   Source = "sockets"
)

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Source) UnmarshalText(b []byte) error {
	return oneOf(s, b, SourceAuto, SourceConntrack, SourceSockets)
}

// Strategy is how conntrack is read.
type Strategy string

// The strategies.
const (
	StrategyAuto   Strategy = "auto"
	StrategyPoll   Strategy = "poll"
	StrategyEvents Strategy = "events"
)

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Strategy) UnmarshalText(b []byte) error {
	return oneOf(s, b, StrategyAuto, StrategyPoll, StrategyEvents)
}

// NodesFrom is where the nodes of a pool are counted.
type NodesFrom string

// NodesKubernetes counts the nodes that the API server of the cluster lists.
const NodesKubernetes NodesFrom = "kubernetes"

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *NodesFrom) UnmarshalText(b []byte) error {
	if string(b) != string(NodesKubernetes) {
		return errors.New("kubernetes, or no such key")
	}
	*f = NodesKubernetes
	return nil
}

// Unique is what a port must be unique against.
type Unique string

// UnmarshalText implements encoding.TextUnmarshaler.
func (u *Unique) UnmarshalText(b []byte) error {
	return oneOf(u, b, "endpoint", "address", "nothing")
}

func (u Unique) uniqueness() budget.Uniqueness {
	for _, d := range []budget.Uniqueness{budget.PerAddress, budget.PerNothing} {
		if d.String() == string(u) {
			return d
		}
	}
	return budget.PerEndpoint
}

func oneOf[T ~string](dst *T, b []byte, values ...T) error {
	var names []string
	for _, v := range values {
		if string(v) == string(b) {
			*dst = v
			return nil
		}
		names = append(names, string(v))
	}
	return errors.New(strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1])
}

// PortRange is written first-last, or as one port.
type PortRange struct{ collector.PortRange }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *PortRange) UnmarshalText(b []byte) error {
	want := errors.New("first-last, each a port from 1 to 65535, first not above last")
	first, last, ranged := strings.Cut(string(b), "-")
	if !ranged {
		last = first
	}
	f, err := strconv.ParseUint(first, 10, 16)
	if err != nil {
		return want
	}
	l, err := strconv.ParseUint(last, 10, 16)
	if err != nil || f == 0 || f > l {
		return want
	}
	r.First, r.Last = uint16(f), uint16(l)
	return nil
}

// SharedDestination is a destination as the label shows it: 203.0.113.7:443,
// [2001:db8::7]:443, or with * for the port where a budget does not tell ports apart.
type SharedDestination string

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *SharedDestination) UnmarshalText(b []byte) error {
	s := string(b)
	host, wildcard := strings.CutSuffix(s, ":*")
	if wildcard {
		s = host + ":1"
	}
	p, err := netip.ParseAddrPort(s)
	if err != nil || p.Port() == 0 || p.Addr().Zone() != "" {
		return errors.New("an address and port such as 203.0.113.7:443, [2001:db8::7]:443 or 203.0.113.7:*")
	}
	p = netip.AddrPortFrom(p.Addr().Unmap(), p.Port()) // as the label has it
	*d = SharedDestination(p.String())
	if wildcard {
		*d = SharedDestination(strings.TrimSuffix(p.String(), "1") + "*")
	}
	return nil
}
