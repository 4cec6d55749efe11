package natrules

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// link is an interface with its global unicast addresses.
type link struct {
	name         string
	index        int
	up, loopback bool
	addrs        []netip.Addr
}

// same reports whether nothing but the addresses of a link has changed.
func (l link) same(o link) bool {
	return l.name == o.name && l.index == o.index && l.up == o.up && l.loopback == o.loopback
}

// addressesOf dumps the addresses of the calling thread's namespace by interface, without secondary ones and those of a
// narrower scope, which masquerade never takes. sum is the same as long as they are.
func addressesOf(ctx context.Context, c *nlraw.Conn, seed maphash.Seed) (map[int][]netip.Addr, uint64, error) {
	byIndex := map[int][]netip.Addr{}
	var h maphash.Hash
	h.SetSeed(seed)
	req := netlink.Message{Header: netlink.Header{Type: unix.RTM_GETADDR}, Data: make([]byte, unix.SizeofIfAddrmsg)}
	err := c.Dump(ctx, req, nil, func(m nlraw.Message) error {
		index, a, ok := parseAddress(m.Data)
		if ok {
			byIndex[index] = append(byIndex[index], a)
			b := a.As16()
			_, _ = h.Write(b[:])
			_, _ = h.Write(binary.NativeEndian.AppendUint32(nil, uint32(index)))
		}
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list addresses: %w", err)
	}
	return byIndex, h.Sum64(), nil
}

// parseAddress reads struct ifaddrmsg (include/uapi/linux/if_addr.h) and its attributes; ok is false for an address
// that no flow leaves with.
func parseAddress(b []byte) (index int, a netip.Addr, ok bool) {
	if len(b) < unix.SizeofIfAddrmsg {
		return 0, a, false
	}
	index = int(binary.NativeEndian.Uint32(b[4:]))
	flags := uint32(b[2])
	var address, local []byte
	err := each(b[unix.SizeofIfAddrmsg:], func(typ uint16, v []byte) error {
		switch typ {
		case unix.IFA_ADDRESS:
			address = v
		case unix.IFA_LOCAL: // on a point-to-point link IFA_ADDRESS is the other end's
			local = v
		case unix.IFA_FLAGS:
			if len(v) >= 4 {
				flags = binary.NativeEndian.Uint32(v)
			}
		}
		return nil
	})
	if local != nil {
		address = local
	}
	a, ok = netip.AddrFromSlice(address)
	scope := b[3]
	if err != nil || !ok || !a.IsGlobalUnicast() ||
		a.Is4() && (flags&unix.IFA_F_SECONDARY != 0 || scope != unix.RT_SCOPE_UNIVERSE) {
		return 0, netip.Addr{}, false
	}
	return index, a, true
}

// linksOf lists the interfaces with their addresses, in the order of their indexes.
func linksOf(ctx context.Context, c *nlraw.Conn, byIndex map[int][]netip.Addr) (links []link, err error) {
	const skipStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS, include/uapi/linux/rtnetlink.h
	data := make([]byte, unix.SizeofIfInfomsg, unix.SizeofIfInfomsg+8)
	data = binary.NativeEndian.AppendUint16(data, 8)
	data = binary.NativeEndian.AppendUint16(data, unix.IFLA_EXT_MASK)
	data = binary.NativeEndian.AppendUint32(data, skipStats)
	req := netlink.Message{Header: netlink.Header{Type: unix.RTM_GETLINK}, Data: data}
	err = c.Dump(ctx, req, nil, func(m nlraw.Message) error {
		if len(m.Data) < unix.SizeofIfInfomsg {
			return nil
		}
		f, err := parseLink(m.Data)
		if err == nil {
			f.addrs = byIndex[f.index]
			links = append(links, f)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	slices.SortFunc(links, func(a, b link) int { return cmp.Compare(a.index, b.index) })
	return links, nil
}

// parseLink reads struct ifinfomsg (include/uapi/linux/rtnetlink.h) and the name.
func parseLink(b []byte) (l link, err error) {
	flags := binary.NativeEndian.Uint32(b[8:])
	l.index = int(binary.NativeEndian.Uint32(b[4:]))
	l.up, l.loopback = flags&unix.IFF_UP != 0, flags&unix.IFF_LOOPBACK != 0
	err = each(b[unix.SizeofIfInfomsg:], func(typ uint16, v []byte) error {
		if typ == unix.IFLA_IFNAME {
			l.name = cString(v)
		}
		return nil
	})
	return l, err
}
