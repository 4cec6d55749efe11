package natrules

import (
	"slices"
	"strings"
)

// path is what is known of the flows that have come to a rule.
type path struct {
	conds []int32 // conditions that they meet
	flows flows
	outs  []out // interfaces that they leave by, if isOut
	isOut bool
	nots  []out
	// drawn: whether a packet comes here is drawn anew for each. passing: the next may not come here for other
	// reasons.
	drawn, passing bool
	byMark         bool // whether a packet comes here hangs on its mark
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

// forever is the scope of an end that holds for every chain which runs later.
const forever = -1

// ends are conditions of which it is known that flows which meet them all do not get any further.
type ends struct {
	list []end
	by   map[int32][]int // by the highest condition of each
	none []int           // those without a condition
}

// end is where flows leave a chain: those of flows that meet all conds. It holds until the chain at depth scope is
// left.
type end struct {
	conds []int32
	flows flows
	scope int
	over  bool
	aside bool // holds for other chains alone
}

func (e *ends) count() int { return len(e.list) }

// add notes that the flows on p go no further in the chain at depth scope. A draw, or what passes, leaves some.
func (e *ends) add(p *path, scope int) {
	if p.drawn || p.passing {
		return
	}
	n := len(e.list)
	e.list = append(e.list, end{conds: p.conds, flows: p.flows, scope: scope})
	if len(p.conds) == 0 {
		e.none = append(e.none, n)
		return
	}
	highest := slices.Max(p.conds)
	e.by[highest] = append(e.by[highest], n)
}

// leave ends what holds for the chain at depth scope, among those from number from on.
func (e *ends) leave(scope, from int) {
	for i := from; i < len(e.list); i++ {
		if e.list[i].scope == scope {
			e.list[i].over = true
		}
	}
	e.none = slices.DeleteFunc(e.none, func(i int) bool { return e.list[i].over })
	for i := len(e.list) - 1; i >= from && e.list[i].over; i-- {
		if conds := e.list[i].conds; len(conds) > 0 {
			highest := slices.Max(conds)
			e.by[highest] = slices.DeleteFunc(e.by[highest], func(k int) bool { return k == i })
		}
		e.list = e.list[:i]
	}
}

// setAside makes the ends from number from on count for nothing, or again. Those that come meanwhile count.
func (e *ends) setAside(from int, aside bool) {
	for i := from; i < len(e.list); i++ {
		e.list[i].aside = aside
	}
}

// taken returns which flows on p do not come this far.
func (e *ends) taken(p *path) (f flows) {
	for _, i := range e.none {
		if !e.list[i].aside {
			f |= e.list[i].flows
		}
	}
	for _, c := range p.conds {
		for _, i := range e.by[c] {
			x := &e.list[i]
			if !x.over && !x.aside && f|x.flows != f && subset(x.conds, p.conds) {
				f |= x.flows
			}
		}
	}
	return f
}

func subset(a, b []int32) bool {
	return !slices.ContainsFunc(a, func(x int32) bool { return !slices.Contains(b, x) })
}
