package natrules

import (
	"slices"
	"strings"
)

// apply narrows p by conditions; ok is false if no flow is left.
func (w *walker) apply(p path, conds []cond) (q path, ok bool) {
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
			w.others[c.text] = c.outs
		}
		if c.isOut && !c.not && len(c.outs) == 1 && !c.outs[0].wildcard() {
			w.single[c.outs[0]] = true
		}
		switch {
		case c.drawn, c.mark&w.markDrawn != 0:
			p.drawn = true
		case c.passing:
			p.passing = true
		case c.text != "":
			p.byMark = p.byMark || c.mark != 0
			p.meets(w.id(c))
			for _, id := range w.wider(c) {
				p.meets(id)
			}
			for _, id := range w.leavesToo(c) {
				p.meets(id)
			}
		}
	}
	return p, true
}

// meets adds a condition.
func (p *path) meets(id int32) {
	if !slices.Contains(p.conds, id) {
		p.conds = append(p.conds, id)
	}
}

// leave narrows p by a condition on the interface.
func (p *path) leave(c *cond) bool {
	switch {
	case c.not:
		p.nots = append(p.nots[:len(p.nots):len(p.nots)], c.outs...)
	case !p.isOut:
		p.outs, p.isOut = c.outs, true
	default:
		p.outs = narrower(p.outs, c.outs)
	}
	if !p.isOut {
		return true
	}
	return slices.ContainsFunc(p.outs, func(o out) bool { return !slices.Contains(p.nots, o) })
}

// narrower are the interfaces that both lists name. An index and a name may be the same interface.
func narrower(as, bs []out) (both []out) {
	for _, a := range as {
		for _, b := range bs {
			switch {
			case a == b, a.index != 0 && b.index == 0:
				both = append(both, a)
			case b.index != 0 && a.index == 0:
				both = append(both, b)
			case a.index != 0:
			case strings.HasSuffix(a.name, "*") && b.matchedBy(a):
				both = append(both, b)
			case strings.HasSuffix(b.name, "*") && a.matchedBy(b):
				both = append(both, a)
			}
		}
	}
	return both
}

func (o out) matchedBy(wildcard out) bool {
	return strings.HasPrefix(strings.TrimSuffix(o.name, "*"), strings.TrimSuffix(wildcard.name, "*"))
}

// outsOfID are the interfaces of a condition that flows leave by one of them, or with not by none.
type outsOfID struct {
	id   int32
	outs []out
	not  bool
}

// maxOuts bounds the conditions on interfaces that others are compared with.
const maxOuts = 64

// leavesToo are the numbers of conditions known so far that hold where c does, for they are about interfaces
// too, and more of them.
func (w *walker) leavesToo(c *cond) (ids []int32) {
	if !c.isOut {
		return nil
	}
	id, known := w.id(c), false
	for i := range w.outs {
		k := &w.outs[i]
		if known = known || k.id == id; k.id == id {
			continue
		}
		holds := false
		switch {
		case c.not && k.not:
			holds = allMatched(k.outs, c.outs)
		case !c.not && !k.not:
			holds = allMatched(c.outs, k.outs)
		case !c.not:
			holds = noneMeet(c.outs, k.outs)
		}
		if holds {
			ids = append(ids, k.id)
		}
	}
	if !known && len(w.outs) < maxOuts && (c.not || len(c.outs) > 1 || c.outs[0].wildcard()) {
		w.outs = append(w.outs, outsOfID{id, c.outs, c.not})
	}
	return ids
}

// allMatched reports whether each of some interfaces is among others.
func allMatched(some, others []out) bool {
	return !slices.ContainsFunc(some, func(o out) bool {
		return !slices.ContainsFunc(others, func(x out) bool {
			return x == o || x.wildcard() && o.index == 0 && o.matchedBy(x)
		})
	})
}

// noneMeet reports whether no interface is in both lists. An index and a name may be the same interface.
func noneMeet(some, others []out) bool {
	return !slices.ContainsFunc(some, func(o out) bool {
		return slices.ContainsFunc(others, func(x out) bool {
			return (o.index != 0) != (x.index != 0) || len(narrower([]out{o}, []out{x})) > 0
		})
	})
}

// within names prefixes of one length.
type within struct {
	of   side
	bits int
}

// wider are the numbers of conditions known so far that hold where c does, for its address is in a prefix of theirs.
func (w *walker) wider(c *cond) (ids []int32) {
	if c.of == noSide {
		return nil
	}
	for bits := range c.prefix.Bits() {
		if !w.lengths[within{c.of, bits}] {
			continue
		}
		p, err := c.prefix.Addr().Prefix(bits)
		if err != nil {
			continue
		}
		wide := inPrefix(c.of, p)
		if id, ok := w.ids[wide.text]; ok {
			ids = append(ids, id)
		}
	}
	w.lengths[within{c.of, c.prefix.Bits()}] = true
	return ids
}

// id gives a condition a number: the same for the same.
func (w *walker) id(c *cond) int32 {
	text := c.text
	if c.mark != 0 {
		text += " " + itoa(w.marks)
	}
	id, ok := w.ids[text]
	if !ok {
		id = int32(len(w.ids))
		w.ids[text] = id
	}
	return id
}
