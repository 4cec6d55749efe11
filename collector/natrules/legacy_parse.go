package natrules

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"

	"golang.org/x/sys/unix"
)

// layout is where the parts of an entry stand: struct ipt_entry and ip6t_entry,
// include/uapi/linux/netfilter_ipv4/ip_tables.h and netfilter_ipv6/ip6_tables.h, on machines of 64 bits.
type layout struct {
	address               int // bytes of an address; four follow each other: src, dst and their masks
	in, out               int // iniface, outiface; their masks follow 32 bytes on
	proto, flags, inverse int
	gotoFlag              byte // IPT_F_GOTO, IP6T_F_GOTO
	target                int  // target_offset; next_offset follows
	counters, size        int
}

func layout4() layout {
	return layout{
		address: 4, in: 16, out: 32, proto: 80, flags: 82, inverse: 83, gotoFlag: 2, target: 88, counters: 96, size: 112,
	}
}

func layout6() layout {
	return layout{
		address: 16, in: 64, out: 80, proto: 128, flags: 131, inverse: 132, gotoFlag: 4, target: 140,
		counters: 152, size: 168,
	}
}

// Bits of invflags: IPT_INV_*, IP6T_INV_*.
const (
	invIn    = 0x01
	invOut   = 0x02
	invSrc   = 0x08
	invDst   = 0x10
	invProto = 0x40
)

// targetHead is struct xt_entry_target and xt_entry_match: size (u16), name (29 bytes), revision (u8).
const targetHead = 32

// sum is the same for the same entries, whatever their counters.
func (l *layout) sum(b []byte, seed maphash.Seed) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for len(b) >= l.size {
		next := int(binary.NativeEndian.Uint16(b[l.target+2:]))
		if next < l.size || next > len(b) {
			break
		}
		_, _ = h.Write(b[:l.counters])
		_, _ = h.Write(b[l.size:next])
		b = b[next:]
	}
	_, _ = h.Write(b)
	return h.Sum64()
}

// infoSize is the size of struct ipt_getinfo.
const infoSize = 32 + 4 + 5*4 + 5*4 + 4 + 4

// legacyTable is one table of iptables-legacy. Its rules are for flows.
type legacyTable struct {
	flows  flows
	chains map[string]*chain
}

func (t *legacyTable) chain(name string) (*chain, error) {
	c := t.chains[name]
	if c == nil {
		return nil, errors.New("not there")
	}
	return c, nil
}

// parseLegacy reads struct ipt_getinfo and the entries of a table.
func parseLegacy(family byte, l layout, name string, info, b []byte) (t legacyTable, err error) {
	if len(info) < infoSize {
		return t, fmt.Errorf("table %s: %d bytes, want struct ipt_getinfo", name, len(info))
	}
	first := int(binary.NativeEndian.Uint32(info[36+4*unix.NF_INET_POST_ROUTING:]))
	if binary.NativeEndian.Uint32(info[32:])&(1<<unix.NF_INET_POST_ROUTING) == 0 {
		return t, fmt.Errorf("table %s has no chain POSTROUTING", name)
	}
	starts, err := l.starts(b, first, info)
	if err != nil {
		return t, fmt.Errorf("table %s: %w", name, err)
	}
	t = legacyTable{flows: ofFamily(family), chains: map[string]*chain{}}
	title := tableKey{family, name}.String()
	var c *chain
	for at := 0; at < len(b); {
		next := at + int(binary.NativeEndian.Uint16(b[at+l.target+2:]))
		if name, ok := starts[at]; ok {
			c = &chain{table: title, name: name, legacy: true}
			t.chains[name] = c
		}
		s, isHead, err := l.entry(family, b[at:next], next, starts)
		if err != nil {
			s = step{nat: true, family: ofFamily(family), err: err}
		}
		if isHead {
			c = nil
		}
		if c != nil {
			s.handle = uint64(len(c.steps) + 1)
			c.steps = append(c.steps, s)
		}
		at = next
	}
	return t, nil
}

// numHooks is NF_INET_NUMHOOKS of Linux before ingress.
const numHooks = 5

// hookName is what iptables calls the chain of a hook.
func hookName(hook int) string {
	return [...]string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}[hook]
}

// starts checks that entries follow one another, and names the chains by where their first rule stands.
func (l *layout) starts(b []byte, postrouting int, info []byte) (map[int]string, error) {
	starts := map[int]string{}
	for hook := range numHooks {
		if binary.NativeEndian.Uint32(info[32:])&(1<<hook) != 0 {
			starts[int(binary.NativeEndian.Uint32(info[36+4*hook:]))] = hookName(hook)
		}
	}
	starts[postrouting] = hookName(unix.NF_INET_POST_ROUTING)
	for at := 0; at < len(b); {
		x, next, err := l.first(b[at:])
		if err != nil {
			return nil, err
		}
		if cString(x[2:31]) == "ERROR" {
			starts[at+next] = cString(x[targetHead:])
		}
		at += next
	}
	return starts, nil
}

// first returns the target of the first of some entries, with its head, and where the next entry begins.
func (l *layout) first(b []byte) (target []byte, next int, err error) {
	if len(b) < l.size {
		return nil, 0, fmt.Errorf("%d bytes left for an entry", len(b))
	}
	at, next := int(binary.NativeEndian.Uint16(b[l.target:])), int(binary.NativeEndian.Uint16(b[l.target+2:]))
	if at < l.size || at+targetHead > next || next > len(b) {
		return nil, 0, fmt.Errorf("an entry with its target at %d and its end at %d, of %d bytes", at, next, len(b))
	}
	return b[at:next], next, nil
}

// targets hands to found the data of each target of that name among entries.
func (l *layout) targets(b []byte, name string, found func([]byte)) error {
	for len(b) > 0 {
		x, next, err := l.first(b)
		if err != nil {
			return err
		}
		n, err := sized(x)
		if err != nil {
			return fmt.Errorf("target: %w", err)
		}
		if cString(x[2:31]) == name {
			found(x[targetHead:n])
		}
		b = b[next:]
	}
	return nil
}

// entry reads one rule, which ends at end in its table. head says that it only begins a chain.
func (l *layout) entry(family byte, e []byte, end int, starts map[int]string) (s step, head bool, err error) {
	c := compiler{family: family}
	c.step.family = ofFamily(family)
	l.header(&c, e)
	target := int(binary.NativeEndian.Uint16(e[l.target:]))
	for m := e[l.size:target]; len(m) > 0; {
		n, err := sized(m)
		if err != nil {
			return step{}, false, fmt.Errorf("match: %w", err)
		}
		c.when(xtMatch(cString(m[2:31]), uint32(m[31]), m[targetHead:n]))
		m = m[n:]
	}
	x := e[target:]
	n, err := sized(x)
	if err != nil {
		return step{}, false, fmt.Errorf("target: %w", err)
	}
	name, data := cString(x[2:31]), x[targetHead:n]
	switch name {
	case "ERROR":
		return step{}, true, nil
	case "":
		if len(data) < 4 {
			return step{}, false, errors.New("a verdict that is cut off")
		}
		c.branches = legacyVerdict(int32(binary.NativeEndian.Uint32(data)), end, e[l.flags]&l.gotoFlag != 0, starts)
	default:
		c.xtTarget(name, uint32(x[31]), data)
	}
	if c.err != nil {
		c.rules = nil
	}
	return c.step, false, nil
}

// sized returns the length that a match or target says it has.
func sized(b []byte) (int, error) {
	if len(b) < targetHead {
		return 0, errCut
	}
	n := int(binary.NativeEndian.Uint16(b))
	if n < targetHead || n > len(b) {
		return 0, errCut
	}
	return n, nil
}

// legacyVerdict reads the verdict of a standard target: where to jump, or -1-NF_DROP, -1-NF_ACCEPT, XT_RETURN. A
// jump to the rule that follows is none.
func legacyVerdict(v int32, end int, jumps bool, starts map[int]string) []branch {
	const xtReturn = -5 // XT_RETURN: -NF_REPEAT-1
	switch {
	case v == xtReturn:
		return []branch{{verdict: verdictReturn}}
	case v < 0:
		return []branch{{verdict: -v - 1}}
	case int(v) == end:
		return nil
	}
	kind := verdictJump
	if jumps {
		kind = verdictGoto
	}
	return []branch{{verdict: kind, chain: starts[int(v)]}}
}

// header reads the conditions that every entry has room for.
func (l *layout) header(c *compiler, e []byte) {
	inverse := e[l.inverse]
	a := l.address
	for i, inv := range []byte{invSrc, invDst} {
		address, mask := e[i*a:(i+1)*a], e[(i+2)*a:(i+3)*a]
		of := source + side(i)
		if a == 16 {
			of = source6 + side(i)
		}
		if n, ok := ones(mask); ok && n > 0 && inverse&inv == 0 {
			if p, ok := prefixOf(address, n, a == 16); ok {
				c.when(inPrefix(of, p))
				continue
			}
		}
		if !zero(mask) {
			c.when(cond{text: fmt.Sprintf("address %d is %x of %x %v", i, address, mask, inverse&inv != 0), flows: allFlows})
		}
	}
	if mask := e[l.in+32 : l.in+48]; !zero(mask) {
		c.when(cond{text: fmt.Sprintf("comes by %x of %x %v", e[l.in:l.in+16], mask, inverse&invIn != 0), flows: allFlows})
	}
	if mask := e[l.out+32 : l.out+48]; !zero(mask) {
		name := cString(e[l.out : l.out+16])
		// The mask of eth+ has as many bytes as stand before the plus sign, which the name still has.
		if n := bytes.IndexByte(mask, 0); n >= 0 && n <= len(name) {
			name = name[:n] + "*"
		}
		c.leaves([]out{{name: name}}, inverse&invOut != 0)
	}
	if p := binary.NativeEndian.Uint16(e[l.proto:]); p != 0 {
		c.when(cond{flows: protocolsIn(func(v byte) bool { return (uint16(v) == p) != (inverse&invProto != 0) })})
	}
}
