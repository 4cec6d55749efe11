package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
)

// Form is how a NAT rule names its VIPs. It decides whether a flow that finds its VIP full
// gets another.
type Form uint8

// The forms of a NAT rule.
const (
	// Range: snat to first-last:ports. The VIP follows from a hash of source and
	// destination; there is no other. One VIP is the range of one.
	Range Form = iota
	// Numgen: snat to numgen inc mod n map {…}:ports. Every attempt takes the next VIP, so the
	// SYN that is sent again gets another.
	Numgen
	// Masquerade: the VIP is the router's address on the way out, with all its ports.
	Masquerade
)

// NAT is one source NAT rule of the router, made for TCP and for UDP.
type NAT struct {
	// Nodes whose flows it translates, by number; none means all.
	Nodes []int
	Form  Form
	// VIPs, all of one family; for Range they must be consecutive, for Masquerade there are none
	// and the rule is IPv4.
	VIPs []netip.Addr
	// Ports that each VIP has; none for Masquerade (google/nftables cannot say them).
	Ports collector.PortRange
	// Random, FullyRandom and Persistent are the flags of the same names.
	Random, FullyRandom, Persistent bool
}

func (r *NAT) ipv6() bool { return r.Form != Masquerade && r.VIPs[0].Is6() }

// check refuses a rule that the kernel would take and understand differently, or that is for
// a node that does not exist.
func (r *NAT) check(nodes int) error {
	for _, i := range r.Nodes {
		if i < 0 || i >= nodes {
			return fmt.Errorf("NAT rule: node %d of %d", i, nodes)
		}
	}
	if r.Form == Masquerade {
		if len(r.VIPs) > 0 || r.Ports != (collector.PortRange{}) {
			return errors.New("NAT rule: masquerade has neither VIPs nor ports")
		}
		return nil
	}
	if r.Ports.First == 0 || r.Ports.Len() < 1 {
		return fmt.Errorf("NAT rule: ports %d-%d is no range", r.Ports.First, r.Ports.Last)
	}
	if len(r.VIPs) == 0 {
		return errors.New("NAT rule: no VIP")
	}
	for i, v := range r.VIPs[1:] {
		if v.Is4() != r.VIPs[0].Is4() {
			return errors.New("NAT rule: VIPs of two families")
		}
		if r.Form == Range && v != r.VIPs[i].Next() {
			return fmt.Errorf("NAT rule: %v does not follow %v in the range", v, r.VIPs[i])
		}
	}
	return nil
}

// transaction is a batch of changes to the rules. It numbers the sets in it, because the library does so
// in a variable that all its connections share without a lock.
type transaction struct {
	*nftables.Conn
	sets uint32
}

// SetNAT replaces the router's NAT rules in one transaction. Flows that exist keep
// their VIP and port. One goroutine may call it at a time.
func (l *Lab) SetNAT(rules ...NAT) error {
	conn, err := nftables.New(nftables.WithNetNSFd(l.router.FD()))
	if err != nil {
		return fmt.Errorf("set NAT: %w", err)
	}
	c := &transaction{Conn: conn}
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		table := &nftables.Table{Name: "nat", Family: family}
		c.AddTable(table) // so that deleting it is no error the first time
		c.DelTable(table)
		c.AddTable(table)
		chain := c.AddChain(&nftables.Chain{
			Name: "postrouting", Table: table, Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
		})
		for i := range rules {
			if err := rules[i].check(len(l.nodes)); err != nil {
				return err
			}
			if rules[i].ipv6() != (family == nftables.TableFamilyIPv6) {
				continue
			}
			if err := l.addRule(c, chain, &rules[i]); err != nil {
				return fmt.Errorf("set NAT: %w", err)
			}
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("set NAT: %w", err)
	}
	l.nat = slices.Clone(rules)
	return l.assignVIPs(rules)
}

// assignVIPs puts the VIPs on the router, as a gateway has them.
func (l *Lab) assignVIPs(rules []NAT) error {
	for i := range rules {
		for _, v := range rules[i].VIPs {
			if err := addAddrs(l.router, "lo", netip.PrefixFrom(v, v.BitLen())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Lab) addRule(c *transaction, chain *nftables.Chain, r *NAT) error {
	sources := [][]expr.Any{nil}
	if len(r.Nodes) > 0 {
		sources = nil
	}
	for _, i := range r.Nodes {
		sources = append(sources, fromSource(l.nodes[i], r.ipv6()))
	}
	for _, source := range sources {
		for _, proto := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			target, err := r.target(c, chain.Table)
			if err != nil {
				return err
			}
			exprs := append(slices.Clone(source),
				&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
			)
			c.AddRule(&nftables.Rule{Table: chain.Table, Chain: chain, Exprs: append(exprs, target...)})
		}
	}
	return nil
}

// fromSource matches the source address of a node: ip saddr at offset 12, ip6 saddr at 8.
func fromSource(h *Host, ipv6 bool) []expr.Any {
	addr, offset := h.Addr, uint32(12)
	if ipv6 {
		addr, offset = h.Addr6, 8
	}
	b := addr.AsSlice()
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(len(b))},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: b},
	}
}

// target is the rule's verdict: addresses in registers 1 and 2, ports in 3 and 4.
func (r *NAT) target(c *transaction, t *nftables.Table) ([]expr.Any, error) {
	if r.Form == Masquerade {
		return []expr.Any{&expr.Masq{Random: r.Random, FullyRandom: r.FullyRandom, Persistent: r.Persistent}}, nil
	}
	exprs := []expr.Any{
		&expr.Immediate{Register: 3, Data: binaryutil.BigEndian.PutUint16(r.Ports.First)},
		&expr.Immediate{Register: 4, Data: binaryutil.BigEndian.PutUint16(r.Ports.Last)},
	}
	nat := &expr.NAT{
		Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4,
		RegAddrMin: 1, RegProtoMin: 3, RegProtoMax: 4,
		Random: r.Random, FullyRandom: r.FullyRandom, Persistent: r.Persistent, Specified: true,
	}
	if r.ipv6() {
		nat.Family = unix.NFPROTO_IPV6
	}
	if r.Form == Range {
		nat.RegAddrMax = 2
		return append(exprs,
			&expr.Immediate{Register: 1, Data: r.VIPs[0].AsSlice()},
			&expr.Immediate{Register: 2, Data: r.VIPs[len(r.VIPs)-1].AsSlice()},
			nat), nil
	}
	c.sets++
	set := &nftables.Set{
		ID: c.sets, Name: "__map%d", Table: t, Anonymous: true, Constant: true, IsMap: true,
		KeyType: nftables.TypeInteger, DataType: nftables.TypeIPAddr,
	}
	if r.ipv6() {
		set.DataType = nftables.TypeIP6Addr
	}
	var elements []nftables.SetElement
	for i, v := range r.VIPs {
		elements = append(elements, nftables.SetElement{
			Key: binary.NativeEndian.AppendUint32(nil, uint32(i)), Val: v.AsSlice(),
		})
	}
	if err := c.AddSet(set, elements); err != nil {
		return nil, err
	}
	return append(exprs,
		&expr.Numgen{Register: 1, Modulus: uint32(len(r.VIPs)), Type: unix.NFT_NG_INCREMENTAL},
		&expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetName: set.Name, SetID: set.ID},
		nat), nil
}
