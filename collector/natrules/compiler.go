package natrules

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

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

// keyed is a map that gives the VIP or ports of a rule, with those words of its key that say which flows an element
// is for: protocol, family and interface. Or it is a set that tells them apart by several of these.
type keyed struct {
	set   string
	words []keyWord
}

// keyWord is one of them: the field that the word is, and where it stands in the key, in bytes.
type keyWord struct {
	field  field
	offset int
}

// key notes what the key in reg of a map, or of a set that flows must match, says of flows. By which interface they
// leave matters with a protocol alone.
func (c *compiler) key(set string, reg uint32) {
	words := map[bool][]keyWord{} // by whether they tell protocol or family
	for k, w := range c.regs.key(reg) {
		if w.part == 0 && w.field != noField {
			of := w.field == fieldProtocol || w.field == fieldFamily
			words[of] = append(words[of], keyWord{w.field, k * 4})
		}
	}
	if len(words[true]) > 0 {
		c.keyed = keyed{set, slices.Concat(words[true], words[false])}
	}
}

// reach returns the flows that come this far in the rule. A rule of a table for both families says which it is for
// before it looks into their headers.
func (c *compiler) reach() flows {
	f := ofFamily(c.family)
	for i := range c.conds {
		f &= c.conds[i].flows
	}
	return f
}

// errFullCone is of rules for a module that is not part of Linux.
var errFullCone = errors.New("full cone NAT: which ports it gives out is not known")

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

// mark sets the mark to what w holds.
func (c *compiler) mark(w word) {
	set := ^w.kept
	c.marks |= set
	if w.drawn {
		c.drawsMark |= set & w.draw.bits()
	}
}

// payload knows the protocol byte of the IPv4 header, and next header of IPv6. Writing the source
// address is stateless translation.
func (c *compiler) payload(f *fields) {
	base, offset, size := f.u32(unix.NFTA_PAYLOAD_BASE), f.u32(unix.NFTA_PAYLOAD_OFFSET), f.u32(unix.NFTA_PAYLOAD_LEN)
	reach := c.reach()
	six := reach != 0 && reach&ofIPv4 == 0
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

// address says which address of the packet, and how many of its first bits, a payload expression loads.
func (c *compiler) address(base, offset, size uint32) (side, int) {
	if base != unix.NFT_PAYLOAD_NETWORK_HEADER || size == 0 {
		return noSide, 0
	}
	switch f := c.reach(); {
	case f == 0 || f&ofIPv4 != 0 && f&ofIPv6 != 0:
	case f&ofIPv4 != 0 && offset == 12 && size <= 4:
		return source, int(size) * 8
	case f&ofIPv4 != 0 && offset == 16 && size <= 4:
		return destination, int(size) * 8
	case f&ofIPv6 != 0 && offset == 8 && size <= 16:
		return source6, int(size) * 8
	case f&ofIPv6 != 0 && offset == 24 && size <= 16:
		return destination6, int(size) * 8
	}
	return noSide, 0
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
