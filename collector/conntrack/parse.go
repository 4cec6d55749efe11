package conntrack

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// message is what one ctnetlink message says of a flow, before time is put to it.
type message struct {
	orig, reply tuple
	status      uint32
	id          uint32
	timeout     uint32   // CTA_TIMEOUT, seconds
	start, stop uint64   // CTA_TIMESTAMP, ns of wall clock, 0 where absent
	event       uint64   // CTA_TIMESTAMP_EVENT, the same
	zone        uint16   // of both directions; the zone of one direction is in its tuple
	tcp         tcpState // 0 where absent
	tcpFlags    [2]uint8 // of the opener and of the answering side, 0 where absent
	hasTimeout  bool
	hasHelper   bool
	// unknown counts attributes that are newer than this package.
	unknown uint32
}

// tuple is one direction of a flow. Ports are 0 for protocols without them.
type tuple struct {
	src, dst netip.AddrPort
	zone     uint16
	proto    collector.Protocol
}

// parseError names the attribute that could not be read.
type parseError struct {
	attr string
	len  int
	want string
}

func (e *parseError) Error() string {
	return fmt.Sprintf("parse %s: %d bytes, want %s", e.attr, e.len, e.want)
}

// parseMessage reads the payload of an IPCTNL_MSG_CT_NEW or _DELETE message
// into m, and all of it: nothing of the last message stays. It keeps
// nothing of b. On an error m is the zero value.
func parseMessage(b []byte, m *message) error {
	*m = message{}
	err := m.parse(b)
	if err != nil {
		*m = message{}
	}
	return err
}

func (m *message) parse(b []byte) error {
	if len(b) < sizeofNfgenmsg {
		return &parseError{"nfgenmsg", len(b), "4"}
	}
	b = b[sizeofNfgenmsg:]
	attrs := nlraw.Attributes(b)
	for attrs.Next() {
		v := attrs.Value
		var err error
		switch attr(attrs.Type) {
		case attrTupleOrig:
			if !layoutTuple(v, &m.orig) {
				err = m.parseTuple(v, &m.orig)
			}
		case attrTupleReply:
			if !layoutTuple(v, &m.reply) {
				err = m.parseTuple(v, &m.reply)
			}
		case attrStatus:
			m.status, err = u32(v, "CTA_STATUS")
		case attrProtoinfo:
			var ok bool
			if ok = layoutTCP(v, m); !ok {
				err = m.parseProtoinfo(v)
			}
		case attrHelp:
			m.hasHelper = true
		case attrTimeout:
			m.timeout, err = u32(v, "CTA_TIMEOUT")
			m.hasTimeout = true
		case attrID:
			m.id, err = u32(v, "CTA_ID")
		case attrZone:
			m.zone, err = u16(v, "CTA_ZONE")
		case attrTimestamp:
			err = m.parseTimestamp(v)
		case attrTimestampEvent:
			m.event, err = u64(v, "CTA_TIMESTAMP_EVENT")
		default:
			m.countUnknown(attr(attrs.Type), attrLast)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case attrs.Left() > 0:
		return &parseError{"attribute", attrs.Left(), "a whole one"}
	case !m.orig.src.IsValid():
		return &parseError{"CTA_TUPLE_ORIG", 0, "a tuple"}
	case !m.reply.src.IsValid():
		return &parseError{"CTA_TUPLE_REPLY", 0, "a tuple"}
	case m.orig.proto != m.reply.proto:
		return &parseError{"CTA_TUPLE_REPLY", 0, "the protocol of CTA_TUPLE_ORIG"}
	}
	return nil
}

func (m *message) parseTuple(b []byte, t *tuple) error {
	var (
		src, dst         netip.Addr
		srcPort, dstPort uint16
		proto            bool
	)
	*t = tuple{}
	attrs := nlraw.Attributes(b)
	for attrs.Next() {
		v := attrs.Value
		var err error
		switch attr(attrs.Type) {
		case attrTupleIP:
			src, dst, err = m.parseIP(v)
		case attrTupleProto:
			srcPort, dstPort, err = m.parsePorts(v, t)
			proto = err == nil
		case attrTupleZone:
			t.zone, err = u16(v, "CTA_TUPLE_ZONE")
		default:
			m.countUnknown(attr(attrs.Type), attrTupleZone)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case attrs.Left() > 0:
		return &parseError{"CTA_TUPLE", attrs.Left(), "a whole attribute"}
	case !src.IsValid():
		return &parseError{"CTA_TUPLE_IP", 0, "two addresses of one family"}
	case !proto:
		return &parseError{"CTA_PROTO_NUM", 0, "1"}
	}
	t.src, t.dst = netip.AddrPortFrom(src, srcPort), netip.AddrPortFrom(dst, dstPort)
	return nil
}

func (m *message) parsePorts(b []byte, t *tuple) (src, dst uint16, err error) {
	proto := false
	attrs := nlraw.Attributes(b)
	for attrs.Next() {
		v := attrs.Value
		switch attr(attrs.Type) {
		case attrProtoNum:
			var num uint8
			num, err = u8(v, "CTA_PROTO_NUM")
			t.proto, proto = collector.Protocol(num), true
		case attrProtoSrcPort:
			src, err = u16(v, "CTA_PROTO_SRC_PORT")
		case attrProtoDstPort:
			dst, err = u16(v, "CTA_PROTO_DST_PORT")
		default:
			m.countUnknown(attr(attrs.Type), attrProtoLast)
		}
		if err != nil {
			return 0, 0, err
		}
	}
	switch {
	case attrs.Left() > 0:
		return 0, 0, &parseError{"CTA_TUPLE_PROTO", attrs.Left(), "a whole attribute"}
	case !proto:
		return 0, 0, &parseError{"CTA_PROTO_NUM", 0, "1"}
	}
	return src, dst, nil
}

func (m *message) parseIP(b []byte) (src, dst netip.Addr, err error) {
	attrs := nlraw.Attributes(b)
	for attrs.Next() {
		v := attrs.Value
		switch attr(attrs.Type) {
		case attrIPv4Src:
			src, err = addr4(v, "CTA_IP_V4_SRC")
		case attrIPv4Dst:
			dst, err = addr4(v, "CTA_IP_V4_DST")
		case attrIPv6Src:
			src, err = addr16(v, "CTA_IP_V6_SRC")
		case attrIPv6Dst:
			dst, err = addr16(v, "CTA_IP_V6_DST")
		default:
			m.countUnknown(attr(attrs.Type), attrIPv6Dst)
		}
		if err != nil {
			return netip.Addr{}, netip.Addr{}, err
		}
	}
	if attrs.Left() > 0 {
		return netip.Addr{}, netip.Addr{}, &parseError{"CTA_TUPLE_IP", attrs.Left(), "a whole attribute"}
	}
	if src.BitLen() == 0 || src.BitLen() != dst.BitLen() {
		return netip.Addr{}, netip.Addr{}, &parseError{"CTA_TUPLE_IP", 0, "two addresses of one family"}
	}
	return src.Unmap(), dst.Unmap(), nil
}

func (m *message) parseProtoinfo(b []byte) error {
	attrs := nlraw.Attributes(b)
	for attrs.Next() {
		if attr(attrs.Type) != attrProtoinfoTCP {
			m.countUnknown(attr(attrs.Type), attrProtoinfoLast)
			continue
		}
		if err := m.parseTCP(attrs.Value); err != nil {
			return err
		}
	}
	if attrs.Left() > 0 {
		return &parseError{"CTA_PROTOINFO", attrs.Left(), "a whole attribute"}
	}
	return nil
}

func (m *message) parseTCP(b []byte) error {
	attrs := nlraw.Attributes(b)
	for attrs.Next() {
		var err error
		switch a := attr(attrs.Type); a {
		case attrTCPState:
			var state uint8
			state, err = u8(attrs.Value, "CTA_PROTOINFO_TCP_STATE")
			m.tcp = tcpState(state)
		case attrTCPFlagsOrig, attrTCPFlagsReply:
			var flags uint16
			flags, err = u16(attrs.Value, "CTA_PROTOINFO_TCP_FLAGS")
			m.tcpFlags[a-attrTCPFlagsOrig] = uint8(flags >> 8)
		default:
			m.countUnknown(a, attrTCPLast)
		}
		if err != nil {
			return err
		}
	}
	if attrs.Left() > 0 {
		return &parseError{"CTA_PROTOINFO_TCP", attrs.Left(), "a whole attribute"}
	}
	return nil
}

func (m *message) parseTimestamp(b []byte) (err error) {
	attrs := nlraw.Attributes(b)
	for attrs.Next() {
		v := attrs.Value
		switch attr(attrs.Type) {
		case attrTimestampStart:
			m.start, err = u64(v, "CTA_TIMESTAMP_START")
		case attrTimestampStop:
			m.stop, err = u64(v, "CTA_TIMESTAMP_STOP")
		default:
			m.countUnknown(attr(attrs.Type), attrTimestampLast)
		}
		if err != nil {
			return err
		}
	}
	if attrs.Left() > 0 {
		return &parseError{"CTA_TIMESTAMP", attrs.Left(), "a whole attribute"}
	}
	return nil
}

// countUnknown counts an attribute that is not needed if it is also not known.
func (m *message) countUnknown(a, last attr) {
	if a == 0 || a > last {
		m.unknown++
	}
}

func u8(b []byte, name string) (uint8, error) {
	if len(b) != 1 {
		return 0, &parseError{name, len(b), "1"}
	}
	return b[0], nil
}

func u16(b []byte, name string) (uint16, error) {
	if len(b) != 2 {
		return 0, &parseError{name, len(b), "2"}
	}
	return binary.BigEndian.Uint16(b), nil
}

func u32(b []byte, name string) (uint32, error) {
	if len(b) != 4 {
		return 0, &parseError{name, len(b), "4"}
	}
	return binary.BigEndian.Uint32(b), nil
}

func u64(b []byte, name string) (uint64, error) {
	if len(b) != 8 {
		return 0, &parseError{name, len(b), "8"}
	}
	return binary.BigEndian.Uint64(b), nil
}

func addr4(b []byte, name string) (netip.Addr, error) {
	if len(b) != 4 {
		return netip.Addr{}, &parseError{name, len(b), "4"}
	}
	return netip.AddrFrom4([4]byte(b)), nil
}

func addr16(b []byte, name string) (netip.Addr, error) {
	if len(b) != 16 {
		return netip.Addr{}, &parseError{name, len(b), "16"}
	}
	return netip.AddrFrom16([16]byte(b)), nil
}

// field returns the value of attribute t among the attributes in b, nil if it is not there.
func field(b []byte, t uint16) []byte {
	attrs := nlraw.Attributes(b)
	for attrs.Next() {
		if attrs.Type == t {
			return attrs.Value
		}
	}
	return nil
}
