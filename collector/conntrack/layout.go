package conntrack

import (
	"encoding/binary"
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
)

// The kernel writes tuples in one layout and TCP states in another, and walking through their attributes was half of a
// dump's decoding. If a message has that layout, header by header, these functions read it in place. They leave all
// other messages, and all messages on a big-endian machine, to the parser.

// header is an attribute's length and type, as a little-endian machine reads them.
func header(a attr, length int) uint32 { return uint32(a)<<16 | uint32(length) }

func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

const nested = attr(1 << 15) // NLA_F_NESTED

// layoutTuple reads the tuple of an IPv4 or IPv6 flow with ports: ctnetlink_dump_tuples,
// net/netfilter/nf_conntrack_netlink.c (Linux 6.18).
func layoutTuple(b []byte, t *tuple) bool {
	var src, dst netip.Addr
	switch {
	case len(b) == 48 && le32(b) == header(attrTupleIP|nested, 20) &&
		le32(b[4:]) == header(attrIPv4Src, 8) && le32(b[12:]) == header(attrIPv4Dst, 8):
		src, dst = netip.AddrFrom4([4]byte(b[8:])), netip.AddrFrom4([4]byte(b[16:]))
		b = b[20:]
	case len(b) == 72 && le32(b) == header(attrTupleIP|nested, 44) &&
		le32(b[4:]) == header(attrIPv6Src, 20) && le32(b[24:]) == header(attrIPv6Dst, 20):
		src, dst = netip.AddrFrom16([16]byte(b[8:])).Unmap(), netip.AddrFrom16([16]byte(b[28:])).Unmap()
		b = b[44:]
	default:
		return false
	}
	if len(b) != 28 || le32(b) != header(attrTupleProto|nested, 28) || le32(b[4:]) != header(attrProtoNum, 5) ||
		le32(b[12:]) != header(attrProtoSrcPort, 6) || le32(b[20:]) != header(attrProtoDstPort, 6) {
		return false
	}
	t.proto, t.zone = collector.Protocol(b[8]), 0
	t.src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(b[16:]))
	t.dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[24:]))
	return true
}

// layoutTCP reads a CTA_PROTOINFO of a TCP flow as dumps have it into m: tcp_to_nlattr,
// net/netfilter/nf_conntrack_proto_tcp.c (Linux 6.18).
func layoutTCP(b []byte, m *message) bool {
	if len(b) != 44 || le32(b) != header(attrProtoinfoTCP|nested, 44) || le32(b[4:]) != header(attrTCPState, 5) ||
		le32(b[12:]) != header(2, 5) || le32(b[20:]) != header(3, 5) || // CTA_PROTOINFO_TCP_WSCALE_*
		le32(b[28:]) != header(attrTCPFlagsOrig, 6) || le32(b[36:]) != header(attrTCPFlagsReply, 6) {
		return false
	}
	m.tcp, m.tcpFlags = tcpState(b[8]), [2]uint8{b[32], b[40]}
	return true
}
