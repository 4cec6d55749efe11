package natrules

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

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

// steps compiles a rule: into one step, or where a map or set tells protocols or families apart, into one for each
// of those, of the elements for it.
func steps(family byte, expressions []byte, sets elementsOf) ([]step, error) {
	c, err := compile(family, expressions, sets)
	if err != nil {
		return nil, err
	}
	if len(c.keyed.words) == 0 || len(c.rules) == 0 {
		return []step{c.step}, nil
	}
	es, err := sets(c.keyed.set)
	if err != nil {
		return nil, err
	}
	parts := map[string][]element{}
	var kinds []string
	conds := map[string][]cond{}
	for i := range es {
		of, name := c.keyed.conditions(&es[i])
		if parts[name] == nil {
			kinds = append(kinds, name)
			conds[name] = of
		}
		parts[name] = append(parts[name], es[i])
	}
	// In one order, whatever the kernel's for the elements is; what is for the rest comes last.
	slices.SortFunc(kinds, func(a, b string) int { return cmp.Or(compareBool(a == "", b == ""), strings.Compare(a, b)) })
	list := make([]step, 0, len(parts))
	for _, name := range kinds {
		p, err := compile(family, expressions, func(set string) ([]element, error) {
			if set == c.keyed.set {
				return parts[name], nil
			}
			return sets(set)
		})
		if err != nil {
			return nil, err
		}
		p.when(conds[name]...)
		p.more = len(list) > 0
		list = append(list, p.step)
	}
	return list, nil
}

// conditions are what the key of an element says of the flows that it is for; name is the same for the same.
func (k *keyed) conditions(e *element) (conds []cond, name string) {
	for _, w := range k.words {
		if e.all {
			continue
		}
		n := narrowed(w.field, []element{*e}, w.offset, false).cond
		conds = append(conds, n)
		name += strconv.Itoa(int(n.flows)) + " " + n.text + ";"
	}
	return conds, name
}
