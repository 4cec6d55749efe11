package natrules

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
)

// match is a match of iptables, which nf_tables carries as it is (nft_compat).
func (c *compiler) match(f *fields) {
	c.when(xtMatch(f.text(unix.NFTA_MATCH_NAME), f.u32(unix.NFTA_MATCH_REV), f[unix.NFTA_MATCH_INFO]))
}

func xtMatch(name string, revision uint32, info []byte) cond {
	d := cond{flows: allFlows}
	switch name {
	case "statistic":
		d.drawn = true
	case "mark", "connmark":
		if d.mark = allBits; len(info) >= 8 { // struct xt_mark_mtinfo1, xt_connmark_mtinfo1: mark, mask
			d.mark = binary.NativeEndian.Uint32(info[4:])
		}
	case "limit", "hashlimit", "quota", "connlimit", "recent", "connbytes", "time", "rateest":
		d.passing = true
	}
	d.text = fmt.Sprintf("match %s %d %x", name, revision, info)
	return d
}

func (c *compiler) target(f *fields) {
	c.xtTarget(f.text(unix.NFTA_TARGET_NAME), f.u32(unix.NFTA_TARGET_REV), f[unix.NFTA_TARGET_INFO])
}

// xtTarget reads a target of iptables. Those that are not named here leave sources alone.
func (c *compiler) xtTarget(name string, revision uint32, info []byte) {
	switch name {
	case "SNAT", "MASQUERADE":
		c.nat = true
		r, err := natTarget(c.family, info, name == "MASQUERADE")
		if err != nil {
			c.err = fmt.Errorf("target %s revision %d: %w", name, revision, err)
			return
		}
		c.rules = []Rule{r}
	case "FULLCONENAT":
		c.nat, c.err = true, errFullCone
	case "NETMAP":
		c.nat, c.remark = true, "target NETMAP translates a prefix one to one: it holds no ports"
	case "SNPT":
		c.remark = "target SNPT translates a prefix one to one without conntrack (NPTv6): it holds no ports"
	case "MARK", "CONNMARK", "HMARK":
		// struct xt_mark_tginfo2 and xt_connmark_tginfo1 begin with the mark and the mask of what it takes the place of.
		if c.marks = allBits; name != "HMARK" && len(info) >= 8 {
			c.marks = binary.NativeEndian.Uint32(info) | binary.NativeEndian.Uint32(info[4:])
		}
	case "REJECT", "TPROXY", "QUEUE", "NFQUEUE":
		c.branches = []branch{{verdict: verdictDrop}}
	}
}

// natTarget reads struct nf_nat_ipv4_multi_range_compat for IPv4, struct nf_nat_range and nf_nat_range2
// for IPv6, include/uapi/linux/netfilter/nf_nat.h.
func natTarget(family byte, info []byte, masquerade bool) (Rule, error) {
	parse := parseRange4
	if family == unix.NFPROTO_IPV6 {
		parse = parseRange6
	}
	flags, first, last, ports, err := parse(info)
	if err != nil {
		return Rule{}, err
	}
	r := Rule{Masquerade: masquerade}
	if flags&natPorts != 0 {
		if r.Ports = ports; ports.First == 0 || ports.First > ports.Last {
			return Rule{}, fmt.Errorf("ports %d-%d", ports.First, ports.Last)
		}
	}
	if flags&natMapIPs != 0 && !masquerade {
		if r.VIPs, err = addresses(first, last); err != nil {
			return Rule{}, err
		}
		r.SpacePerVIP = len(r.VIPs) > 1
	}
	return r, nil
}

// parseRange4 reads the number of ranges (u32), which is 1, flags (u32), two addresses, two ports in
// network byte order.
func parseRange4(b []byte) (flags uint32, first, last netip.Addr, ports collector.PortRange, err error) {
	const size = 4 + 4 + 4 + 4 + 2 + 2
	if len(b) < size {
		err = fmt.Errorf("%d bytes, want %d", len(b), size)
		return 0, first, last, ports, err
	}
	if n := binary.NativeEndian.Uint32(b); n != 1 {
		err = fmt.Errorf("%d ranges, want 1", n)
		return 0, first, last, ports, err
	}
	return binary.NativeEndian.Uint32(b[4:]), netip.AddrFrom4([4]byte(b[8:])), netip.AddrFrom4([4]byte(b[12:])),
		portRange(b[16:]), nil
}

// parseRange6 reads flags (u32), two addresses of 16 bytes, two ports in network byte order. What follows
// belongs to nf_nat_range2.
func parseRange6(b []byte) (flags uint32, first, last netip.Addr, ports collector.PortRange, err error) {
	const size = 4 + 16 + 16 + 2 + 2
	if len(b) < size {
		err = fmt.Errorf("%d bytes, want %d", len(b), size)
		return 0, first, last, ports, err
	}
	return binary.NativeEndian.Uint32(b), netip.AddrFrom16([16]byte(b[4:])), netip.AddrFrom16([16]byte(b[20:])),
		portRange(b[36:]), nil
}

func portRange(b []byte) collector.PortRange {
	return collector.PortRange{First: binary.BigEndian.Uint16(b), Last: binary.BigEndian.Uint16(b[2:])}
}
