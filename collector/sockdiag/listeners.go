package sockdiag

import "slices"

// portSet is a set of ports; 8 KiB.
type portSet [1 << 16 / 64]uint64

func (p *portSet) has(port uint16) bool { return p[port/64]>>(port%64)&1 == 1 }

// add reports whether port was not there before.
func (p *portSet) add(port uint16) bool {
	had := p.has(port)
	p[port/64] |= 1 << (port % 64)
	return !had
}

// inbound knows, by local port, which sockets are connections that a listener of the namespace accepted. They are no
// flows of this machine. After its listener is gone, a port stays known as long as each dump shows a connection on
// it, so that a server that restarts or drains does not turn its clients into flows.
//
// Of connections whose listener went before the agent came, unsure finds out. It errs in one case: it does not take a
// flow for one if something listens on the same port at another address.
type inbound struct {
	ports, used         portSet // used: this dump has shown a connection on it
	portList, usedPorts []uint16
}

// restart begins the dump of a namespace; used are the ports with connections in its last dump.
func (i *inbound) restart(used []uint16) {
	i.ports, i.used = portSet{}, portSet{}
	i.portList, i.usedPorts = i.portList[:0], i.usedPorts[:0]
	for _, p := range used {
		i.listen(p)
	}
}

func (i *inbound) listen(port uint16) {
	if i.ports.add(port) {
		i.portList = append(i.portList, port)
	}
}

// accepted reports whether a connection on the local port is inbound.
func (i *inbound) accepted(port uint16) bool {
	if !i.ports.has(port) {
		return false
	}
	if i.used.add(port) {
		i.usedPorts = append(i.usedPorts, port)
	}
	return true
}

// heard is what a namespace keeps of inbound from one dump to the next.
type heard struct {
	ports []uint16 // sorted
	used  []uint16
}

func (h *heard) keep(i *inbound) {
	h.ports = append(h.ports[:0], i.portList...)
	slices.Sort(h.ports)
	h.used = append(h.used[:0], i.usedPorts...)
}

func (h *heard) has(port uint16) bool {
	_, ok := slices.BinarySearch(h.ports, port)
	return ok
}
