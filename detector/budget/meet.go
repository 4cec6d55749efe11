package budget

import (
	"net/netip"
	"slices"

	"github.com/snatwatch/snatwatch/collector"
)

// Overlap reports whether some flow could count under both budgets at one stage, where it takes one port.
func Overlap(a, b *Budget) bool {
	switch {
	case a.Stage() != b.Stage():
		return false
	case a.Translated && b.Translated && (!vipsMeet(a.VIPs, b.VIPs) || !rangesMeet(a.PortRange, b.PortRange)):
		return false
	case a.Local && !rangesMeet(a.PortRange, b.PortRange):
		return false
	}
	return Meet(a, b)
}

// Meet reports whether some flow could take ports of both budgets, at whichever stages they are.
func Meet(a, b *Budget) bool {
	switch {
	case a.Netns != 0 && b.Netns != 0 && a.Netns != b.Netns:
		return false
	case (a.TCP.Ports == 0 || b.TCP.Ports == 0) && (a.UDP.Ports == 0 || b.UDP.Ports == 0):
		return false
	}
	return destinationsMeet(a, b)
}

// vipsMeet: no VIPs stand for any.
func vipsMeet(a, b []netip.Addr) bool {
	return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(v netip.Addr) bool { return slices.Contains(b, v) })
}

// rangesMeet: a zero range stands for any port.
func rangesMeet(a, b collector.PortRange) bool {
	var anyPort collector.PortRange
	return a == anyPort || b == anyPort || a.First <= b.Last && b.First <= a.Last
}

func destinationsMeet(a, b *Budget) bool {
	exclude := slices.Concat(a.Exclude, b.Exclude)
	for _, p := range everything(a.Include) {
		for _, q := range everything(b.Include) {
			if p.Overlaps(q) && !Covered(narrower(p, q), exclude) {
				return true
			}
		}
	}
	return false
}

// everything spells out an empty list of prefixes.
func everything(ps []netip.Prefix) []netip.Prefix {
	if len(ps) > 0 {
		return ps
	}
	return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
}

// narrower of two prefixes that overlap.
func narrower(p, q netip.Prefix) netip.Prefix {
	if p.Bits() > q.Bits() {
		return p
	}
	return q
}

// Covered reports whether the prefixes together hold every address of p.
func Covered(p netip.Prefix, by []netip.Prefix) bool {
	by = slices.DeleteFunc(slices.Clone(by), func(q netip.Prefix) bool { return !p.Overlaps(q) })
	if len(by) == 0 {
		return false
	}
	if slices.ContainsFunc(by, func(q netip.Prefix) bool { return q.Bits() <= p.Bits() }) {
		return true
	}
	low, high := halves(p)
	return Covered(low, by) && Covered(high, by)
}

// halves splits a prefix that is not a single address.
func halves(p netip.Prefix) (low, high netip.Prefix) {
	bits := p.Bits()
	b := p.Addr().AsSlice()
	b[bits/8] |= 0x80 >> (bits % 8)
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(p.Addr(), bits+1), netip.PrefixFrom(a, bits+1)
}
