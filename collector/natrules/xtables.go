package natrules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
)

// target reads the SNAT and MASQUERADE targets of iptables-nft, which nf_tables
// carries as they are (nft_compat). Other targets leave sources alone.
func target(family byte, t *expr.Target) ([]Rule, error) {
	var masq bool
	switch t.Name {
	case "SNAT":
	case "MASQUERADE":
		masq = true
	case "NETMAP": // has its counterpart for destinations in the same target
		return nil, errors.New("target NETMAP: a prefix translated one to one")
	default:
		return nil, nil
	}
	r, err := natRange(family, t)
	if err != nil {
		return nil, fmt.Errorf("target %s revision %d: %w", t.Name, t.Rev, err)
	}
	rule := Rule{Masquerade: masq}
	if xt.NatRangeFlags(r.Flags)&xt.NatRangeProtoSpecified != 0 {
		if rule.Ports = (collector.PortRange{First: r.MinPort, Last: r.MaxPort}); r.MinPort == 0 || r.MinPort > r.MaxPort {
			return nil, fmt.Errorf("target %s: ports %d-%d", t.Name, r.MinPort, r.MaxPort)
		}
	}
	if xt.NatRangeFlags(r.Flags)&xt.NatRangeMapIPs != 0 && !masq {
		first, ok1 := netip.AddrFromSlice(r.MinIP)
		last, ok2 := netip.AddrFromSlice(r.MaxIP)
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("target %s: no address", t.Name)
		}
		if rule.VIPs, err = addresses(first.Unmap(), last.Unmap()); err != nil {
			return nil, fmt.Errorf("target %s: %w", t.Name, err)
		}
		rule.SpacePerVIP = len(rule.VIPs) > 1
	}
	return []Rule{rule}, nil
}

// natRange returns the range of a target: struct nf_nat_ipv4_multi_range_compat for IPv4,
// struct nf_nat_range and nf_nat_range2 for IPv6, include/uapi/linux/netfilter/nf_nat.h.
func natRange(family byte, t *expr.Target) (xt.NatIPv4Range, error) {
	switch info := t.Info.(type) {
	case *xt.NatIPv4MultiRangeCompat:
		if len(*info) != 1 {
			return xt.NatIPv4Range{}, fmt.Errorf("%d ranges, want 1", len(*info))
		}
		return (*info)[0], nil
	case *xt.Unknown:
		if family == unix.NFPROTO_IPV6 {
			return parseRange(*info)
		}
	}
	return xt.NatIPv4Range{}, errors.New("not known")
}

// parseRange reads struct nf_nat_range: flags (u32), two addresses of 16 bytes, two
// ports in network byte order. What follows belongs to nf_nat_range2.
func parseRange(b []byte) (xt.NatIPv4Range, error) {
	const size = 4 + 16 + 16 + 2 + 2
	if len(b) < size {
		return xt.NatIPv4Range{}, fmt.Errorf("%d bytes, want %d", len(b), size)
	}
	return xt.NatIPv4Range{
		Flags: uint(binary.NativeEndian.Uint32(b)),
		MinIP: net.IP(b[4:20]), MaxIP: net.IP(b[20:36]),
		MinPort: binary.BigEndian.Uint16(b[36:]), MaxPort: binary.BigEndian.Uint16(b[38:]),
	}, nil
}
