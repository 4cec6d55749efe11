package natrules

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
)

// maxVIPs bounds what an address range of a rule may name: a /20.
const maxVIPs = 4096

// draft is what one rule says: a Rule for each distinct outcome, and the matches
// that narrow it down.
type draft struct {
	rules []Rule
	// out is the interface that the rule is for, or its index; wildcard is "eth*".
	out      string
	outIndex int
	// tcp and udp: the rule applies to the protocol.
	tcp, udp bool
	// v4 and v6: it applies to the address family.
	v4, v6 bool
}

// elementsOf returns the data of all elements of a map, or the keys of a set.
type elementsOf func(set string) (data, keys [][]byte, err error)

// parse follows a rule's expressions. A rule that leaves sources alone gives a draft
// without rules; one that changes them in a way not understood an error.
func parse(family byte, exprs []expr.Any, sets elementsOf) (draft, error) {
	d := draft{tcp: true, udp: true, v4: family != unix.NFPROTO_IPV6, v6: family != unix.NFPROTO_IPV4}
	var regs registers
	for _, e := range exprs {
		var err error
		switch e := e.(type) {
		case *expr.Immediate:
			regs.constant(e.Register, e.Data)
		case *expr.Meta:
			if !e.SourceRegister {
				regs.set(e.Register, 4, word{field: metaField(e.Key)})
			}
		case *expr.Payload:
			if e.OperationType == expr.PayloadLoad {
				regs.set(e.DestRegister, words(e.Len), word{field: payloadField(e, family)})
			}
		case *expr.Ct:
			if !e.SourceRegister {
				regs.set(e.Register, 4, word{})
			}
		case *expr.Fib:
			regs.set(e.Register, 4, word{})
		case *expr.Exthdr:
			if e.DestRegister != 0 {
				regs.set(e.DestRegister, words(e.Len), word{})
			}
		case *expr.Bitwise:
			regs.set(e.DestRegister, words(e.Len), regs.get(e.SourceRegister).masked())
		case *expr.Hash:
			regs.set(e.DestRegister, 1, word{})
		case *expr.Numgen:
			regs.set(e.Register, 1, word{kind: fromNumgen})
		case *expr.Cmp:
			d.match(regs.get(e.Register).field, e)
		case *expr.Lookup:
			err = d.lookup(&regs, e, sets)
		case *expr.NAT:
			if e.Type == expr.NATTypeSourceNAT {
				d.rules, err = snat(&regs, e)
			}
		case *expr.Masq:
			d.rules, err = masquerade(&regs, e)
		case *expr.Target:
			d.rules, err = target(family, e)
		}
		if err != nil {
			return draft{}, err
		}
		if d.rules != nil {
			break
		}
	}
	for i := range d.rules {
		if d.rules[i].Ports == (collector.PortRange{First: 1024, Last: 65535}) {
			d.rules[i].Ports = collector.PortRange{}
		}
		d.rules[i].TCP, d.rules[i].UDP = d.tcp, d.udp
	}
	if !d.tcp && !d.udp {
		d.rules = nil
	}
	return d, nil
}

func words(bytes uint32) int { return int(bytes+3) / 4 }

// masked is what a bitwise expression makes of a word: no constant any more.
func (w word) masked() word {
	if w.kind == fromNumgen {
		return word{kind: fromNumgen}
	}
	return word{}
}

func metaField(k expr.MetaKey) field {
	switch k {
	case expr.MetaKeyOIFNAME:
		return fieldOIFName
	case expr.MetaKeyOIF:
		return fieldOIF
	case expr.MetaKeyL4PROTO:
		return fieldProtocol
	case expr.MetaKeyNFPROTO:
		return fieldFamily
	}
	return noField
}

// payloadField knows the protocol byte of the IPv4 header, and next header of IPv6.
func payloadField(p *expr.Payload, family byte) field {
	if p.Base != expr.PayloadBaseNetworkHeader || p.Len != 1 {
		return noField
	}
	if p.Offset == 9 && family != unix.NFPROTO_IPV6 || p.Offset == 6 && family == unix.NFPROTO_IPV6 {
		return fieldProtocol
	}
	return noField
}

// match narrows the draft by a comparison.
func (d *draft) match(f field, e *expr.Cmp) {
	switch {
	case f == fieldProtocol && len(e.Data) == 1:
		switch p := e.Data[0]; e.Op {
		case expr.CmpOpEq:
			d.tcp, d.udp = d.tcp && p == unix.IPPROTO_TCP, d.udp && p == unix.IPPROTO_UDP
		case expr.CmpOpNeq:
			d.tcp, d.udp = d.tcp && p != unix.IPPROTO_TCP, d.udp && p != unix.IPPROTO_UDP
		}
	case e.Op != expr.CmpOpEq:
	case f == fieldFamily && len(e.Data) == 1:
		d.v4, d.v6 = d.v4 && e.Data[0] == unix.NFPROTO_IPV4, d.v6 && e.Data[0] == unix.NFPROTO_IPV6
	case f == fieldOIFName:
		name, _, whole := strings.Cut(string(e.Data), "\x00")
		if d.out = name; !whole && len(e.Data) < unix.IFNAMSIZ {
			d.out += "*"
		}
	case f == fieldOIF && len(e.Data) == 4:
		d.outIndex = int(binary.NativeEndian.Uint32(e.Data))
	}
}

// lookup is a match against a set, or the value that a map gives.
func (d *draft) lookup(regs *registers, e *expr.Lookup, sets elementsOf) error {
	key := regs.get(e.SourceRegister)
	switch {
	case e.IsDestRegSet && e.DestRegister != unix.NFT_REG_VERDICT:
		data, _, err := sets(e.SetName)
		if err != nil {
			return fmt.Errorf("map %s: %w", e.SetName, err)
		}
		regs.lookup(key, e.DestRegister, data)
	case key.field == fieldProtocol && !e.IsDestRegSet:
		_, keys, err := sets(e.SetName)
		if err != nil {
			return fmt.Errorf("set %s: %w", e.SetName, err)
		}
		has := func(p byte) bool {
			return e.Invert != slices.ContainsFunc(keys, func(k []byte) bool { return len(k) > 0 && k[0] == p })
		}
		d.tcp, d.udp = d.tcp && has(unix.IPPROTO_TCP), d.udp && has(unix.IPPROTO_UDP)
	}
	return nil
}
