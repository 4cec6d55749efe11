package natrules

import "slices"

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

// branch is a verdict. chain is for verdictJump and verdictGoto.
type branch struct {
	conds   []cond
	verdict int32
	chain   string
}

// chain is one that was read: its rules, in order.
type chain struct {
	table, name string
	legacy      bool
	steps       []step
	seen        []sight // of each step
}

func (c *chain) place(i int) string { return place(c.table, c.name, c.steps[i].handle, c.legacy) }

// chainsOf returns a chain of a table by name.
type chainsOf func(name string) (*chain, error)

// sight is what a walk has found out about a rule that changes sources.
type sight uint8

const (
	unseen sight = iota
	shadowed
	reached
)

// markVisits bounds the chains that are followed from one base chain to find rules that draw marks.
const markVisits = 32

// drawsMarks returns the bits of the mark that a rule of c draws for each new flow, or a chain that is drawn. As many
// other chains are followed as visits says.
func (c *chain) drawsMarks(chains chainsOf, visits *int) (bits uint32, err error) {
	drawn := func(conds []cond) bool { return slices.ContainsFunc(conds, func(c cond) bool { return c.drawn }) }
	for i := range c.steps {
		s := &c.steps[i]
		if bits |= s.drawsMark; drawn(s.conds) {
			bits |= s.marks
		}
		for k := range s.branches {
			b := &s.branches[k]
			isDrawn := drawn(s.conds) || drawn(b.conds)
			if b.chain == "" || !isDrawn && *visits == 0 {
				continue
			}
			to, err := chains(b.chain)
			if err != nil {
				return 0, err
			}
			if !isDrawn {
				*visits--
				inner, err := to.drawsMarks(chains, visits)
				if err != nil {
					return 0, err
				}
				bits |= inner
				continue
			}
			for n := range to.steps {
				bits |= to.steps[n].marks
			}
		}
	}
	return bits, nil
}
