package natrules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

func itoa(n int) string { return strconv.Itoa(n) }

// step is a rule as the walk needs it.
type step struct {
	handle uint64
	conds  []cond
	// branches are where flows that match go, each for its own conditions beside conds.
	branches []branch
	// total: one of the branches is for every packet.
	total bool
	// rules are what the source is changed to, in Table, Chain and Handle not filled in. Empty with nat is
	// a translation that holds no ports: remark says which.
	nat    bool
	rules  []Rule
	family flows // that the translation is for
	drawn  bool  // rules are drawn among, anew for each packet
	remark string
	// byMark are the bits of a mark that decide which of rules it is. Where they are drawn it is one of drawnRules.
	byMark     uint32
	drawnRules []Rule
	// marks are the bits of a mark that the rule sets, drawsMark those that it draws for each packet.
	marks, drawsMark uint32
	// err is why the rule, which changes sources, is not understood.
	err error
	// more: the step before is of the same rule.
	more bool
}

// done: nothing that follows in the rule is run.
func (s *step) done() bool {
	return s.nat || len(s.branches) > 0
}

// when adds conditions.
func (s *step) when(conds ...cond) { s.conds = append(s.conds, conds...) }

// passing adds a condition that does not hang on the flow alone.
func (s *step) passing(text string) { s.when(cond{text: text, flows: allFlows, passing: true}) }

// leaves adds a condition on the interface that the flow leaves by.
func (s *step) leaves(outs []out, not bool) {
	s.when(cond{text: outText(outs, not), flows: allFlows, outs: outs, isOut: true, not: not})
}

// mark sets the mark to what w holds.
func (s *step) mark(w word) {
	set := ^w.kept
	s.marks |= set
	if w.drawn {
		s.drawsMark |= set & w.draw.bits()
	}
}

// branch is a verdict. chain is for verdictJump and verdictGoto.
type branch struct {
	conds   []cond
	verdict int32
	chain   string
}

// element is one of a set or map. An interval goes from key up to and including last, or where open is set up to
// before it.
type element struct {
	key, last []byte
	open      bool
	all       bool // whatever no other element has
	data      []byte
	verdict   int32
	chain     string
}

// same reports whether two elements say the same.
func (e element) same(o element) bool {
	return slices.Equal(e.key, o.key) && slices.Equal(e.last, o.last) && slices.Equal(e.data, o.data) &&
		e.open == o.open && e.all == o.all && e.verdict == o.verdict && e.chain == o.chain
}

func (e *element) has(key []byte) bool {
	if e.all {
		return true
	}
	n := min(len(key), len(e.key), len(e.last))
	from, to := slices.Compare(e.key[:n], key[:n]), slices.Compare(key[:n], e.last[:n])
	return from <= 0 && (to < 0 || to == 0 && (!e.open || len(e.last) != len(key)))
}

// elementsOf returns the elements of a set or map.
type elementsOf func(set string) ([]element, error)

// compiler makes a step of a rule's expressions.
type compiler struct {
	step
	family byte
	regs   registers
	sets   elementsOf
	// unknown is the first expression that is not known.
	unknown string
	// keyed is the map that was read last.
	keyed keyed
}

// compile reads NFTA_RULE_EXPRESSIONS. What is not understood is the step's err if the rule changes sources, else
// a condition that may hold or not.
func compile(family byte, expressions []byte, sets elementsOf) (*compiler, error) {
	c := &compiler{family: family, sets: sets}
	c.step.family = ofFamily(family)
	err := each(expressions, func(_ uint16, elem []byte) error {
		f, err := parseFields(elem)
		if err != nil {
			return err
		}
		data, err := parseFields(f[unix.NFTA_EXPR_DATA])
		if err != nil {
			return fmt.Errorf("expression %s: %w", f.text(unix.NFTA_EXPR_NAME), err)
		}
		c.expression(f.text(unix.NFTA_EXPR_NAME), &data)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if c.nat && c.err == nil && c.unknown != "" {
		c.err = fmt.Errorf("expression %s is not known to this version", c.unknown)
	}
	if c.err != nil {
		c.rules = nil
	}
	return c, nil
}

// errFullCone is of rules for a module that is not part of Linux.
var errFullCone = errors.New("full cone NAT: which ports it gives out is not known")

func (c *compiler) expression(name string, f *fields) {
	if c.done() {
		return
	}
	switch name {
	case "immediate":
		c.immediate(f)
	case "meta":
		c.meta(f)
	case "ct":
		c.ct(f)
	case "payload":
		c.payload(f)
	case "rt", "fib", "exthdr", "osf", "xfrm":
		c.regs.load(name, f, 1, word{})
	case "socket", "tunnel":
		c.regs.load(name, f, nftaSocketDreg, word{})
	case "numgen":
		numbers := draw{first: f.u32(unix.NFTA_NG_OFFSET), count: f.u32(unix.NFTA_NG_MODULUS)}
		c.regs.set(f.u32(unix.NFTA_NG_DREG), 1, word{text: "numgen", drawn: true, draw: numbers})
	case "hash":
		w := c.regs.get(f.u32(unix.NFTA_HASH_SREG))
		numbers := draw{first: f.u32(unix.NFTA_HASH_OFFSET), count: f.u32(unix.NFTA_HASH_MODULUS)}
		text := describe("hash of "+w.text, f, unix.NFTA_HASH_SREG, unix.NFTA_HASH_DREG)
		c.regs.set(f.u32(unix.NFTA_HASH_DREG), 1, word{text: text, mark: w.mark, draw: numbers})
	case "byteorder":
		numbers := c.regs.get(f.u32(unix.NFTA_BYTEORDER_SREG)).draw
		c.regs.change("byteorder", f, unix.NFTA_BYTEORDER_SREG, unix.NFTA_BYTEORDER_DREG, f.u32(unix.NFTA_BYTEORDER_LEN))
		if i, ok := at(f.u32(unix.NFTA_BYTEORDER_DREG)); ok {
			numbers.network = !numbers.network
			c.regs[i].draw = numbers
		}
	case "bitwise":
		c.bitwise(f)
	case "cmp":
		c.compare(f)
	case "range":
		c.inRange(f)
	case "lookup":
		c.lookup(f)
	case "nat":
		c.snat(f)
	case "masq":
		c.masquerade(f)
	case "target":
		c.target(f)
	case "match":
		c.match(f)
	case "fullcone": // of a module for OpenWrt
		c.nat, c.err = true, errFullCone
	case "limit", "quota", "connlimit", "dynset", "last":
		c.passing(name)
	case "objref":
		c.object(f)
	case "reject", "queue", "synproxy", "tproxy", "redir":
		c.branches = []branch{{verdict: verdictDrop}}
	case "counter", "log", "notrack", "dup", "fwd", "flow_offload":
	default:
		if c.unknown == "" {
			c.unknown = name
		}
		c.regs.forget()
		c.passing("expression " + name)
	}
}

// describe writes what an expression says, but for the registers named by the attributes in but.
func describe(name string, f *fields, but ...uint16) string {
	b := []byte(name)
	for typ, v := range f {
		if v != nil && !slices.Contains(but, uint16(typ)) {
			b = append(strconv.AppendInt(append(b, ' '), int64(typ), 10), '=')
			b = append(b, v...)
		}
	}
	return string(b)
}

// bitwise masks and flips bits. What is left of an address is a prefix, and of a mark some bits.
func (c *compiler) bitwise(f *fields) {
	w, size := c.regs.get(f.u32(unix.NFTA_BITWISE_SREG)), f.u32(unix.NFTA_BITWISE_LEN)
	c.regs.change("bitwise", f, unix.NFTA_BITWISE_SREG, unix.NFTA_BITWISE_DREG, size)
	mask, err := value(f[unix.NFTA_BITWISE_MASK])
	flip, err2 := value(f[unix.NFTA_BITWISE_XOR])
	i, ok := at(f.u32(unix.NFTA_BITWISE_DREG))
	if err != nil || err2 != nil || !ok || len(mask) == 0 || len(mask) != len(flip) {
		return
	}
	if w.mark != 0 && len(mask) == 4 {
		keeps, flips := binary.NativeEndian.Uint32(mask), binary.NativeEndian.Uint32(flip)
		c.regs[i].mark, c.regs[i].kept = w.mark&keeps, keeps&^flips
	}
	if bits, ok := ones(mask); ok && w.side != noSide && w.part == 0 && zero(flip) {
		for k := i; k < min(i+(len(mask)+3)/4, len(c.regs)); k++ {
			c.regs[k].side, c.regs[k].bits = w.side, bits
		}
	}
}

// ones counts the bits of a mask that has them all in front.
func ones(mask []byte) (n int, ok bool) {
	for n < 8*len(mask) && mask[n/8]&(0x80>>(n%8)) != 0 {
		n++
	}
	rest := slices.Clone(mask[n/8:])
	if len(rest) > 0 {
		rest[0] &= 0xff >> (n % 8)
	}
	return n, zero(rest)
}

func (c *compiler) meta(f *fields) {
	key := f.u32(unix.NFTA_META_KEY)
	if f[unix.NFTA_META_SREG] != nil {
		if key == unix.NFT_META_MARK {
			c.mark(c.regs.get(f.u32(unix.NFTA_META_SREG)))
		}
		return
	}
	w := word{drawn: key == unix.NFT_META_PRANDOM}
	if key == unix.NFT_META_MARK {
		w.mark, w.kept, w.drawn = allBits, allBits, c.drawsMark != 0
	}
	switch key {
	case unix.NFT_META_OIFNAME:
		w.field = fieldOIFName
	case unix.NFT_META_OIF:
		w.field = fieldOIF
	case unix.NFT_META_L4PROTO:
		w.field = fieldProtocol
	case unix.NFT_META_NFPROTO:
		w.field = fieldFamily
	}
	n := 1
	if key == unix.NFT_META_OIFNAME {
		n = unix.IFNAMSIZ / 4
	}
	w.text = describe("meta", f, unix.NFTA_META_DREG)
	c.regs.set(f.u32(unix.NFTA_META_DREG), n, w)
}

// object is a reference to an object with a name. Some of them end the rule for packets beyond a bound; which kind it
// is remains open where a map gives the object.
func (c *compiler) object(f *fields) {
	switch f.u32(unix.NFTA_OBJREF_IMM_TYPE) {
	case unix.NFT_OBJECT_COUNTER, unix.NFT_OBJECT_CT_HELPER, unix.NFT_OBJECT_TUNNEL, unix.NFT_OBJECT_CT_TIMEOUT,
		unix.NFT_OBJECT_SECMARK, unix.NFT_OBJECT_CT_EXPECT:
	default:
		c.passing("object " + f.text(unix.NFTA_OBJREF_IMM_NAME))
	}
}

func (c *compiler) ct(f *fields) {
	key := f.u32(unix.NFTA_CT_KEY)
	if f[unix.NFTA_CT_SREG] != nil {
		if key == unix.NFT_CT_MARK {
			c.mark(c.regs.get(f.u32(unix.NFTA_CT_SREG)))
		}
		return
	}
	w := word{}
	if key == unix.NFT_CT_MARK {
		w.mark = allBits
	}
	c.regs.load("ct", f, unix.NFTA_CT_DREG, w)
}

// payload knows the protocol byte of the IPv4 header, and next header of IPv6. Writing the source
// address is stateless translation.
func (c *compiler) payload(f *fields) {
	base, offset, size := f.u32(unix.NFTA_PAYLOAD_BASE), f.u32(unix.NFTA_PAYLOAD_OFFSET), f.u32(unix.NFTA_PAYLOAD_LEN)
	six := ofIPv6Alone(c)
	if f[unix.NFTA_PAYLOAD_SREG] != nil {
		from := uint32(12)
		if six {
			from = 8
		}
		if base == unix.NFT_PAYLOAD_NETWORK_HEADER && offset == from && size >= 4 {
			c.remark = "writes source addresses into packets without conntrack, one for one: it holds no ports"
		}
		return
	}
	var w word
	if base == unix.NFT_PAYLOAD_NETWORK_HEADER && size == 1 && (offset == 9 && !six || offset == 6 && six) {
		w.field = fieldProtocol
	}
	w.side, w.bits = c.address(base, offset, size)
	w.text = describe("payload", f, unix.NFTA_PAYLOAD_DREG)
	c.regs.set(f.u32(unix.NFTA_PAYLOAD_DREG), int(min(size, 64)+3)/4, w)
}

// ofIPv6Alone reports whether what comes this far in the rule is IPv6. A rule of a table for both families says which
// it is for before it looks into their headers.
func ofIPv6Alone(c *compiler) bool {
	f := ofFamily(c.family)
	for i := range c.conds {
		f &= c.conds[i].flows
	}
	return f != 0 && f&ofIPv4 == 0
}

func (c *compiler) immediate(f *fields) {
	data, err := parseFields(f[unix.NFTA_IMMEDIATE_DATA])
	if err != nil {
		c.passing("immediate that is cut off")
		return
	}
	if v := data[unix.NFTA_DATA_VERDICT]; v != nil {
		if b, err := parseVerdict(v); err == nil && b.verdict != verdictContinue {
			c.branches = []branch{b}
		}
		return
	}
	c.regs.constant(f.u32(unix.NFTA_IMMEDIATE_DREG), data[unix.NFTA_DATA_VALUE])
}

func parseVerdict(b []byte) (branch, error) {
	f, err := parseFields(b)
	if err != nil {
		return branch{}, err
	}
	if len(f[unix.NFTA_VERDICT_CODE]) < 4 {
		return branch{}, errors.New("a verdict without a code")
	}
	return branch{verdict: int32(f.u32(unix.NFTA_VERDICT_CODE)), chain: f.text(unix.NFTA_VERDICT_CHAIN)}, nil
}

// ifname reads a name as a comparison has it: without the zero byte at the end it stands for all that begin so.
func ifname(b []byte) string {
	name := cString(b)
	if len(name) == len(b) && len(b) < unix.IFNAMSIZ {
		name += "*"
	}
	return name
}
