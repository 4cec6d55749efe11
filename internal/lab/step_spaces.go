package lab

import (
	"context"
	"net/netip"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// spaces: a port excludes only flows of its own protocol to its own destination.
func spaces(ctx context.Context, b *bench, r *StepReport) error {
	const asked = 1100
	full := perVIP().Len()
	node := b.Node(nodeSpaces)
	type space struct {
		name  string
		proto collector.Protocol
		to    netip.AddrPort
	}
	var all []space
	for i := range 2 {
		s, err := b.hold(ctx, i, 3443)
		if err != nil {
			return err
		}
		all = append(all, space{"TCP", collector.TCP, s.Addr})
		f, err := node.OpenTCP(s.Addr, asked)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := f.AwaitEstablished(ctx, full, settle); err != nil {
			return err
		}
	}
	for i := range 2 {
		s, err := b.echo(ctx, i, 3053)
		if err != nil {
			return err
		}
		all = append(all, space{"UDP", collector.UDP, s.Addr})
		f, err := node.OpenUDP(s.Addr, asked)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := b.ask(ctx, f, full, settle); err != nil {
			return err
		}
	}
	entries, err := b.Entries()
	if err != nil {
		return err
	}
	distinct, flows := map[uint16]bool{}, 0
	for _, s := range all {
		held := entries.To(s.proto, s.to).Answered()
		flows += len(held)
		for i := range held {
			distinct[held[i].TupleReply.Proto.DestinationPort] = true
		}
		r.count("ports in answered "+s.name+" entries to "+s.to.String(), held.PortsByVIP()[VIP(5)], exactly(full),
			"each destination and protocol has all ports for itself")
	}
	r.count("answered entries in all, at the same time", flows, exactly(len(all)*full),
		"so the sum says nothing: watch the fullest one")
	r.count("different ports that they use", len(distinct), exactly(full), "one port serves a flow of each space")
	return nil
}

// ask sends a datagram on every socket, and again on those without an answer, until want
// flows are answered in the router's table or d is over. It returns the last count.
func (b *bench) ask(ctx context.Context, f *Flows, want int, d time.Duration) (int, error) {
	deadline := time.Now().Add(d)
	answered := make([]bool, f.Len())
	for {
		for i := range answered {
			if answered[i] = answered[i] || f.Received(i); answered[i] {
				continue
			}
			if err := f.Send(i); err != nil {
				return 0, err
			}
			if i%64 == 63 { // no more at once than the server's buffer takes
				if err := sleep(ctx, time.Millisecond); err != nil {
					return 0, err
				}
			}
		}
		if err := sleep(ctx, poll); err != nil {
			return 0, err
		}
		entries, err := b.Entries()
		if err != nil {
			return 0, err
		}
		if n := len(entries.To(collector.UDP, f.To).Answered()); n >= want || time.Now().After(deadline) {
			return n, nil
		}
	}
}
