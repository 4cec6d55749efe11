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

// Attrs goes through the attributes of a message, or of a nested attribute, in their order.
//
//	attrs := nlraw.Attributes(b)
//	for attrs.Next() {
//		… attrs.Type, attrs.Value …
//	}
//	if attrs.Left() > 0 { … the last one is cut off … }
type Attrs struct {
	// Type is the current attribute's, without flags; Value is its value without padding.
	Type  uint16
	Value []byte
	rest  []byte
}

// Attributes returns what goes through b.
func Attributes(b []byte) Attrs { return Attrs{rest: b} }

// Next goes to the next attribute. It returns false at the end, and at an attribute that is no whole one.
func (a *Attrs) Next() (ok bool) {
	a.Type, a.Value, a.rest, ok = Attr(a.rest)
	return ok
}

// Left returns how many bytes Next did not pass: more than 0 after it returned false means that they are no whole
// attribute.
func (a *Attrs) Left() int { return len(a.rest) }

// align rounds a length up to the boundary of messages and attributes
// (NLMSG_ALIGNTO, NLA_ALIGNTO).
func align(n int) int { return (n + 3) &^ 3 }
