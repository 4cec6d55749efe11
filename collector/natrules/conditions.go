package natrules

import "strconv"

// conditions are those that a walk has met so far, each with a number: the same for the same.
type conditions struct {
	ids     map[string]int32
	lengths map[within]bool  // of the prefixes among ids
	single  map[out]bool     // interfaces that rules name one by one
	others  map[string][]out // by condition: the interfaces that flows must not leave by
	outs    []outsOfID       // conditions on more than one interface
	// marks counts changes of marks, so that two matches of a mark are the same only if nothing lies between.
	marks     int
	markDrawn uint32 // bits that are drawn for each packet
}

// within names prefixes of one length.
type within struct {
	of   side
	bits int
}

// outsOfID are the interfaces of a condition that flows leave by one of them, or with not by none.
type outsOfID struct {
	id   int32
	outs []out
	not  bool
}

// maxOuts bounds the conditions on interfaces that others are compared with.
const maxOuts = 64

func newConditions() conditions {
	return conditions{
		ids: map[string]int32{}, lengths: map[within]bool{}, single: map[out]bool{}, others: map[string][]out{},
	}
}

// apply narrows p by conditions; ok is false if no flow is left.
func (k *conditions) apply(p path, conds []cond) (q path, ok bool) {
	p.conds = p.conds[:len(p.conds):len(p.conds)]
	for i := range conds {
		c := &conds[i]
		if p.flows &= c.flows; p.flows == 0 {
			return p, false
		}
		if c.isOut && !p.leave(c) {
			return p, false
		}
		if c.isOut && c.not {
			k.others[c.text] = c.outs
		}
		if c.isOut && !c.not && len(c.outs) == 1 && !c.outs[0].wildcard() {
			k.single[c.outs[0]] = true
		}
		switch {
		case c.drawn, c.mark&k.markDrawn != 0:
			p.drawn = true
		case c.passing:
			p.passing = true
		case c.text != "":
			p.byMark = p.byMark || c.mark != 0
			p.meets(k.id(c))
			for _, id := range k.wider(c) {
				p.meets(id)
			}
			for _, id := range k.leavesToo(c) {
				p.meets(id)
			}
		}
	}
	return p, true
}

// id gives a condition a number: the same for the same.
func (k *conditions) id(c *cond) int32 {
	text := c.text
	if c.mark != 0 {
		text += " " + strconv.Itoa(k.marks)
	}
	id, ok := k.ids[text]
	if !ok {
		id = int32(len(k.ids))
		k.ids[text] = id
	}
	return id
}

// left numbers a condition of the flows that have not left a chain where others did. It has no other use.
func (k *conditions) left() int32 {
	id := int32(len(k.ids))
	k.ids["did not leave "+strconv.Itoa(len(k.ids))] = id
	return id
}

// mark notes that a rule changes the mark of flows, which are drawn, or are the same for each packet.
func (k *conditions) mark(s *step, drawn bool) {
	k.marks++
	if k.markDrawn |= s.drawsMark; drawn {
		k.markDrawn |= s.marks
	}
}

// wider are the numbers of conditions known so far that hold where c does, for its address is in a prefix of theirs.
func (k *conditions) wider(c *cond) (ids []int32) {
	if c.of == noSide {
		return nil
	}
	for bits := range c.prefix.Bits() {
		if !k.lengths[within{c.of, bits}] {
			continue
		}
		p, err := c.prefix.Addr().Prefix(bits)
		if err != nil {
			continue
		}
		wide := inPrefix(c.of, p)
		if id, ok := k.ids[wide.text]; ok {
			ids = append(ids, id)
		}
	}
	k.lengths[within{c.of, c.prefix.Bits()}] = true
	return ids
}

// leavesToo are the numbers of conditions known so far that hold where c does, for they are about interfaces
// too, and more of them.
func (k *conditions) leavesToo(c *cond) (ids []int32) {
	if !c.isOut {
		return nil
	}
	id, known := k.id(c), false
	for i := range k.outs {
		o := &k.outs[i]
		if known = known || o.id == id; o.id == id {
			continue
		}
		holds := false
		switch {
		case c.not && o.not:
			holds = allMatched(o.outs, c.outs)
		case !c.not && !o.not:
			holds = allMatched(c.outs, o.outs)
		case !c.not:
			holds = noneMeet(c.outs, o.outs)
		}
		if holds {
			ids = append(ids, o.id)
		}
	}
	if !known && len(k.outs) < maxOuts && (c.not || len(c.outs) > 1 || c.outs[0].wildcard()) {
		k.outs = append(k.outs, outsOfID{id, c.outs, c.not})
	}
	return ids
}
