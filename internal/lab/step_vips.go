package lab

import (
	"context"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// oneVIP: a VIP carries as many flows to one destination as it has ports, and the rest
// hear nothing.
func oneVIP(ctx context.Context, b *bench, r *StepReport) error {
	const asked = 1100
	full := perVIP().Len()
	node := b.Node(nodeOneVIP)
	s, err := b.hold(ctx, 0, 1443)
	if err != nil {
		return err
	}
	before, err := b.dropped(node)
	if err != nil {
		return err
	}
	f, err := node.OpenTCP(s.Addr, asked)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.AwaitEstablished(ctx, full, settle); err != nil {
		return err
	}
	// Every flow that waits sends its SYN again meanwhile, most of them twice.
	if err := sleep(ctx, 3*time.Second); err != nil {
		return err
	}
	socks, err := node.Sockets(s.Addr)
	if err != nil {
		return err
	}
	entries, err := b.Entries()
	if err != nil {
		return err
	}
	after, err := b.dropped(node)
	if err != nil {
		return err
	}
	told, err := f.Errors()
	if err != nil {
		return err
	}
	open := entries.To(collector.TCP, s.Addr).TCPState(ctEstablished)
	failed, dropped := int(after.InsertFailed-before.InsertFailed), int(after.Drop-before.Drop)
	r.count("node's sockets in ESTABLISHED", socks.Established, exactly(full),
		"as many as the VIP has ports, not one more")
	r.count("VIP's ports in the router's established entries", open.PortsByVIP()[VIP(0)], exactly(full),
		"every port of the range is taken, each by one flow")
	r.count("node's sockets in SYN_SENT", socks.SynSent, exactly(asked-full),
		"flows without a port wait: a slow connect")
	r.count("of them, sockets that sent the SYN again", socks.Retransmitting, exactly(asked-full),
		"the first sign on the node: ss -o state syn-sent")
	r.count("node's TCPSynRetrans, added", int(after.resent-before.resent), atLeast(asked-full),
		"the node's own counter; it names no destination")
	r.count("router's insert_failed, added", failed, atLeast(asked-full),
		"a SYN without a port is dropped here, in silence")
	r.count("router's drop, added", dropped, exactly(failed), "the same packets, counted once more")
	r.count("sockets that got an error", told, exactly(0), "no reset, no ICMP: it looks like packet loss")
	return nil
}

// drops are what the router drops, and how often a node sends a SYN again.
type drops struct {
	collector.Counters
	resent uint64
}

func (b *bench) dropped(node *Host) (d drops, err error) {
	if d.Counters, err = b.Counters(); err != nil {
		return d, err
	}
	d.resent, err = node.SynRetransmits()
	return d, err
}

// twoVIPs: whether a second VIP adds its ports depends on the form of the rule.
func twoVIPs(ctx context.Context, b *bench, r *StepReport) error {
	const asked = 2150
	full := perVIP().Len()
	for _, form := range []struct {
		name                string
		node, first         int
		flows, perVIP, used int
		flowsMean, usedMean string
	}{
		{
			"range", nodeRange, 1, full, full, 1,
			"the second VIP adds nothing: a hash picks one of them",
			"the other stays empty, no retry goes there",
		},
		{
			"numgen", nodeNumgen, 3, 2 * full, full, 2,
			"the second VIP doubles it: each attempt takes the next",
			"both are full; a SYN sent again tries the other",
		},
	} {
		node := b.Node(form.node)
		s, err := b.hold(ctx, 0, uint16(2443+form.node))
		if err != nil {
			return err
		}
		f, err := node.OpenTCP(s.Addr, asked)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := f.AwaitEstablished(ctx, form.flows, settle); err != nil {
			return err
		}
		if err := sleep(ctx, 1500*time.Millisecond); err != nil { // for a SYN more, which could still get in
			return err
		}
		socks, err := node.Sockets(s.Addr)
		if err != nil {
			return err
		}
		entries, err := b.Entries()
		if err != nil {
			return err
		}
		used, most := 0, 0
		for _, n := range entries.To(collector.TCP, s.Addr).TCPState(ctEstablished).PortsByVIP() {
			used++
			most = max(most, n)
		}
		r.count(form.name+": node's sockets in ESTABLISHED", socks.Established, exactly(form.flows), form.flowsMean)
		r.count(form.name+": VIPs in established entries", used, exactly(form.used), form.usedMean)
		r.count(form.name+": ports of the fullest VIP", most, exactly(form.perVIP), "a VIP never carries more than its range")
	}
	return nil
}
