package lab

import (
	"context"
	"fmt"

	"github.com/snatwatch/snatwatch/collector"
)

// maxHosts bounds nodes and servers alike: one byte of an address numbers them.
const maxHosts = 100

// Topology says what to build. The zero value is one node, one server and a router that
// forwards without NAT.
type Topology struct {
	// Nodes and Servers, 1 to 100; 0 means 1.
	Nodes, Servers int
	// NAT are the router's rules, in order; the first that matches a flow translates it.
	NAT []NAT
	// LocalPorts of the nodes, net.ipv4.ip_local_port_range; zero means 10000-65535, so that
	// no flow already has a port of a NAT range below 10000.
	LocalPorts collector.PortRange
	// Router are more sysctls of the router, by their dotted names.
	Router map[string]string
}

// New builds the test bed. It needs root; Missing says what of it is missing.
func New(ctx context.Context, t Topology) (*Lab, error) {
	if err := Missing(); err != nil {
		return nil, err
	}
	t.Nodes, t.Servers = max(t.Nodes, 1), max(t.Servers, 1)
	if t.Nodes > maxHosts || t.Servers > maxHosts {
		return nil, fmt.Errorf("build lab: %d nodes and %d servers, at most %d of each", t.Nodes, t.Servers, maxHosts)
	}
	if t.LocalPorts == (collector.PortRange{}) {
		t.LocalPorts = collector.PortRange{First: 10000, Last: 65535}
	}
	l := &Lab{}
	if err := l.build(ctx, t); err != nil {
		l.Close()
		return nil, fmt.Errorf("build lab: %w", err)
	}
	return l, nil
}

func (l *Lab) build(ctx context.Context, t Topology) (err error) {
	if l.router, err = newHost("router"); err != nil {
		return err
	}
	if err := l.router.Set(map[string]string{
		"net.ipv4.ip_forward":             "1",
		"net.ipv6.conf.all.forwarding":    "1",
		"net.ipv4.conf.all.rp_filter":     "0",
		"net.ipv4.conf.default.rp_filter": "0",
	}); err != nil {
		return err
	}
	for i := range t.Nodes {
		h, err := newHost(fmt.Sprintf("node%d", i))
		if err != nil {
			return err
		}
		l.nodes = append(l.nodes, h)
		if err := l.attachNode(i, t.LocalPorts); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	for i := range t.Servers {
		h, err := newHost(fmt.Sprintf("server%d", i))
		if err != nil {
			return err
		}
		l.servers = append(l.servers, h)
		if err := l.attachServer(i); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if err := l.SetNAT(t.NAT...); err != nil {
		return err
	}
	if len(t.NAT) > 0 {
		// These exist once a NAT rule has brought conntrack into the namespace.
		if err := l.router.Set(map[string]string{"net.netfilter.nf_conntrack_timestamp": "1"}); err != nil {
			return err
		}
	}
	return l.router.Set(t.Router)
}
