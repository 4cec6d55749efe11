package conntrack

import (
	"context"
	"encoding/binary"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// batchMax is how many events a Sink is handed at once: 50 KiB of them, which stays in cache.
const batchMax = 256

// table reads one namespace's conntrack table. It is not safe for concurrent use.
type table struct {
	conn  *nlraw.Conn
	netns uint64
	// translated leaves out what IPS_SRC_NAT does not mark.
	translated bool
	clock      *clock
	timeouts   timeouts

	batch   []collector.Event
	refused error // what the sink said
	msg     message
	found   found
}

// found is what a dump found, besides flows.
type found struct {
	flows, translated int
	unknown           uint64 // attributes
	parseErrors       uint64
	parseError        error // the last one
	others            [256]uint32
}

// newTable returns a reader of the namespace that conn was dialled in.
func newTable(conn *nlraw.Conn, netns uint64, translated bool, c *clock) *table {
	return &table{
		conn: conn, netns: netns, translated: translated, clock: c,
		batch: make([]collector.Event, 0, batchMax+1), // and one for the end
	}
}

// dump shows the table to sink, from Begin to End or Abort. An empty table is
// not walked. After an error other than nlraw.ErrInterrupted conn is to be dialled again.
func (t *table) dump(ctx context.Context, sink collector.Sink) error {
	t.found, t.refused = found{}, nil
	t.batch = t.batch[:0]
	begin := t.clock.read()
	*t.next() = collector.Event{Kind: collector.Begin, At: begin, Netns: t.netns}

	entries, err := t.entries(ctx)
	if err == nil && entries > 0 {
		err = t.walk(ctx, begin, sink)
	}
	if t.refused != nil {
		return t.refused
	}
	last := t.next()
	*last = collector.Event{Kind: collector.End, At: t.clock.read(), Netns: t.netns}
	if err != nil {
		last.Kind = collector.Abort
	}
	if t.flush(ctx, sink) != nil {
		return t.refused
	}
	return err
}

// walk asks for all entries. The kernel prepares a datagram while the one
// before is read, so what a read returns was written between the two reads before it.
func (t *table) walk(ctx context.Context, begin collector.Time, sink collector.Sink) error {
	var (
		r      = reading{from: begin, at: begin, clock: t.clock, timeouts: &t.timeouts}
		before = begin
	)
	datagram := func() error {
		r.from, before, r.at = before, r.at, t.clock.read()
		return nil
	}
	entry := func(m nlraw.Message) error {
		if m.Type != msgNew {
			return nil
		}
		if err := parseMessage(m.Data, &t.msg); err != nil {
			t.found.parseErrors++
			t.found.parseError = err
			return nil
		}
		t.found.unknown += uint64(t.msg.unknown)
		switch p := t.msg.orig.proto; {
		case t.translated && t.msg.status&ipsSrcNAT == 0:
			return nil // a kernel before 5.15 does not filter
		case p != collector.TCP && p != collector.UDP:
			t.found.others[p]++
			return nil
		}
		if len(t.batch) == batchMax {
			if err := t.flush(ctx, sink); err != nil {
				return err
			}
		}
		e := t.next()
		*e = collector.Event{Kind: collector.Seen, At: r.at, Netns: t.netns}
		e.Flow.Netns = t.netns
		r.fillSeen(&e.Flow, &t.msg)
		t.found.flows++
		if e.Flow.Translated {
			t.found.translated++
		}
		return nil
	}
	err := t.conn.Dump(ctx, t.request(), datagram, entry)
	if err != nil && ctx.Err() == nil {
		return kernelError("dump conntrack", err)
	}
	return err
}

// request is that of a dump of all families, filtered by the kernel where it can.
func (t *table) request() netlink.Message {
	req := netlink.Message{Header: netlink.Header{Type: msgGet}, Data: make([]byte, sizeofNfgenmsg, 24)}
	if t.translated {
		req.Data = appendU32(req.Data, attrStatus, ipsSrcNAT)
		req.Data = appendU32(req.Data, attrStatusMask, ipsSrcNAT)
	}
	return req
}

// entries returns how many entries the namespace has, in 2.4 µs.
func (t *table) entries(ctx context.Context) (n uint32, err error) {
	err = t.conn.Get(ctx, netlink.Message{
		Header: netlink.Header{Type: msgGetStats},
		Data:   make([]byte, sizeofNfgenmsg),
	}, func(m nlraw.Message) error {
		n, err = parseEntries(m.Data)
		return err
	})
	if err != nil && ctx.Err() == nil {
		return 0, kernelError("count conntrack entries", err)
	}
	return n, err
}

// next returns a place for one more event; there is one.
func (t *table) next() *collector.Event {
	t.batch = t.batch[:len(t.batch)+1]
	return &t.batch[len(t.batch)-1]
}

func (t *table) flush(ctx context.Context, sink collector.Sink) error {
	t.refused = sink(ctx, t.batch)
	t.batch = t.batch[:0]
	return t.refused
}

// parseEntries reads an IPCTNL_MSG_CT_GET_STATS answer.
func parseEntries(b []byte) (uint32, error) {
	if len(b) < sizeofNfgenmsg {
		return 0, &parseError{"nfgenmsg", len(b), "4"}
	}
	for b = b[sizeofNfgenmsg:]; ; {
		typ, v, rest, ok := nlraw.Attr(b)
		if !ok {
			return 0, &parseError{"CTA_STATS_GLOBAL_ENTRIES", 0, "4"}
		}
		if attr(typ) == attrStatsEntries {
			return u32(v, "CTA_STATS_GLOBAL_ENTRIES")
		}
		b = rest
	}
}

func appendU32(b []byte, a attr, v uint32) []byte {
	b = binary.NativeEndian.AppendUint16(b, 8)
	b = binary.NativeEndian.AppendUint16(b, uint16(a))
	return binary.BigEndian.AppendUint32(b, v)
}

// dial opens a netfilter socket in the namespace of descriptor ns, 0 for the caller's own.
func dial(ns int) (*nlraw.Conn, error) {
	conn, err := nlraw.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: ns})
	if err != nil {
		return nil, kernelError("open a netfilter socket", err)
	}
	return conn, nil
}
