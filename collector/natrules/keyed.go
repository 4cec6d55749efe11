package natrules

import "slices"

// keyed is a map that gives the VIP or ports of a rule, with those words of its key that say which flows an element
// is for: protocol or family.
type keyed struct {
	set   string
	words []keyWord
}

// keyWord is one of them: the field that the word is, and where it stands in the key, in bytes.
type keyWord struct {
	field  field
	offset int
}

// key notes what the key in reg of a map says of flows.
func (c *compiler) key(set string, reg uint32) {
	c.keyed = keyed{set: set}
	i, ok := at(reg)
	for k := i; ok && k < len(c.regs) && c.regs[k].text != ""; k++ {
		if w := &c.regs[k]; w.part == 0 && (w.field == fieldProtocol || w.field == fieldFamily) {
			c.keyed.words = append(c.keyed.words, keyWord{w.field, (k - i) * 4})
		}
	}
}

// steps compiles a rule: into one step, or where a map gives its VIP or ports by protocol or family, into one for
// each of those, of the elements for it.
func steps(family byte, expressions []byte, sets elementsOf) ([]step, error) {
	c, err := compile(family, expressions, sets)
	if err != nil {
		return nil, err
	}
	if !c.nat || c.err != nil || len(c.keyed.words) == 0 || len(c.rules) == 0 {
		return []step{c.step}, nil
	}
	es, err := sets(c.keyed.set)
	if err != nil {
		return nil, err
	}
	es = slices.Clone(es) // what is for the rest comes last
	slices.SortStableFunc(es, func(a, b element) int { return compareBool(a.all, b.all) })
	parts := map[flows][]element{}
	var kinds []flows
	for i := range es {
		f := c.flowsOf(&es[i])
		if parts[f] == nil {
			kinds = append(kinds, f)
		}
		parts[f] = append(parts[f], es[i])
	}
	list := make([]step, 0, len(parts))
	for _, f := range kinds {
		p, err := compile(family, expressions, func(set string) ([]element, error) {
			if set == c.keyed.set {
				return parts[f], nil
			}
			return sets(set)
		})
		if err != nil {
			return nil, err
		}
		p.when(cond{flows: f})
		p.more = len(list) > 0
		list = append(list, p.step)
	}
	return list, nil
}

// flowsOf are those that an element is for, as its key says.
func (c *compiler) flowsOf(e *element) flows {
	f := allFlows
	for _, w := range c.keyed.words {
		if !e.all {
			f &= c.narrowed(w.field, []element{*e}, w.offset, false).flows
		}
	}
	return f
}
