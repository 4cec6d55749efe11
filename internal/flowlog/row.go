package flowlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
)

// Row is what one row of a log says of one flow.
type Row struct {
	// Start and End are when the row's first and last packets came, in ns since 1970. Both are 0 in a list of
	// what is open at one moment.
	Start, End int64
	Tuple      Tuple
	State      State
	// Reason is how the flow ended, if State is Ended or Closed, or Listed and it has.
	Reason collector.Reason
}

// Tuple tells flows apart.
type Tuple struct {
	Source, Destination         Addr
	SourcePort, DestinationPort uint16
	Protocol                    collector.Protocol
}

// Addr is an address as a key of a map: an IPv4 address is mapped into IPv6.
type Addr [16]byte

func (a Addr) String() string { return netip.AddrFrom16(a).Unmap().String() }

// DestinationEndpoint is the remote end.
func (t *Tuple) DestinationEndpoint() string {
	return netip.AddrPortFrom(netip.AddrFrom16(t.Destination).Unmap(), t.DestinationPort).String()
}

// State is what a row says of a flow's life.
type State uint8

// The states.
const (
	// Seen: the flow had packets from Start to End; more rows may follow.
	Seen State = iota
	// Ended: it ended at End.
	Ended
	// Closed: it ended at End, and this row does not tell when it began.
	Closed
	// Unanswered: its first packet got no answer, and holds a port as long as one may.
	Unanswered
	// Instant: the log tells that it began at Start, and never how long it lived.
	Instant
	// Listed: it is open at the one moment that the log is of.
	Listed
)

// skip is a row that holds no port, by why. The reasons are counted and told.
type skip string

func (s skip) Error() string { return string(s) }

// Why rows are left out.
const (
	skipEmpty    = skip("without data")
	skipDenied   = skip("denied, so never translated")
	skipDropped  = skip("dropped by Cloud NAT, which had no port")
	skipInbound  = skip("inbound, or the answers of another row")
	skipProtocol = skip("of another protocol than TCP and UDP")
	skipPrivate  = skip("to a private address, which is not translated")
)

// errFields is a row with fewer fields than its format has.
var errFields = errors.New("too few fields")

// integer reads a decimal number; ok is false for anything else.
func integer(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for ; len(b) >= 8; b = b[8:] {
		eight, ok := digits(binary.LittleEndian.Uint64(b))
		if !ok {
			return 0, false
		}
		n = 100_000_000*n + eight
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, true
}

// digits is the number that eight digits write, the first of them the lowest byte. Pairs of digits are put together,
// then pairs of those.
func digits(x uint64) (n int64, ok bool) {
	const zeros, high = 0x3030303030303030, 0xf0f0f0f0f0f0f0f0
	if x&high != zeros || (x+0x0606060606060606)&high != zeros {
		return 0, false
	}
	x -= zeros
	x = (10*x + x>>8) & 0x00ff00ff00ff00ff
	x = (100*x + x>>16) & 0x0000ffff0000ffff
	return int64((10_000*x + x>>32) & 0xffffffff), true
}

// decimal reads seconds with a fraction, as nanoseconds.
func decimal(b []byte) (ns int64, ok bool) {
	whole, frac := b, []byte(nil)
	for i, c := range b {
		if c == '.' {
			whole, frac = b[:i], b[i+1:]
			break
		}
	}
	n, ok := integer(whole)
	if !ok || n > 9e9 {
		return 0, false
	}
	ns = n * 1e9
	scale := int64(1e8)
	for _, c := range frac {
		if c < '0' || c > '9' {
			return 0, false
		}
		ns += int64(c-'0') * scale
		scale /= 10
	}
	return ns, true
}

func port(b []byte) (uint16, bool) {
	n, ok := integer(b)
	return uint16(n), ok && n <= 65535
}

// address reads an IPv4 address fast, and an IPv6 one.
func address(b []byte) (a Addr, ok bool) {
	i := 0
	for at := 12; ; at++ {
		// A part of one to three digits, the first of which has to be there.
		if i >= len(b) || b[i]-'0' > 9 {
			return address6(b)
		}
		part := uint(b[i] - '0')
		if i++; i < len(b) && b[i]-'0' <= 9 {
			part = 10*part + uint(b[i]-'0')
			if i++; i < len(b) && b[i]-'0' <= 9 {
				part = 10*part + uint(b[i]-'0')
				i++
			}
		}
		a[at] = byte(part)
		switch {
		case part > 255:
			return address6(b)
		case at == 15:
			if i < len(b) {
				return address6(b)
			}
			a[10], a[11] = 0xff, 0xff
			return a, true
		case i >= len(b) || b[i] != '.':
			return address6(b)
		}
		i++
	}
}

func address6(b []byte) (Addr, bool) {
	x, err := netip.ParseAddr(string(b))
	return x.As16(), err == nil && x.Zone() == ""
}

// protocol reads a number or a name.
func protocol(b []byte) (collector.Protocol, error) {
	switch string(b) {
	case "6", "tcp", "TCP", "T":
		return collector.TCP, nil
	case "17", "udp", "UDP", "U":
		return collector.UDP, nil
	case "", "-":
		return 0, fmt.Errorf("protocol %q", b)
	}
	return 0, skipProtocol
}

// private reports whether an address is one that no NAT of a cloud translates to: RFC 1918, RFC 6598, link-local,
// loopback, unique local.
func (a *Addr) private() bool {
	if a[10] == 0xff && a[11] == 0xff && a[0] == 0 && a[9] == 0 {
		x, y := a[12], a[13]
		return x == 10 || x == 127 || x == 172 && y >= 16 && y < 32 || x == 192 && y == 168 || x == 169 &&
			y == 254 || x == 100 && y >= 64 && y < 128
	}
	return a[0] == 0xfc || a[0] == 0xfd || a[0] == 0xfe && a[1]&0xc0 == 0x80
}

// outbound refuses rows that are no flows out of this network: answers, inbound flows, and flows that stay inside.
func (t *Tuple) outbound() error {
	switch {
	case t.Destination.private() && !t.Source.private():
		return skipInbound
	case t.Destination.private():
		return skipPrivate
	case t.SourcePort < 1024 && t.DestinationPort >= 1024:
		return skipInbound // a server's answers
	}
	return nil
}

// ends fills in the tuple from its four parts.
func (t *Tuple) ends(source, destination, sourcePort, destinationPort []byte) error {
	var ok bool
	if t.Source, ok = address(source); !ok {
		return fmt.Errorf("source address %.40q", source)
	}
	if t.Destination, ok = address(destination); !ok {
		return fmt.Errorf("destination address %.40q", destination)
	}
	if t.SourcePort, ok = port(sourcePort); !ok {
		return fmt.Errorf("source port %.40q", sourcePort)
	}
	if t.DestinationPort, ok = port(destinationPort); !ok {
		return fmt.Errorf("destination port %.40q", destinationPort)
	}
	return nil
}
