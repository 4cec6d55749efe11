package natrules

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

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
		c.regs.numgen(f)
	case "hash":
		c.regs.hash(f)
	case "byteorder":
		c.regs.byteorder(f)
	case "bitwise":
		c.regs.bitwise(f)
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
