package lab

import (
	"context"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// Each step has a node and VIPs of its own, so none waits for another's ports.
const (
	nodeOneVIP = iota
	nodeRange
	nodeNumgen
	nodeSpaces
	nodeFill
	nodeFIN
	nodeRST
	nodeIdle
	nodeIncident
	nodeVerifyOne
	nodeVerifyTwo
	numNodes
)

// perVIP is the range of ports that a VIP has in the lab: 1024 of them, as in the incident.
func perVIP() collector.PortRange { return collector.PortRange{First: 1024, Last: 2047} }

// settle is how long flows get to open: the SYN goes out again after 1, 2, 3 … s.
const settle = 12 * time.Second

func topology() Topology {
	rule := func(node int, form Form, first, n int) NAT {
		return NAT{Nodes: []int{node}, Form: form, VIPs: vips(first + n)[first:], Ports: perVIP()}
	}
	return Topology{Nodes: numNodes, Servers: 2, NAT: []NAT{
		rule(nodeOneVIP, Range, 0, 1),
		rule(nodeRange, Range, 1, 2),
		rule(nodeNumgen, Numgen, 3, 2),
		rule(nodeSpaces, Range, 5, 1),
		rule(nodeFill, Range, 6, 1),
		rule(nodeFIN, Range, 7, 1),
		rule(nodeRST, Range, 8, 1),
		rule(nodeIdle, Range, 9, 1),
		rule(nodeIncident, Numgen, 10, 1),
		rule(nodeVerifyOne, Range, 11, 1),
		rule(nodeVerifyTwo, Numgen, 12, 2),
	}}
}

// bench is the lab of one run, with what lasts from one step to another.
type bench struct {
	*Lab
	servers []*Server
	// silent are the flows of the idle step, and since when.
	silent      *Flows
	silentSince time.Time
}

// end closes what the steps left open, and the lab.
func (b *bench) end() {
	if b.silent != nil {
		b.silent.Close()
	}
	for _, s := range b.servers {
		_ = s.Close()
	}
	b.Close()
}

// hold starts, for the length of the run, a server that holds TCP flows.
func (b *bench) hold(ctx context.Context, server int, port uint16) (*Server, error) {
	h := b.Server(server)
	return b.keep(h.Hold(ctx, h.At(port)))
}

// echo starts, for the length of the run, a server that answers UDP.
func (b *bench) echo(ctx context.Context, server int, port uint16) (*Server, error) {
	h := b.Server(server)
	return b.keep(h.EchoUDP(ctx, h.At(port)))
}

func (b *bench) keep(s *Server, err error) (*Server, error) {
	if err == nil {
		b.servers = append(b.servers, s)
	}
	return s, err
}
