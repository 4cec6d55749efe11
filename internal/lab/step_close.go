package lab

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// taken is how many of a VIP's ports the flows of the steps close and idle take first.
const taken = 1000

// ending is a way in which TCP flows end, and what the router keeps of them then.
type ending struct {
	name  string
	node  int
	state uint8
	kept  string
	close func(*Flows)
}

// closing: what an ended TCP flow still holds of the router.
func closing(ctx context.Context, b *bench, r *StepReport) error {
	for _, e := range []ending{
		{"FIN", nodeFIN, ctTimeWait, "TIME_WAIT", (*Flows).Shutdown},
		{"RST", nodeRST, ctClose, "CLOSE", (*Flows).Close},
	} {
		if err := b.closing(ctx, r, &e); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) closing(ctx context.Context, r *StepReport, e *ending) error {
	s, err := b.hold(ctx, 0, uint16(4443+e.node))
	if err != nil {
		return err
	}
	first, err := b.Node(e.node).OpenTCP(s.Addr, taken)
	if err != nil {
		return err
	}
	defer first.Close()
	if _, err := first.AwaitEstablished(ctx, taken, settle); err != nil {
		return err
	}
	open, err := b.Entries()
	if err != nil {
		return err
	}
	open = open.To(collector.TCP, s.Addr).TCPState(ctEstablished)
	if e.node == nodeFIN {
		r.add("longest timeout of an established entry", float64(open.MaxTimeout()), "s", atLeast(1),
			"an idle flow that nobody closes holds its port as long")
	}
	e.close(first)
	ended, err := b.awaitState(ctx, s, e.state, len(open))
	if err != nil {
		return err
	}
	r.count("after "+e.name+": entries in "+e.kept, len(ended), between(0.99*float64(len(open)), float64(len(open))),
		"the entry stays when the flow has ended")
	r.add("after "+e.name+": their longest timeout", float64(ended.MaxTimeout()), "s", atLeast(1),
		"it is listed as long, if nothing needs its port")
	return b.reopening(ctx, r, e, s)
}

// reopening: how many new flows get a port while the entries of ended ones hold them.
func (b *bench) reopening(ctx context.Context, r *StepReport, e *ending, s *Server) error {
	second, err := b.Node(e.node).OpenTCP(s.Addr, taken)
	if err != nil {
		return err
	}
	defer second.Close()
	// The SYN goes out again after 1 s; what is established by now was so at the first.
	at, err := second.AwaitEstablished(ctx, taken, 800*time.Millisecond)
	if err != nil {
		return err
	}
	late, err := second.AwaitEstablished(ctx, taken, 3*time.Second)
	if err != nil {
		return err
	}
	want, means := reuse(at.Established)
	r.count(fmt.Sprintf("after %s: of %d new flows, open by the first SYN", e.name, taken), at.Established, want, means)
	r.count(fmt.Sprintf("after %s: of %d new flows, open after 4 s", e.name, taken), late.Established,
		atLeast(at.Established),
		"the search for a port that may be evicted is random too")
	return nil
}

// reuse says which of the two behaviours of Linux n new flows over ended ones show.
func reuse(n int) (*Bounds, string) {
	if n > taken/2 {
		return atLeast(taken * 9 / 10), "this kernel evicts ended flows: they hold nothing"
	}
	return atMost(2 * (perVIP().Len() - taken)), "this kernel holds the port until the timeout is over"
}

// awaitState waits until n entries to the server are in a state.
func (b *bench) awaitState(ctx context.Context, s *Server, state uint8, n int) (Entries, error) {
	deadline := time.Now().Add(5 * time.Second)
	for {
		entries, err := b.Entries()
		if err != nil {
			return nil, err
		}
		entries = entries.To(collector.TCP, s.Addr).TCPState(state)
		if len(entries) >= n || time.Now().After(deadline) {
			return entries, nil
		}
		if err := sleep(ctx, poll); err != nil {
			return nil, err
		}
	}
}

// idleBegin takes the ports and asks for more of them at once; idle does so again when the flows
// have been silent for the timeout.
func idleBegin(ctx context.Context, b *bench, r *StepReport) error {
	s, err := b.echo(ctx, 0, 6053)
	if err != nil {
		return err
	}
	node := b.Node(nodeIdle)
	if b.silent, err = node.OpenUDP(s.Addr, taken); err != nil {
		return err
	}
	n, err := b.ask(ctx, b.silent, taken, 5*time.Second)
	if err != nil {
		return err
	}
	b.silentSince = time.Now()
	entries, err := b.Entries()
	if err != nil {
		return err
	}
	r.count("answered UDP entries", n, exactly(taken), "nobody ever says that a UDP flow is over")
	r.add("their longest timeout", float64(entries.To(collector.UDP, s.Addr).MaxTimeout()), "s", atLeast(1),
		"it holds the port as long after its last packet")
	more, err := b.more(ctx, s.Addr)
	if err != nil {
		return err
	}
	r.count(fmt.Sprintf("of %d new flows at once, answered", taken), more, atMost(perVIP().Len()-taken),
		"the ports that were free: no UDP entry is evicted")
	return nil
}

func idle(ctx context.Context, b *bench, r *StepReport) error {
	timeout, err := b.Router().Sysctl("net.netfilter.nf_conntrack_udp_timeout")
	if err != nil {
		return err
	}
	silence := time.Duration(timeout+1) * time.Second
	if err := sleep(ctx, time.Until(b.silentSince.Add(silence))); err != nil {
		return err
	}
	more, err := b.more(ctx, b.silent.To)
	if err != nil {
		return err
	}
	r.count(fmt.Sprintf("of %d new flows after %v of silence, answered", taken, silence), more, atLeast(taken*9/10),
		"the silent flows' ports are free again")
	return nil
}

// more sends one datagram on each of new flows and returns how many are answered.
func (b *bench) more(ctx context.Context, to netip.AddrPort) (int, error) {
	f, err := b.Node(nodeIdle).OpenUDP(to, taken)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for i := range f.Len() {
		if err := f.Send(i); err != nil {
			return 0, err
		}
		if i%64 == 63 { // no more at once than the server's buffer takes
			if err := sleep(ctx, time.Millisecond); err != nil {
				return 0, err
			}
		}
	}
	if err := sleep(ctx, 2*poll); err != nil {
		return 0, err
	}
	n := 0
	for i := range f.Len() {
		if f.Received(i) {
			n++
		}
	}
	return n, nil
}
