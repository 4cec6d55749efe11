package budget

import "strings"

// PortClass is a part of the ports that are unique against each other on their own: a flow gets a port of its own
// class and of no other.
type PortClass uint8

// The classes of a Linux NAT whose rule names no range: the client's source port decides. Source:
// nf_nat_l4proto_unique_tuple() in net/netfilter/nf_nat_core.c (Linux 6.18).
const (
	// AnyClass has the ports from 1024 up, and all ports where a rule names a range.
	AnyClass PortClass = iota
	// LowClass has ports 1 to 511: NTP from port 123, IKE from 500.
	LowClass
	// ReservedClass is of source ports 512 to 1023, as of NFS clients: the kernel gives out 600 to 1023. A flow may keep
	// its own below 600.
	ReservedClass
)

// classOf gives the ports of each class but AnyClass: how many there are, and how it is shown.
var classOf = [...]struct {
	ports int
	name  string
}{LowClass: {511, "ports 1-511"}, ReservedClass: {424, "ports 600-1023"}}

// String returns "" for AnyClass.
func (c PortClass) String() string { return classOf[c].name }

// ClassNamed returns the class whose name ends the label of a VIP; AnyClass if none does.
func ClassNamed(vip string) PortClass {
	for c := LowClass; int(c) < len(classOf); c++ {
		if strings.HasSuffix(vip, c.String()) {
			return c
		}
	}
	return AnyClass
}

// ClassOf returns the class of a port that a flow holds or comes from; port 0 is unknown.
func (b *Budget) ClassOf(port uint16) PortClass {
	switch {
	case !b.Classes || port == 0 || port > 1023:
		return AnyClass
	case port < 512:
		return LowClass
	}
	return ReservedClass
}

// OfClass returns the terms of a port space of class c.
func (t *Terms) OfClass(c PortClass) Terms {
	of := *t
	if c == AnyClass || t.Ports == 0 {
		return of
	}
	vips := max(1, t.Ports/defaultRange().Len())
	of.Ports = min(classOf[c].ports*vips, t.Ports)
	of.Effective = max(1, of.Ports*t.Ceiling()/t.Ports)
	return of
}
