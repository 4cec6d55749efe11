package conntrack

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
)

// tableEntry is one that a test puts into the kernel's table, ready made.
type tableEntry struct {
	proto         collector.Protocol
	src, dst, vip netip.AddrPort // vip is invalid where the source is not translated
	timeout       uint32
	state         uint8 // enum tcp_conntrack
	zone          uint16
	labels        []byte
	helper        string
	status        uint32 // besides IPS_CONFIRMED
}

// creator puts entries into a namespace's table in batches: ti-mo/conntrack
// waits for each, and cannot ask for NAT.
type creator struct {
	t    testing.TB
	conn *netlink.Conn
	msgs []netlink.Message
}

func newCreator(t testing.TB, ns *netns.Handle) *creator {
	t.Helper()
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &creator{t: t, conn: conn}
}

// Attributes and messages that only a writer needs: nfnetlink_conntrack.h.
const (
	ctNew, ctDelete   = unix.NFNL_SUBSYS_CTNETLINK << 8, unix.NFNL_SUBSYS_CTNETLINK<<8 | 2
	ctaNATSrc         = 6
	ctaTupleOrig      = 1
	ctaTupleReply     = 2
	statusConfirmed   = 1 << 3
	statusSeenReply   = 1 << 1
	statusAssured     = 1 << 2
	nestedBit         = unix.NLA_F_NESTED
	creatorBatch      = 64
	establishedLimit  = 432000
	tcpStateEstablish = 3
)

func encodeTuple(ae *netlink.AttributeEncoder, proto collector.Protocol, src, dst netip.AddrPort) error {
	ae.Nested(1, func(ae *netlink.AttributeEncoder) error {
		if src.Addr().Is4() {
			ae.Bytes(1, src.Addr().AsSlice())
			ae.Bytes(2, dst.Addr().AsSlice())
		} else {
			ae.Bytes(3, src.Addr().AsSlice())
			ae.Bytes(4, dst.Addr().AsSlice())
		}
		return nil
	})
	ae.Nested(2, func(ae *netlink.AttributeEncoder) error {
		ae.Uint8(1, uint8(proto))
		ae.Uint16(2, src.Port())
		ae.Uint16(3, dst.Port())
		return nil
	})
	return nil
}

// message is the request that creates e, or deletes it.
func (e *tableEntry) message(t testing.TB, typ netlink.HeaderType, flags netlink.HeaderFlags) netlink.Message {
	t.Helper()
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	tuple := func(a, b netip.AddrPort) func(*netlink.AttributeEncoder) error {
		return func(ae *netlink.AttributeEncoder) error { return encodeTuple(ae, e.proto, a, b) }
	}
	ae.Nested(ctaTupleOrig, tuple(e.src, e.dst))
	if e.zone != 0 {
		ae.Uint16(18, e.zone)
	}
	if typ == ctNew {
		ae.Nested(ctaTupleReply, tuple(e.dst, e.src))
		ae.Uint32(3, statusConfirmed|e.status)
		ae.Uint32(7, e.timeout)
		if e.vip.IsValid() {
			ae.Nested(ctaNATSrc, func(ae *netlink.AttributeEncoder) error {
				first, last := uint16(1), uint16(2) // CTA_NAT_V4_MINIP, CTA_NAT_V4_MAXIP
				if e.vip.Addr().Is6() {
					first, last = 4, 5
				}
				ae.Bytes(first, e.vip.Addr().AsSlice())
				ae.Bytes(last, e.vip.Addr().AsSlice())
				ae.Nested(3, func(ae *netlink.AttributeEncoder) error {
					ae.Uint16(1, e.vip.Port())
					ae.Uint16(2, e.vip.Port())
					return nil
				})
				return nil
			})
		}
		if e.proto == collector.TCP {
			ae.Nested(4, func(ae *netlink.AttributeEncoder) error {
				ae.Nested(1, func(ae *netlink.AttributeEncoder) error {
					ae.Uint8(1, e.state)
					return nil
				})
				return nil
			})
		}
		if e.labels != nil {
			ae.Bytes(22, e.labels)
		}
		if e.helper != "" {
			ae.Nested(5, func(ae *netlink.AttributeEncoder) error {
				ae.String(1, e.helper)
				return nil
			})
		}
	}
	b, err := ae.Encode()
	if err != nil {
		t.Fatal(err)
	}
	family := byte(unix.AF_INET)
	if e.src.Addr().Is6() {
		family = unix.AF_INET6
	}
	return netlink.Message{
		Header: netlink.Header{Type: typ, Flags: netlink.Request | flags},
		Data:   append([]byte{family, 0, 0, 0}, b...),
	}
}

// add puts e into the table, or the batch before that.
func (c *creator) add(e *tableEntry) {
	c.t.Helper()
	c.msgs = append(c.msgs, e.message(c.t, ctNew, netlink.Create|netlink.Excl))
	if len(c.msgs) == creatorBatch {
		c.flush()
	}
}

// del takes e out of the table.
func (c *creator) del(e *tableEntry) {
	c.t.Helper()
	c.msgs = append(c.msgs, e.message(c.t, ctDelete, 0))
	if len(c.msgs) == creatorBatch {
		c.flush()
	}
}

// flush sends what is left; the kernel acknowledges the last, and refusals come before that.
func (c *creator) flush() {
	c.t.Helper()
	if len(c.msgs) == 0 {
		return
	}
	c.msgs[len(c.msgs)-1].Header.Flags |= netlink.Acknowledge
	sent, err := c.conn.SendMessages(c.msgs)
	if err != nil {
		c.t.Fatal(err)
	}
	last := sent[len(sent)-1].Header.Sequence
	c.msgs = c.msgs[:0]
	for {
		got, err := c.conn.Receive()
		if err != nil {
			c.t.Fatalf("write to the table: %v", err)
		}
		if got[len(got)-1].Header.Sequence == last {
			return
		}
	}
}

// established is a TCP flow from port to dst, translated to vip.
func established(src, dst, vip netip.AddrPort) *tableEntry {
	return &tableEntry{
		proto: collector.TCP, src: src, dst: dst, vip: vip,
		timeout: establishedLimit, state: tcpStateEstablish, status: statusSeenReply | statusAssured,
	}
}
