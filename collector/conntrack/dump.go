package conntrack

import (
	"context"

	"github.com/mdlayher/netlink"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// table reads one namespace's conntrack table. It is not safe for concurrent use.
type table struct {
	conn  *nlraw.Conn
	netns uint64
	// translated leaves out what IPS_SRC_NAT does not mark.
	translated bool
	clock      *clock
	timeouts   *timeouts
	gaps       *gaps // nil if gaps are not looked for
	out        *collector.Batch
	// between, if not nil, is called after each read of a dump, before the dump emits what it read.
	between func(context.Context, collector.Time) error
	// buckets returns the size of the hash table: a dump during which it changes is not complete.
	buckets func() int

	msg   message
	found found
}

// A Sink is handed at most batchMax events at once, 50 KiB of them, so that it can work on some while the source
// fetches others; walkMax of them during a dump, when the kernel empties the caches of what lies idle.
const (
	batchMax = 256
	walkMax  = 64
)

// found is what a dump found, besides flows.
type found struct {
	entries, flows, translated int
	// recent counts the flows that are younger than the dump before, as far as we know.
	recent      int
	unknown     uint64 // attributes
	parseErrors uint64
	parseError  error // the last one
	others      [256]uint32
}

// dump emits the table, from Begin to End or Abort. It does not walk an empty table. previous is when the last dump
// began, announced is what Event.Announced says. After an error other than nlraw.ErrInterrupted the caller must dial
// conn again.
func (t *table) dump(ctx context.Context, previous collector.Time, announced bool) error {
	t.found = found{}
	begin := t.clock.read()
	if err := t.out.Mark(ctx, collector.Begin, begin, t.netns); err != nil {
		return err
	}
	size := t.buckets()
	entries, err := entries(ctx, t.conn)
	t.found.entries = int(entries)
	if err == nil && entries > 0 {
		err = t.walk(ctx, begin, previous)
	}
	if err == nil && t.buckets() != size {
		err = nlraw.ErrInterrupted
	}
	if err == nil && t.gaps != nil {
		err = t.lookForGaps(ctx, previous, announced)
	}
	if t.out.Refused() != nil {
		return t.out.Refused()
	}
	end := collector.End
	if err != nil {
		end = collector.Abort
	}
	e, refused := t.out.Next(ctx)
	if refused != nil {
		return refused
	}
	*e = collector.Event{Kind: end, Announced: announced && err == nil, At: t.clock.read(), Netns: t.netns}
	if e := t.out.Flush(ctx); e != nil {
		return e
	}
	return err
}

// lookForGaps looks at the end of a dump whether it may lack flows, and emits a Gap if so.
func (t *table) lookForGaps(ctx context.Context, previous collector.Time, announced bool) error {
	g := t.gaps
	if err := g.look(ctx, t.conn, t.found.entries); err != nil {
		return err
	}
	if g.why == "" && !announced {
		g.why = t.timeouts.late(previous, t.clock.read())
	}
	if g.why == "" {
		return nil
	}
	return t.out.Mark(ctx, collector.Gap, t.clock.read(), t.netns)
}

// walk asks for all entries. The kernel prepares a datagram while we read the one before it, so it wrote what a read
// returns between the two reads before.
func (t *table) walk(ctx context.Context, begin, previous collector.Time) error {
	var (
		r      = reading{from: begin, at: begin, clock: t.clock, timeouts: t.timeouts}
		before = begin
	)
	datagram := func() error {
		r.from, before, r.at = before, r.at, t.clock.read()
		if t.between != nil {
			return t.between(ctx, r.at)
		}
		return nil
	}
	entry := func(m nlraw.Message) error {
		if m.Type != msgNew || !t.parse(m.Data) {
			return nil
		}
		if p := t.msg.orig.proto; p != collector.TCP && p != collector.UDP {
			t.found.others[p]++
			return nil
		}
		e, err := t.out.Next(ctx)
		if err != nil {
			return err
		}
		*e = collector.Event{Kind: collector.Seen, At: r.at, Netns: t.netns}
		f := &e.Flow
		f.Netns = t.netns
		r.fillSeen(f, &t.msg)
		t.found.count(f, previous)
		return nil
	}
	t.out.Limit(walkMax)
	err := t.conn.Dump(ctx, t.request(), datagram, entry)
	t.out.Limit(batchMax)
	if err != nil && ctx.Err() == nil && t.out.Refused() == nil {
		return kernelError("dump conntrack", err)
	}
	return err
}

// parse reads a message into t.msg, and reports whether the dump should emit it.
func (t *table) parse(b []byte) bool {
	if err := parseMessage(b, &t.msg); err != nil {
		t.found.parseErrors++
		t.found.parseError = err
		return false
	}
	t.found.unknown += uint64(t.msg.unknown)
	// A kernel before 5.15 does not filter by status.
	return !t.translated || t.msg.status&ipsSrcNAT != 0
}

// count adds f. Without a stamp of its opening, a flow that closed since the dump before counts as one that opened
// since; so does a UDP flow with a packet since, because most last for one exchange.
func (n *found) count(f *collector.Flow, previous collector.Time) {
	n.flows++
	if f.Translated {
		n.translated++
	}
	since := f.Opened
	switch {
	case since.From != 0:
	case f.State == collector.Done:
		since = f.Ended
	case f.Protocol != collector.UDP || f.Active == 0:
		return
	default:
		since.To = f.Active
	}
	if since.To > previous {
		n.recent++
	}
}

// request asks for a dump of all families; newer kernels filter it by status.
func (t *table) request() netlink.Message {
	req := netlink.Message{Header: netlink.Header{Type: msgGet}, Data: make([]byte, sizeofNfgenmsg, 24)}
	if t.translated {
		req.Data = appendU32(req.Data, attrStatus, ipsSrcNAT)
		req.Data = appendU32(req.Data, attrStatusMask, ipsSrcNAT)
	}
	return req
}
