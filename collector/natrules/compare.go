package natrules

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// compare is a condition on a register.
func (c *compiler) compare(f *fields) {
	w := c.regs.get(f.u32(unix.NFTA_CMP_SREG))
	op := f.u32(unix.NFTA_CMP_OP)
	data, err := value(f[unix.NFTA_CMP_DATA])
	if err != nil {
		c.passing("comparison that is cut off")
		return
	}
	equal := op == unix.NFT_CMP_EQ
	if w.part == 0 && len(data) > 0 {
		has := func(v byte) bool {
			switch op {
			case unix.NFT_CMP_NEQ:
				return v != data[0]
			case unix.NFT_CMP_LT:
				return v < data[0]
			case unix.NFT_CMP_LTE:
				return v <= data[0]
			case unix.NFT_CMP_GT:
				return v > data[0]
			case unix.NFT_CMP_GTE:
				return v >= data[0]
			}
			return v == data[0]
		}
		switch {
		case w.field == fieldProtocol:
			c.when(cond{flows: protocolsIn(has)})
			return
		case w.field == fieldFamily:
			c.when(cond{flows: familiesIn(has)})
			return
		case w.field == fieldOIFName && op <= unix.NFT_CMP_NEQ:
			c.leaves([]out{{name: ifname(data)}}, !equal)
			return
		case w.field == fieldOIF && op <= unix.NFT_CMP_NEQ && len(data) == 4:
			c.leaves([]out{{index: int(binary.NativeEndian.Uint32(data))}}, !equal)
			return
		case w.side != noSide && equal:
			if p, ok := prefixOf(data, w.bits, w.side >= source6); ok {
				c.when(inPrefix(w.side, p))
				return
			}
		}
	}
	text := fmt.Sprintf("%s+%d %d %x", w.text, w.part, op, data)
	c.when(cond{text: text, flows: allFlows, drawn: w.drawn, mark: w.mark})
}

// inRange is a condition on a register with two ends.
func (c *compiler) inRange(f *fields) {
	w := c.regs.get(f.u32(unix.NFTA_RANGE_SREG))
	from, err1 := value(f[unix.NFTA_RANGE_FROM_DATA])
	to, err2 := value(f[unix.NFTA_RANGE_TO_DATA])
	if err1 == nil && err2 == nil && w.field == fieldProtocol && w.part == 0 && len(from) > 0 && len(to) > 0 {
		not := f.u32(unix.NFTA_RANGE_OP) == unix.NFT_RANGE_NEQ
		c.when(cond{flows: protocolsIn(func(v byte) bool { return (v >= from[0] && v <= to[0]) != not })})
		return
	}
	text := describe("range "+w.text, f, unix.NFTA_RANGE_SREG)
	c.when(cond{text: text, flows: allFlows, drawn: w.drawn, mark: w.mark})
}

// ifname reads a name as a comparison has it: without the zero byte at the end it stands for all that begin so.
func ifname(b []byte) string {
	name := cString(b)
	if len(name) == len(b) && len(b) < unix.IFNAMSIZ {
		name += "*"
	}
	return name
}
