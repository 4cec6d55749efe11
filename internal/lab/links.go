package lab

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
)

// wire is one veth pair between the router and a host, with a prefix of its own.
type wire struct {
	host                   *Host
	name                   string // of the router's end
	mac                    [2]net.HardwareAddr
	hostAddr, routerAddr   netip.Prefix
	hostAddr6, routerAddr6 netip.Prefix
}

// attachNode gives node i its wire, 10.0.i.2/24 and 2001:db8:100+i::2/64, and its settings.
func (l *Lab) attachNode(i int, ports collector.PortRange) error {
	h, b := l.nodes[i], byte(i)
	net4 := func(last byte) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, b, last}), 24)
	}
	net6 := func(last byte) netip.Prefix { return netip.PrefixFrom(addr6(0x100+uint16(i), last), 64) }
	w := wire{
		host: h, name: fmt.Sprintf("node%d", i), mac: macs(1, b),
		hostAddr: net4(2), routerAddr: net4(1), hostAddr6: net6(2), routerAddr6: net6(1),
	}
	h.Addr, h.Addr6 = w.hostAddr.Addr(), w.hostAddr6.Addr()
	if err := l.connect(w); err != nil {
		return err
	}
	return h.Set(map[string]string{
		"net.ipv4.ip_local_port_range": fmt.Sprintf("%d %d", ports.First, ports.Last),
		"net.ipv4.tcp_tw_reuse":        "1",
		"net.ipv4.tcp_orphan_retries":  "1",
	})
}

// attachServer gives server i its wire, 192.0.2.0/30 onwards, and its own address,
// 203.0.113.10 onwards and 2001:db8:3000::10 onwards, on loopback.
func (l *Lab) attachServer(i int) error {
	h, b := l.servers[i], byte(i)
	first := 4 * i
	net4 := func(k int) netip.Prefix {
		// 64 wires fill 192.0.2.0/24, the rest goes to 198.18.0.0/15, the benchmark range.
		if i < 64 {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(first + k)}), 30)
		}
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, b, byte(k)}), 30)
	}
	net6 := func(last byte) netip.Prefix { return netip.PrefixFrom(addr6(0x200+uint16(i), last), 64) }
	w := wire{
		host: h, name: fmt.Sprintf("server%d", i), mac: macs(2, b),
		hostAddr: net4(2), routerAddr: net4(1), hostAddr6: net6(2), routerAddr6: net6(1),
	}
	h.Addr, h.Addr6 = netip.AddrFrom4([4]byte{203, 0, 113, 10 + b}), addr6(0x3000, 10+b)
	if err := l.connect(w); err != nil {
		return err
	}
	own, own6 := netip.PrefixFrom(h.Addr, 32), netip.PrefixFrom(h.Addr6, 128)
	if err := addAddrs(h, "lo", own, own6); err != nil {
		return err
	}
	if err := addRoute(l.router, own, w.hostAddr.Addr()); err != nil {
		return err
	}
	if err := addRoute(l.router, own6, w.hostAddr6.Addr()); err != nil {
		return err
	}
	return h.Set(map[string]string{
		"net.core.somaxconn":           "16384",
		"net.ipv4.tcp_max_syn_backlog": "16384",
		"net.ipv4.tcp_orphan_retries":  "3",
	})
}

// connect lays a wire, gives both ends their addresses, and makes the router the host's way out.
// The neighbours are permanent: no flow waits for ARP.
func (l *Lab) connect(w wire) error {
	err := w.host.rtnl.addVeth("eth0", w.mac[0], w.name, w.mac[1], l.router.FD())
	if err != nil {
		return fmt.Errorf("connect %s: %w", w.host.Name, err)
	}
	for _, end := range []struct {
		h          *Host
		link       string
		own, own6  netip.Prefix
		peer       netip.Addr
		peer6      netip.Addr
		peerHWAddr net.HardwareAddr
	}{
		{w.host, "eth0", w.hostAddr, w.hostAddr6, w.routerAddr.Addr(), w.routerAddr6.Addr(), w.mac[1]},
		{l.router, w.name, w.routerAddr, w.routerAddr6, w.hostAddr.Addr(), w.hostAddr6.Addr(), w.mac[0]},
	} {
		if err := addAddrs(end.h, end.link, end.own, end.own6); err != nil {
			return err
		}
		link, err := end.h.rtnl.index(end.link)
		if err != nil {
			return fmt.Errorf("find %s of %s: %w", end.link, end.h.Name, err)
		}
		for _, ip := range []netip.Addr{end.peer, end.peer6} {
			if err := end.h.rtnl.addNeighbour(link, ip, end.peerHWAddr); err != nil {
				return fmt.Errorf("set neighbour %v of %s: %w", ip, end.h.Name, err)
			}
		}
	}
	if err := addRoute(w.host, netip.MustParsePrefix("0.0.0.0/0"), w.routerAddr.Addr()); err != nil {
		return err
	}
	return addRoute(w.host, netip.MustParsePrefix("::/0"), w.routerAddr6.Addr())
}

// addAddrs puts addresses on a link and brings it up.
func addAddrs(h *Host, name string, prefixes ...netip.Prefix) error {
	link, err := h.rtnl.index(name)
	if err != nil {
		return fmt.Errorf("find %s of %s: %w", name, h.Name, err)
	}
	for _, p := range prefixes {
		if err := h.rtnl.addAddr(link, p); err != nil {
			return fmt.Errorf("add %v to %s of %s: %w", p, name, h.Name, err)
		}
	}
	if err := h.rtnl.up(link); err != nil {
		return fmt.Errorf("bring up %s of %s: %w", name, h.Name, err)
	}
	return nil
}

func addRoute(h *Host, to netip.Prefix, via netip.Addr) error {
	if err := h.rtnl.addRoute(to, via); err != nil {
		return fmt.Errorf("add route to %v on %s: %w", to, h.Name, err)
	}
	return nil
}

// macs are the addresses of a wire's two ends: locally administered, unique in the lab.
func macs(kind, i byte) [2]net.HardwareAddr {
	return [2]net.HardwareAddr{{2, 0, 0, kind, i, 2}, {2, 0, 0, kind, i, 1}}
}
