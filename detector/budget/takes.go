package budget

import (
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
)

// SpacePerAddress reports whether each address that a flow leaves from is a port space of its own. A local
// port is unique against the source address too: pods with an address each have ports each.
func (b *Budget) SpacePerAddress() bool { return b.SpacePerVIP || b.Local }

// Takes reports whether a flow counts under b, whatever its protocol. Port 0 is unknown and in every range.
func (b *Budget) Takes(destination, vip netip.Addr, port uint16, netns uint64, translated bool) bool {
	if b.Netns != 0 && b.Netns != netns {
		return false
	}
	if b.Translated {
		from := b.VIPs
		if !translated {
			from = b.Own
		}
		if (len(from) > 0 || !translated) && !hasAddr(from, vip) {
			return false
		}
	}
	if r := b.PortRange; r != (collector.PortRange{}) && port != 0 && (port < r.First || port > r.Last) {
		return false
	}
	return b.Reaches(destination)
}

// TakesUntranslated reports whether flows count under b that this machine does not translate.
func (b *Budget) TakesUntranslated() bool { return !b.Translated || len(b.Own) > 0 }

// Reaches reports whether b counts flows to destination. An invalid destination is a
// socket that is bound and not connected: it counts under Local budgets alone.
func (b *Budget) Reaches(destination netip.Addr) bool {
	if !destination.IsValid() || destination.IsUnspecified() {
		return b.Local
	}
	return (len(b.Include) == 0 || contains(b.Include, destination)) && !contains(b.Exclude, destination) &&
		!hasAddr(b.Here, destination)
}

func hasAddr(list []netip.Addr, a netip.Addr) bool {
	for _, v := range list {
		if v == a {
			return true
		}
	}
	return false
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
