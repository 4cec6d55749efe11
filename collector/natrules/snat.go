package natrules

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"

	"github.com/snatwatch/snatwatch/collector"
)

func masquerade(regs *registers, e *expr.Masq) ([]Rule, error) {
	ports, err := regs.ports(e.RegProtoMin, e.RegProtoMax, 0)
	if err != nil {
		return nil, err
	}
	return []Rule{{Masquerade: true, Ports: ports}}, nil
}

// ports reads a range from two registers; no register is the kernel's default.
func (r *registers) ports(first, last uint32, e int) (collector.PortRange, error) {
	if first == 0 {
		return collector.PortRange{}, nil
	}
	if last == 0 {
		last = first
	}
	f, ok1 := r.port(first, e)
	l, ok2 := r.port(last, e)
	if !ok1 || !ok2 || f == 0 || f > l {
		return collector.PortRange{}, errors.New("ports that depend on the flow")
	}
	return collector.PortRange{First: f, Last: l}, nil
}

// snat gathers what the registers can hold when the nat expression runs: one outcome
// for constants, one for each element of a map.
func snat(regs *registers, e *expr.NAT) ([]Rule, error) {
	if e.Prefix {
		return nil, errors.New("a prefix translated one to one")
	}
	if e.RegAddrMin == 0 {
		ports, err := regs.ports(e.RegProtoMin, e.RegProtoMax, 0)
		return []Rule{{Ports: ports}}, err
	}
	outcomes, retried := 1, false
	for _, reg := range []uint32{e.RegAddrMin, e.RegProtoMin} {
		if w := regs.get(reg); w.kind == fromMap {
			outcomes, retried = len(w.elements), w.retried
		}
	}
	if outcomes == 0 {
		return nil, errors.New("an empty map")
	}
	var rules []Rule
	for i := range outcomes {
		r, err := outcome(regs, e, i)
		if err != nil {
			return nil, err
		}
		r.SpacePerVIP = len(r.VIPs) > 1
		if outcomes > 1 {
			r.SpacePerVIP = r.SpacePerVIP || !retried
		}
		rules = merge(rules, r)
	}
	if retried && len(rules) > 1 {
		return nil, errors.New("a map that picks anew for each try among different ports")
	}
	slices.SortFunc(rules, func(a, b Rule) int { return cmp.Compare(a.Ports.First, b.Ports.First) })
	for i := range rules {
		rules[i].SpacePerVIP = rules[i].SpacePerVIP && len(rules[i].VIPs) > 1
	}
	return rules, nil
}

func outcome(regs *registers, e *expr.NAT, i int) (Rule, error) {
	family := byte(e.Family)
	last := e.RegAddrMax
	if last == 0 {
		last = e.RegAddrMin
	}
	a, ok1 := regs.addr(e.RegAddrMin, family, i)
	b, ok2 := regs.addr(last, family, i)
	if !ok1 || !ok2 {
		return Rule{}, errors.New("an address that depends on the flow")
	}
	vips, err := addresses(a, b)
	if err != nil {
		return Rule{}, err
	}
	ports, err := regs.ports(e.RegProtoMin, e.RegProtoMax, i)
	return Rule{VIPs: vips, Ports: ports}, err
}

// merge adds an outcome to one with the same ports.
func merge(rules []Rule, r Rule) []Rule {
	for i := range rules {
		have := &rules[i]
		if have.Ports != r.Ports {
			continue
		}
		have.SpacePerVIP = have.SpacePerVIP || r.SpacePerVIP
		have.VIPs = slices.Concat(have.VIPs, r.VIPs)
		slices.SortFunc(have.VIPs, netip.Addr.Compare)
		have.VIPs = slices.Compact(have.VIPs)
		return rules
	}
	return append(rules, r)
}

// addresses lists a range, ends included.
func addresses(first, last netip.Addr) ([]netip.Addr, error) {
	var as []netip.Addr
	for a := first; a.IsValid() && a.Compare(last) <= 0; a = a.Next() {
		if len(as) == maxVIPs {
			return nil, fmt.Errorf("%v-%v is more than %d addresses", first, last, maxVIPs)
		}
		as = append(as, a)
	}
	if len(as) == 0 {
		return nil, fmt.Errorf("addresses %v-%v upside down", first, last)
	}
	return as, nil
}
