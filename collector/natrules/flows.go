package natrules

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// flows is a set of kinds of flow: protocol by address family. Other protocols hold no ports.
type flows uint8

const (
	tcp4 flows = 1 << iota
	udp4
	tcp6
	udp6
	ofTCP    = tcp4 | tcp6
	ofUDP    = udp4 | udp6
	ofIPv4   = tcp4 | udp4
	ofIPv6   = tcp6 | udp6
	allFlows = ofTCP | ofUDP
)

// ofFamily are the flows that a table of the family sees.
func ofFamily(family byte) flows {
	switch family {
	case unix.NFPROTO_IPV4:
		return ofIPv4
	case unix.NFPROTO_IPV6:
		return ofIPv6
	case unix.NFPROTO_INET:
		return allFlows
	}
	return 0
}

// protocolsIn are the flows of protocols that has lets through.
func protocolsIn(has func(byte) bool) (f flows) {
	if has(unix.IPPROTO_TCP) {
		f |= ofTCP
	}
	if has(unix.IPPROTO_UDP) {
		f |= ofUDP
	}
	return f
}

// familiesIn are the flows of families that has lets through.
func familiesIn(has func(byte) bool) (f flows) {
	if has(unix.NFPROTO_IPV4) {
		f |= ofIPv4
	}
	if has(unix.NFPROTO_IPV6) {
		f |= ofIPv6
	}
	return f
}

// out is an interface that flows leave by: by its index, or by name; "eth*" is all that begin with eth.
type out struct {
	name  string
	index int
}

// wildcard reports whether it is any number of interfaces.
func (o out) wildcard() bool { return o.index == 0 && strings.HasSuffix(o.name, "*") }

func (o out) matches(name string, index int) bool {
	if o.index != 0 {
		return o.index == index
	}
	if prefix, wildcard := strings.CutSuffix(o.name, "*"); wildcard {
		return strings.HasPrefix(name, prefix)
	}
	return o.name == name
}

func (o out) matchedBy(wildcard out) bool {
	return strings.HasPrefix(strings.TrimSuffix(o.name, "*"), strings.TrimSuffix(wildcard.name, "*"))
}

// outText names interfaces in a condition.
func outText(outs []out, not bool) string {
	var b strings.Builder
	b.WriteString("leaves by")
	if not {
		b.WriteString(" none of")
	}
	for _, o := range outs {
		b.WriteString(" " + o.text())
	}
	return b.String()
}

func (o out) text() string {
	if o.index != 0 {
		return "interface " + strconv.Itoa(o.index)
	}
	return o.name
}

// cond is one condition of a rule.
type cond struct {
	// text is the same for the same condition; it says nothing of protocol and family. Empty is no condition
	// but for flows.
	text string
	// flows that it lets through.
	flows flows
	// outs are the interfaces of which the flow must leave by one, or with not by none.
	outs    []out
	isOut   bool
	not     bool
	drawn   bool   // a new packet of the same flow draws anew
	passing bool   // what it lets through may be another at the next packet, without a draw
	mark    uint32 // the bits of the mark that it looks at
	// of says that an address is in prefix, for a condition that holds if so.
	of     side
	prefix netip.Prefix
}

// allBits are all bits of a mark.
const allBits = ^uint32(0)

// side is an address of a packet.
type side uint8

const (
	noSide side = iota
	source
	destination
	source6
	destination6
)

func (s side) String() string {
	return [...]string{"nothing", "source", "destination", "source", "destination"}[s]
}

// inPrefix is the condition that an address is in a prefix.
func inPrefix(of side, p netip.Prefix) cond {
	return cond{text: fmt.Sprintf("%v in %v", of, p), flows: allFlows, of: of, prefix: p}
}

// prefixOf reads the first bits of an address.
func prefixOf(data []byte, bits int, six bool) (netip.Prefix, bool) {
	var whole [16]byte
	if n := copy(whole[:], data); n < len(data) || bits > n*8 {
		return netip.Prefix{}, false
	}
	a := netip.AddrFrom16(whole)
	if !six {
		a = netip.AddrFrom4([4]byte(whole[:4]))
	}
	p, err := a.Prefix(bits)
	return p, err == nil
}

// ones counts the bits of a mask that has them all in front.
func ones(mask []byte) (n int, ok bool) {
	for n < 8*len(mask) && mask[n/8]&(0x80>>(n%8)) != 0 {
		n++
	}
	rest := slices.Clone(mask[n/8:])
	if len(rest) > 0 {
		rest[0] &= 0xff >> (n % 8)
	}
	return n, zero(rest)
}

func zero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
