package sockdiag

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// socket is one inet_diag_msg.
type socket struct {
	family, state, timer, retrans uint8
	local, remote                 netip.AddrPort
	cookie                        uint64
	expires                       time.Duration // until timer
	inode                         uint32
	cgroup                        uint64
	unknown                       int // attributes that this package does not know
}

// parse reads one message of a dump. An error leaves the zero socket.
func (s *socket) parse(b []byte) error {
	err := s.parseHeader(b)
	if err != nil {
		return err
	}
	attrs := nlraw.Attributes(b[sizeofMsg:])
	for attrs.Next() {
		typ, value := attrs.Type, attrs.Value
		switch {
		case typ < attrCgroupID:
		case typ > attrMax:
			s.unknown++
		case typ == attrCgroupID:
			if len(value) < 8 {
				return s.fail("INET_DIAG_CGROUP_ID: %d bytes, want 8", len(value))
			}
			s.cgroup = binary.NativeEndian.Uint64(value)
		}
	}
	if left := attrs.Left(); left > 0 {
		return s.fail("attribute after %d bytes of %d is no whole one", len(b)-left, len(b))
	}
	return nil
}

func (s *socket) parseHeader(b []byte) error {
	if len(b) < sizeofMsg {
		return s.fail("inet_diag_msg: %d bytes, want %d", len(b), sizeofMsg)
	}
	b = b[:sizeofMsg]
	*s = socket{}
	s.family, s.state, s.timer, s.retrans = b[msgFamily], b[msgState], b[msgTimer], b[msgRetrans]
	s.cookie = binary.NativeEndian.Uint64(b[msgCookie:])
	s.expires = time.Duration(binary.NativeEndian.Uint32(b[msgExpires:])) * time.Millisecond
	s.inode = binary.NativeEndian.Uint32(b[msgInode:])
	sport, dport := binary.BigEndian.Uint16(b[msgSport:]), binary.BigEndian.Uint16(b[msgDport:])
	switch s.family {
	case unix.AF_INET:
		s.local = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[msgSrc:])), sport)
		s.remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[msgDst:])), dport)
	case unix.AF_INET6:
		s.local = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[msgSrc:])).Unmap(), sport)
		s.remote = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[msgDst:])).Unmap(), dport)
	default:
		return s.fail("idiag_family: %d", s.family)
	}
	return nil
}

func (s *socket) fail(format string, args ...any) error {
	*s = socket{}
	return fmt.Errorf(format, args...)
}

// destroyed is the message about a socket that was freed.
type destroyed struct {
	socket
	protocol collector.Protocol
	info     tcpInfo
}

// tcpInfo is what struct tcp_info says about a socket's end.
type tcpInfo struct {
	known bool // the kernel sent it, whole
	// connected: it was connected once, or tried to.
	connected bool
	// finAcked: the other side has acknowledged our FIN.
	finAcked bool
	// unanswered: it sent and nothing ever came back.
	unanswered bool
	// beyondData is how many bytes were acknowledged beyond the bytes of data: our SYN and our FIN count as one each.
	// unacked: not all that was sent is acknowledged.
	beyondData int64
	unacked    bool
	// refused: something came back, but nothing that acknowledged our SYN.
	refused bool
	// lastPacket is how long ago the last packet went either way.
	lastPacket time.Duration
}

// parse reads one message of a destroy group. An error leaves the zero value.
func (d *destroyed) parse(b []byte) error {
	*d = destroyed{}
	if err := d.parseHeader(b); err != nil {
		return err
	}
	attrs := nlraw.Attributes(b[sizeofMsg:])
	for attrs.Next() {
		typ, value := attrs.Type, attrs.Value
		switch {
		case typ == attrProtocol:
			if len(value) < 1 {
				*d = destroyed{}
				return fmt.Errorf("INET_DIAG_PROTOCOL: %d bytes, want 1", len(value))
			}
			d.protocol = collector.Protocol(value[0])
		case typ == attrInfo:
			d.info.parse(value)
		case typ > attrMax:
			d.unknown++
		}
	}
	if left := attrs.Left(); left > 0 {
		*d = destroyed{}
		return fmt.Errorf("attribute after %d bytes of %d is no whole one", len(b)-left, len(b))
	}
	return nil
}

// parse reads a struct tcp_info. If it is too short, from an old kernel, known stays false.
func (t *tcpInfo) parse(b []byte) {
	if len(b) < sizeofInfo {
		return
	}
	u32 := func(at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
	u64 := func(at int) uint64 { return binary.NativeEndian.Uint64(b[at:]) }
	// Acknowledged bytes count our SYN and our FIN as one each, bytes sent do not. finAcked is asked only of flows
	// that this side opened, so the SYN is among them.
	data := u64(infoBytesSent) - u64(infoBytesRetrans)
	beyond := int64(u64(infoBytesAcked) - data)
	ms := min(u32(infoLastDataSent), u32(infoLastDataRecv), u32(infoLastAckRecv))
	*t = tcpInfo{
		known:      true,
		connected:  u32(infoPMTU) != 0,
		finAcked:   beyond > 1,
		beyondData: beyond, unacked: u32(infoUnacked) > 0,
		unanswered: u32(infoSegsOut) > 0 && u32(infoSegsIn) == 0,
		refused:    u32(infoSegsIn) > 0 && u64(infoBytesAcked) == 0,
		lastPacket: time.Duration(ms) * time.Millisecond,
	}
}
