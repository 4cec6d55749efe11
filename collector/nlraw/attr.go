package nlraw

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// typeMask takes the flags NLA_F_NESTED and NLA_F_NET_BYTEORDER off an
// attribute's type: NLA_TYPE_MASK, include/uapi/linux/netlink.h.
const typeMask = ^uint16(unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)

// Attr splits the first attribute off b: struct nlattr,
// include/uapi/linux/netlink.h. value is without padding. ok is false at the end
// of b, where b is empty, and at an attribute that is no whole one, where it is not.
func Attr(b []byte) (typ uint16, value, rest []byte, ok bool) {
	if len(b) < unix.SizeofNlAttr {
		return 0, nil, b, false
	}
	n := int(binary.NativeEndian.Uint16(b))
	if n < unix.SizeofNlAttr || n > len(b) {
		return 0, nil, b, false
	}
	return binary.NativeEndian.Uint16(b[2:]) & typeMask, b[unix.SizeofNlAttr:n], b[min(align(n), len(b)):], true
}

// align rounds a length up to the boundary of messages and attributes
// (NLMSG_ALIGNTO, NLA_ALIGNTO).
func align(n int) int { return (n + 3) &^ 3 }
