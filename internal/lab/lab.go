package lab

import "net/netip"

// Lab is a running test bed.
type Lab struct {
	router         *Host
	nodes, servers []*Host
	nat            []NAT // the rules in force
}

// Router is the machine that translates.
func (l *Lab) Router() *Host { return l.router }

// Node is the i-th VM behind the router.
func (l *Lab) Node(i int) *Host { return l.nodes[i] }

// Server is the i-th machine beyond the router.
func (l *Lab) Server(i int) *Host { return l.servers[i] }

// Close takes the lab down. Sockets made in it should be closed before; those that are not
// keep their namespace until the process ends.
func (l *Lab) Close() {
	for _, h := range l.nodes {
		h.close()
	}
	for _, h := range l.servers {
		h.close()
	}
	if l.router != nil {
		l.router.close()
	}
	l.nodes, l.servers, l.router = nil, nil, nil
}

// VIP is the i-th public address, 198.51.100.1 onwards.
func VIP(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)}) }

// addr6 is 2001:db8:net::host.
func addr6(net uint16, host byte) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 4: byte(net >> 8), 5: byte(net), 15: host})
}

// vips are the first n public addresses.
func vips(n int) []netip.Addr {
	list := make([]netip.Addr, n)
	for i := range list {
		list[i] = VIP(i)
	}
	return list
}
