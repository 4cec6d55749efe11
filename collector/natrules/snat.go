package natrules

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
)

// maxPairs bounds the addresses of one map times the ports of another.
const maxPairs = 65536

// errEmptyMap: a rule of which the map has no elements.
var errEmptyMap = errors.New("an empty map: it translates nothing until it has elements")

func (c *compiler) masquerade(f *fields) {
	c.nat = true
	c.translate(&natExpression{
		portMin: f.u32(unix.NFTA_MASQ_REG_PROTO_MIN), portMax: f.u32(unix.NFTA_MASQ_REG_PROTO_MAX),
	})
	for _, of := range [][]Rule{c.rules, c.drawnRules} {
		for i := range of {
			of[i].Masquerade = true
		}
	}
}

// snat is a nat expression that changes sources; one that changes destinations is a verdict.
func (c *compiler) snat(f *fields) {
	if f.u32(unix.NFTA_NAT_TYPE) != unix.NFT_NAT_SNAT {
		c.branches = []branch{{verdict: verdictAccept}}
		return
	}
	c.nat = true
	n := natExpression{
		family: byte(f.u32(unix.NFTA_NAT_FAMILY)), flags: f.u32(unix.NFTA_NAT_FLAGS),
		addrMin: f.u32(unix.NFTA_NAT_REG_ADDR_MIN), addrMax: f.u32(unix.NFTA_NAT_REG_ADDR_MAX),
		portMin: f.u32(unix.NFTA_NAT_REG_PROTO_MIN), portMax: f.u32(unix.NFTA_NAT_REG_PROTO_MAX),
	}
	if families := ofFamily(n.family); families != 0 {
		c.step.family &= families
	}
	if n.flags&natPrefix != 0 {
		c.remark = "translates a prefix one to one: it holds no ports"
		return
	}
	c.translate(&n)
}

// translate notes what the registers make of a nat expression.
func (c *compiler) translate(n *natExpression) {
	c.drawn, c.byMark = n.keyed(&c.regs)
	if c.rules, c.err = n.outcomes(&c.regs, c.drawn); c.byMark != 0 && c.err == nil {
		c.drawnRules, _ = n.outcomes(&c.regs, true)
	}
}

// natExpression is a nat expression by its registers, 0 for none.
type natExpression struct {
	family                             byte
	flags                              uint32
	addrMin, addrMax, portMin, portMax uint32
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

// keyed reports whether the key of the map that is used is drawn for each packet, and the bits of a mark that it hangs
// on.
func (n *natExpression) keyed(regs *registers) (drawn bool, mark uint32) {
	for _, reg := range []uint32{n.addrMin, n.portMin} {
		if w := regs.get(reg); reg != 0 && w.kind == fromMap {
			drawn, mark = w.drawn, w.mark
		}
	}
	return drawn, mark
}

// outcomes gathers what the registers can hold when the nat expression runs: one outcome
// for constants, one for each element of a map. drawn: the next packet of a flow may get another.
func (n *natExpression) outcomes(regs *registers, drawn bool) (rules []Rule, err error) {
	pairs, err := n.pairs(regs)
	if err != nil {
		return nil, err
	}
	for _, at := range pairs {
		r, err := n.outcome(regs, at)
		if err != nil {
			return nil, err
		}
		if drawn && !r.SpacePerVIP {
			rules = append(rules, r)
			continue
		}
		r.SpacePerVIP = len(r.VIPs) > 1 || len(pairs) > 1
		rules = merge(rules, r)
	}
	slices.SortStableFunc(rules, func(a, b Rule) int { return cmp.Compare(a.Ports.First, b.Ports.First) })
	for i := range rules {
		rules[i].SpacePerVIP = rules[i].SpacePerVIP && len(rules[i].VIPs) > 1
	}
	return rules, nil
}

// pair says which element of its map the address is from, and which the ports.
type pair struct{ addr, port int }

// pairs lists the elements that can meet: one map gives address and ports together, two maps give any of both.
func (n *natExpression) pairs(regs *registers) (list []pair, err error) {
	var from [2]*word
	for i, reg := range [2]uint32{n.addrMin, n.portMin} {
		if w := regs.get(reg); reg != 0 && w.kind == fromMap {
			if from[i] = &w; len(w.elements) == 0 {
				return nil, errEmptyMap
			}
		}
	}
	a, p := from[0], from[1]
	switch {
	case a == nil && p == nil:
		return []pair{{}}, nil
	case a == nil || p == nil || a.loaded == p.loaded:
		for i := range len(cmp.Or(a, p).elements) {
			list = append(list, pair{i, i})
		}
		return list, nil
	case a.drawn != p.drawn || a.mark != p.mark:
		return nil, errors.New("an address and ports of two maps, of which the flow decides one alone")
	case len(a.elements)*len(p.elements) > maxPairs:
		return nil, fmt.Errorf("an address and ports of two maps, which make more than %d pairs", maxPairs)
	}
	for i := range a.elements {
		for k := range p.elements {
			list = append(list, pair{i, k})
		}
	}
	return list, nil
}

func (n *natExpression) outcome(regs *registers, at pair) (r Rule, err error) {
	if r.Ports, err = regs.ports(n.portMin, n.portMax, at.port); err != nil || n.addrMin == 0 {
		return r, err
	}
	last := n.addrMax
	if last == 0 {
		last = n.addrMin
	}
	a, ok1 := regs.addr(n.addrMin, n.family, at.addr)
	b, ok2 := regs.addr(last, n.family, at.addr)
	if !ok1 || !ok2 {
		return Rule{}, errors.New("an address that depends on the flow")
	}
	if r.VIPs, err = addresses(a, b); err != nil {
		return Rule{}, err
	}
	r.SpacePerVIP = len(r.VIPs) > 1
	return r, nil
}

// merge adds an outcome to one with the same ports.
func merge(rules []Rule, r Rule) []Rule {
	for i := range rules {
		have := &rules[i]
		if have.Ports != r.Ports {
			continue
		}
		have.SpacePerVIP = have.SpacePerVIP || r.SpacePerVIP
		have.VIPs = union(have.VIPs, r.VIPs)
		return rules
	}
	return append(rules, r)
}
