package budget

import (
	"slices"

	"github.com/snatwatch/snatwatch/collector"
)

// The functions of this file give the ports of one port space for the models
// without a table.

const (
	azurePortsPerVIP = 64000
	gcpPortsPerVIP   = 64512
	ciliumFirst      = 32768 // the port after the NodePort range
	lastPort         = 65535
)

func perVIP(ports int) func(*Params) (int, *KeyError) {
	return func(p *Params) (int, *KeyError) { return ports * p.vips(), nil }
}

// givenPorts takes ports from the parameters, def where there are none.
func givenPorts(def, least, most int) func(*Params) (int, *KeyError) {
	return func(p *Params) (int, *KeyError) {
		switch {
		case p.Ports == 0:
			return def, nil
		case p.Ports < least, p.Ports > most:
			return 0, badKey("ports", p.Ports, "%d to %d", least, most)
		}
		return p.Ports, nil
	}
}

// staticPorts may be given for both protocols or for each.
func staticPorts(p *Params) (int, *KeyError) {
	const most = 1 << 24
	given := [...]int{p.Ports, 0, 0}
	for i, n := range []*int{p.TCP.Ports, p.UDP.Ports} {
		if n != nil {
			given[i+1] = *n
		}
	}
	for i, key := range []string{"ports", "tcp.ports", "udp.ports"} {
		if n := given[i]; n < 0 || n > most {
			return 0, badKey(key, n, "1 to %d, or 0 for none", most)
		}
	}
	if given == [3]int{} {
		return 0, badKey("ports", nil, "the ports of one port space, 1 to %d", most)
	}
	return p.Ports, nil
}

func manualPorts(p *Params) (int, *KeyError) {
	stock := azurePortsPerVIP * p.vips()
	switch {
	case p.Ports == 0:
		return 0, badKey("ports", p.Ports,
			"allocatedOutboundPorts of the outbound rule (0 there means the default table: model azure-lb)")
	case p.Ports < 0, p.Ports%8 != 0, p.Ports > stock:
		return 0, badKey("ports", p.Ports, "a multiple of 8 up to %d (64000 for each VIP)", stock)
	case p.Nodes < 0:
		return 0, badKey("nodes", p.Nodes, "the pool size")
	case p.Ports*p.Nodes > stock:
		return 0, badKey("ports", p.Ports,
			"at most %d: %d nodes share %d ports (64000 for each VIP)", stock/p.Nodes/8*8, p.Nodes, stock)
	}
	return p.Ports, nil
}

func firewallPorts(p *Params) (int, *KeyError) {
	n := p.Instances
	if n == 0 {
		n = 2
	}
	const most = 1000 // far above what Azure runs, and the ports can be counted
	if n < 2 || n > most {
		return 0, badKey("instances", n, "2 to %d: a firewall has at least two", most)
	}
	return 2496 * p.vips() * n, nil
}

// gcpReserved is what a VM gets whose minimum is least: 1024 or more with alias ranges, whatever the minimum.
func gcpReserved(p *Params, least int) int {
	if p.AliasRanges {
		return max(least, 1024)
	}
	return least
}

func gcpStaticPorts(p *Params) (int, *KeyError) {
	least := p.Ports
	if least == 0 {
		least = 64
	}
	if least < 1 {
		return 0, badKey("ports", least, "at least 1")
	}
	ports := gcpReserved(p, least)
	return ports, gcpFits(p, "ports", ports)
}

func gcpDynamicPorts(p *Params) (int, *KeyError) {
	least, most := p.Ports, p.MaxPorts
	if least == 0 {
		least = 32
	}
	if most == 0 {
		most = 65536
	}
	if least < 32 || least&(least-1) != 0 {
		return 0, badKey("ports", least, "the minimum per VM, a power of two from 32")
	}
	least = gcpReserved(p, least)
	if most <= least || most > 65536 || most&(most-1) != 0 {
		return 0, badKey("max_ports", most, "a power of two above %d and up to 65536", least)
	}
	if err := gcpFits(p, "ports", least); err != nil {
		return 0, err
	}
	// A VM cannot grow beyond what the VIPs have in all.
	return min(most, gcpPortsPerVIP*p.vips()), nil
}

// gcpFits checks that all nodes can get their ports, where the VIPs are known.
func gcpFits(p *Params, key string, ports int) *KeyError {
	stock := gcpPortsPerVIP * p.vips()
	if ports > stock {
		return badKey(key, ports, "at most %d (64512 for each VIP)", stock)
	}
	if p.givenVIPs() > 0 && ports*p.Nodes > stock {
		return badKey("nodes", p.Nodes,
			"at most %d: each takes %d of %d ports (64512 for each VIP)", stock/ports, ports, stock)
	}
	return nil
}

// defaultRange is what netfilter picks from when the original port is 1024 or above.
func defaultRange() collector.PortRange { return collector.PortRange{First: 1024, Last: lastPort} }

// rangePorts counts the range once for each VIP that a failed pick is retried on.
func rangePorts(p *Params) (int, *KeyError) {
	if len(p.Pools) > 0 {
		n := 0
		for _, x := range p.Pools {
			n += x.Ports.Len()
		}
		return n, nil
	}
	r := p.PortRange
	if r == (collector.PortRange{}) {
		r = defaultRange()
	}
	if p.SpacePerVIP {
		return r.Len(), nil
	}
	return r.Len() * p.vips(), nil
}

// linuxCeiling: netfilter scans up to 128 ports one by one and larger ranges in
// windows from random offsets, so that it misses free ports once few are left.
func linuxCeiling(p *Params) (float64, *KeyError) {
	if p.PortRange != (collector.PortRange{}) && p.PortRange.Len() <= 128 {
		return 1, nil
	}
	return 0.92, nil
}

// ciliumPorts: the code counts last minus first, one less than the range holds.
func ciliumPorts(p *Params) (int, *KeyError) {
	r := p.PortRange
	if r == (collector.PortRange{}) {
		r = collector.PortRange{First: ciliumFirst, Last: lastPort}
	}
	if r.Len() < 2 {
		return 0, badKey("port_range", rangeText(r), "two ports or more")
	}
	if p.SpacePerVIP {
		return r.Len() - 1, nil
	}
	return (r.Len() - 1) * p.vips(), nil
}

func ciliumCeiling(p *Params) (float64, *KeyError) {
	switch p.Retries {
	case 0, 32:
		return 0.86, nil
	case 128:
		return 0.96, nil
	}
	return 0, badKey("retries", p.Retries, "32 or 128: SNAT_COLLISION_RETRIES of the build")
}

// localRange defaults to the kernel's own default.
func (p *Params) localRange() collector.PortRange {
	if p.PortRange == (collector.PortRange{}) {
		return collector.PortRange{First: 32768, Last: 60999}
	}
	return p.PortRange
}

// localPorts is the range without the reserved ports that lie in it.
func localPorts(p *Params) (int, *KeyError) {
	r := p.localRange()
	reserved := 0
	for port := int(r.First); port <= int(r.Last); port++ {
		for _, x := range p.Reserved {
			if port >= int(x.First) && port <= int(x.Last) {
				reserved++
				break
			}
		}
	}
	if reserved == r.Len() {
		return 0, badKey("reserved_ports", rangeText(p.Reserved[0]), "fewer than the whole of %s", rangeText(r))
	}
	return r.Len() - reserved, nil
}

// fixedTotal is a total that the provider fixes.
func fixedTotal(ports int) func(*Params) int { return func(*Params) int { return ports } }

// sizedPorts is a limit for each destination; ports, where given, is the size of the gateway, one of sizes.
func sizedPorts(ports int, sizes ...int) func(*Params) (int, *KeyError) {
	return func(p *Params) (int, *KeyError) {
		if p.Ports != 0 && !slices.Contains(sizes, p.Ports) {
			return 0, badKey("ports", p.Ports, "a size of the gateway in flows, one of %v", sizes)
		}
		return ports, nil
	}
}

// sizedPortsPerVIP is the same for each VIP.
func sizedPortsPerVIP(ports int, sizes ...int) func(*Params) (int, *KeyError) {
	sized := sizedPorts(ports, sizes...)
	return func(p *Params) (int, *KeyError) {
		n, err := sized(p)
		return n * p.vips(), err
	}
}

// blockPorts is what a node has of a device that gives ports out in blocks.
func blockPorts(p *Params) (int, *KeyError) {
	blocks := max(1, p.Blocks)
	switch {
	case p.Ports < 1 || p.Ports > lastPort+1:
		return 0, badKey("ports", p.Ports, "the ports of a block, 1 to %d", lastPort+1)
	case p.Ports*blocks > (lastPort+1)*p.vips():
		return 0, badKey("blocks", p.Blocks, "at most %d: %d ports each, %d for each VIP", (lastPort+1)*p.vips()/p.Ports,
			p.Ports, lastPort+1)
	}
	return p.Ports * blocks, nil
}

// pfPorts is the range of a rule without static-port.
func pfPorts(p *Params) (int, *KeyError) {
	r := p.PortRange
	if r == (collector.PortRange{}) {
		r = collector.PortRange{First: 50001, Last: lastPort}
	}
	return r.Len() * p.vips(), nil
}
