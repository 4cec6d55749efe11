package natrules

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// lookup is a match against a set, the value that a map gives, or a verdict for each key.
func (c *compiler) lookup(f *fields) {
	name, reg := f.text(unix.NFTA_LOOKUP_SET), f.u32(unix.NFTA_LOOKUP_SREG)
	key := c.regs.get(reg)
	key.text = c.regs.keyText(reg)
	switch {
	case f[unix.NFTA_LOOKUP_DREG] == nil:
		c.member(name, reg, key, f.u32(unix.NFTA_LOOKUP_FLAGS)&unix.NFT_LOOKUP_F_INV != 0)
	case f.u32(unix.NFTA_LOOKUP_DREG) == unix.NFT_REG_VERDICT:
		c.verdicts(name, reg, key)
	default:
		c.value(name, reg, key, f.u32(unix.NFTA_LOOKUP_DREG))
	}
}

// value loads what a map holds. Only a rule that changes sources reads it, and then the elements matter.
func (c *compiler) value(name string, reg uint32, key word, dreg uint32) {
	es, err := c.sets(name)
	if err != nil {
		c.unknown = fmt.Sprintf("map %s (%v)", name, err)
		c.regs.forget()
		return
	}
	c.key(name, reg)
	key = c.regs.hangsOn(reg, key, es)
	es, all := key.draw.among(es)
	switch {
	case slices.ContainsFunc(es, func(e element) bool { return e.all }): // there is a value for every key
	case all && key.draw.count != 0: // a value for every number that there is
	case !key.drawn:
		c.when(cond{text: key.text + " among " + keysText(es), flows: allFlows, mark: key.mark})
	case !all:
		c.when(cond{flows: allFlows, drawn: true})
	}
	var data [][]byte
	for i := range es {
		data = append(data, es[i].data)
	}
	if len(data) == 0 {
		i, ok := at(dreg)
		for ; ok && i < len(c.regs); i++ {
			c.regs[i] = word{kind: fromMap, text: "map " + name, drawn: key.drawn}
		}
		return
	}
	c.regs.lookup(key, dreg, data)
}

// member is a match against a set.
func (c *compiler) member(name string, reg uint32, key word, not bool) {
	words := c.regs.key(reg)
	var known []int // words of the key that narrow what the walk follows
	for k := range words {
		if w := &words[k]; w.field != noField && w.part == 0 {
			known = append(known, k)
		}
	}
	text := fmt.Sprintf("%s in set %s", key.text, name)
	if not {
		text = "not " + text
	}
	if strings.HasPrefix(name, "__set") { // an anonymous set: it has a name of its own wherever it is written
		if es, err := c.sets(name); err == nil {
			text = strings.ReplaceAll(text, name, keysText(es))
		}
	}
	if !not && len(known) > 1 {
		c.key(name, reg)
	}
	if len(known) == 0 || not && len(known) > 1 {
		c.when(cond{text: text, flows: allFlows, drawn: key.drawn, mark: key.mark})
		return
	}
	es, err := c.sets(name)
	if err != nil {
		c.passing(text)
		return
	}
	whole := true // the condition is about known words alone
	for _, k := range known {
		n := narrowed(words[k].field, es, k*4, not)
		if not && !n.whole {
			continue // the rest of the key may make the difference
		}
		whole = whole && n.whole
		c.when(n.cond)
	}
	if !whole || not {
		c.when(cond{text: text, flows: allFlows, drawn: key.drawn, mark: key.mark})
	}
}

// narrowing is what a set says of one field of its keys; whole: and of nothing else.
type narrowing struct {
	cond
	whole bool
}

// narrowed reads field from offset on in the keys of a set.
func narrowed(of field, es []element, offset int, not bool) narrowing {
	size := map[field]int{fieldOIFName: unix.IFNAMSIZ, fieldOIF: 4, fieldProtocol: 1, fieldFamily: 1}[of]
	n := narrowing{whole: offset == 0}
	var parts []element
	for i := range es {
		e := es[i]
		if !e.all {
			e.key, e.last = cutAt(e.key, offset), cutAt(e.last, offset)
			n.whole = n.whole && len(e.key) <= (size+3)&^3
		}
		parts = append(parts, e)
	}
	has := func(v byte) bool {
		return not != slices.ContainsFunc(parts, func(e element) bool { return e.has([]byte{v}) })
	}
	switch of {
	case fieldProtocol:
		n.cond = cond{flows: protocolsIn(has)}
	case fieldFamily:
		n.cond = cond{flows: familiesIn(has)}
	default:
		outs, all := outsOf(of, parts)
		if all {
			n.cond = cond{flows: allFlows}
			break
		}
		n.cond = cond{text: outText(outs, not), flows: allFlows, outs: outs, isOut: true, not: not}
	}
	return n
}

func cutAt(b []byte, n int) []byte { return b[min(n, len(b)):] }

// outsOf are the interfaces that keys name; all says that one of them is for any.
func outsOf(of field, es []element) (outs []out, all bool) {
	for i := range es {
		e := &es[i]
		switch {
		case e.all, len(e.key) == 0:
			return nil, true
		case of == fieldOIF:
			if len(e.key) >= 4 {
				outs = append(outs, out{index: int(binary.NativeEndian.Uint32(e.key))})
			}
		default:
			name := cString(e.key[:min(len(e.key), unix.IFNAMSIZ)])
			if !nextKey(e) {
				name += "*"
			}
			outs = append(outs, out{name: name})
		}
	}
	slices.SortFunc(outs, func(a, b out) int { return strings.Compare(a.text(), b.text()) })
	return slices.Compact(outs), false
}

// verdicts is a map to verdicts: a branch for each element.
func (c *compiler) verdicts(name string, reg uint32, key word) {
	es, err := c.sets(name)
	if err != nil {
		c.unknown = fmt.Sprintf("map %s (%v)", name, err)
		c.passing("map " + name)
		return
	}
	key = c.regs.hangsOn(reg, key, es)
	es, all := key.draw.among(es)
	c.total = (key.drawn || key.draw.count != 0) && all || slices.ContainsFunc(es, func(e element) bool { return e.all })
	words := c.regs.key(reg)
	for e := range es {
		b := branch{verdict: es[e].verdict, chain: es[e].chain}
		for k := range words {
			if w := &words[k]; w.field != noField && w.part == 0 && !es[e].all {
				b.conds = append(b.conds, narrowed(w.field, es[e:e+1], k*4, false).cond)
			}
		}
		text := fmt.Sprintf("%s is %x-%x of map %s", key.text, es[e].key, es[e].last, name)
		b.conds = append(b.conds, cond{text: text, flows: allFlows, drawn: key.drawn, mark: key.mark})
		c.branches = append(c.branches, b)
	}
}
