package natrules

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Bounds of a walk. The kernel bounds a chain of jumps to 16 (NFT_JUMP_STACK_SIZE), and iptables-legacy by the
// number of its chains. A rule is visited once for each way that leads to it.
const (
	maxDepth  = 64
	maxVisits = 1_000_000
)

// walker runs through rules as a packet does that may be any, and notes what changes its source.
type walker struct {
	met      conditions
	ends     ends
	outcomes []outcome
	known    map[outcomeKey]int
	drawings []drawing
	visits   int
	byMark   bool // some translation hangs on a mark
	// accepted: some flows have left this base chain, which those behind it see.
	accepted bool
	remarks  []string
	chains   chainsOf
	loaded   []*chain
	lost     map[string]error // chains that could not be followed
}

// outcome is a change of source with the flows that get it. The rules of one group, from 1, are drawn among.
type outcome struct {
	rule  Rule
	flows flows
	outs  []out
	isOut bool
	nots  []out
	group int
}

type outcomeKey struct {
	chain      *chain
	step, rule int
	outs       string
	group      int
}

func newWalker() *walker {
	return &walker{
		met: newConditions(), ends: ends{by: map[int32][]int{}}, known: map[outcomeKey]int{}, lost: map[string]error{},
	}
}

// base follows a base chain and all that it leads to, for flows f.
func (w *walker) base(name string, f flows, chains chainsOf) {
	w.chains, w.accepted = chains, false
	w.follow(name, path{flows: f}, 0)
	w.ends.leave(0, 0)
}

// follow runs through a chain. depth is 0 for a base chain.
func (w *walker) follow(name string, p path, depth int) {
	if depth > maxDepth {
		w.lost[name] = fmt.Errorf("jumps are nested deeper than %d", maxDepth)
		return
	}
	c, err := w.chains(name)
	if err != nil {
		w.lost[name] = err
		return
	}
	if c.seen == nil {
		c.seen = make([]sight, len(c.steps))
		w.loaded = append(w.loaded, c)
	}
	from := w.ends.count()
	for i := range c.steps {
		if w.visits++; w.visits > maxVisits {
			w.lost[name] = errors.New("more ways lead through the chains than are followed")
			return
		}
		w.step(c, i, &p, depth)
	}
	if depth > 0 {
		w.ends.leave(depth, from)
	}
}

// step runs one rule for the flows on p, which is what is left for the rules behind it.
func (w *walker) step(c *chain, i int, p *path, depth int) {
	s := &c.steps[i]
	q, ok := w.met.apply(*p, s.conds)
	if ok {
		q.flows &^= w.ends.taken(&q)
	}
	if !ok || q.flows == 0 {
		if s.nat {
			c.seen[i] = max(c.seen[i], shadowed)
		}
		return
	}
	if s.remark != "" {
		w.remark(c, i, s.remark)
	}
	if s.marks != 0 {
		w.met.mark(s, q.drawn)
	}
	if s.nat {
		w.translate(c, i, q)
		return
	}
	gone := s.total
	for b := range s.branches {
		w.branch(&s.branches[b], q, p, depth)
		gone = gone && s.branches[b].verdict != verdictJump && s.branches[b].verdict != verdictContinue
	}
	if gone {
		w.leave(&q, p, depth)
	}
}

func (w *walker) remark(c *chain, i int, text string) {
	w.note(fmt.Sprintf("%s: %s", c.place(i), text))
}

func (w *walker) note(text string) {
	if len(w.remarks) < maxProblems && !slices.Contains(w.remarks, text) {
		w.remarks = append(w.remarks, text)
	}
}

// branch goes where a verdict leads the flows on p; rest is what the rules behind it see.
func (w *walker) branch(b *branch, p path, rest *path, depth int) {
	q, ok := w.met.apply(p, b.conds)
	if !ok {
		return
	}
	if q.flows &^= w.ends.taken(&q); q.flows == 0 {
		return
	}
	switch b.verdict {
	case verdictAccept:
		w.leave(&q, rest, 0)
	case verdictReturn:
		w.leave(&q, rest, depth)
	case verdictJump:
		w.follow(b.chain, q, depth+1)
	case verdictGoto:
		w.follow(b.chain, q, depth+1)
		w.leave(&q, rest, depth)
	case verdictContinue, verdictBreak:
	default: // NF_DROP, NF_QUEUE and the like
		w.ends.add(&q, forever)
	}
}

// leave notes that flows on p go no further in the chain at depth scope, but elsewhere. What the rest of that chain
// ends is then no end of theirs: it is one for this base chain only, or under a condition that has no other use.
func (w *walker) leave(p, rest *path, scope int) {
	w.ends.add(p, scope)
	if scope == 0 {
		w.accepted = true
		return
	}
	if p.drawn || p.passing {
		rest.drawn, rest.passing = rest.drawn || p.drawn, rest.passing || p.passing
		return
	}
	rest.conds = append(rest.conds[:len(rest.conds):len(rest.conds)], w.met.left())
}

// translate notes what a rule does to the sources of the flows that have come to it.
func (w *walker) translate(c *chain, i int, p path) {
	s := &c.steps[i]
	if p.flows &= s.family; p.flows == 0 {
		return
	}
	c.seen[i] = reached
	if s.err != nil {
		return
	}
	w.byMark = w.byMark || p.byMark || s.byMark != 0
	rules, drawn := s.rules, s.drawn
	if s.byMark&w.met.markDrawn != 0 {
		rules, drawn = s.drawnRules, true
	}
	// The addresses of masquerade are known only when all rules are.
	later := drawn && len(rules) > 1 && rules[0].Masquerade
	if drawn && len(rules) > 1 && !later {
		rules = []Rule{spread(rules)}
	}
	w.left(&p)
	for k, r := range rules {
		r.Table, r.Chain, r.Handle, r.Legacy = c.table, c.name, s.handle, c.legacy
		if r.Ports == defaultPorts() {
			r.Ports.First, r.Ports.Last = 0, 0
		}
		key := outcomeKey{chain: c, step: i, rule: k}
		if p.isOut {
			key.outs = outText(p.outs, false)
		}
		outs := key.outs
		for f := tcp4; f <= udp6; f <<= 1 { // each kind of flow draws among rules of its own
			of := p
			if of.flows &= f; of.flows == 0 {
				continue
			}
			key.outs = outs
			if of.nots = w.taken(&of); len(of.nots) > 0 {
				key.outs += outText(of.nots, true)
			}
			of.drawn = p.drawn || later
			if key.group = w.group(&of); later && !p.drawn {
				w.drawings[key.group-1].closed = true
			}
			if n, ok := w.known[key]; ok {
				w.outcomes[n].flows |= f
				continue
			}
			w.known[key] = len(w.outcomes)
			w.outcomes = append(w.outcomes, outcome{
				rule: r, flows: f, outs: p.outs, isOut: p.isOut, nots: of.nots, group: key.group,
			})
		}
	}
	scope := forever
	if w.accepted {
		scope = 0
	}
	w.ends.add(&p, scope)
}

// left says by which interfaces flows on p leave, where rules before took all that leave by any other.
func (w *walker) left(p *path) {
	if p.isOut {
		return
	}
	for _, text := range slices.Sorted(maps.Keys(w.met.others)) {
		by := *p
		by.conds = by.conds[:len(by.conds):len(by.conds)]
		by.meets(w.met.id(&cond{text: text}))
		if p.flows&^w.ends.taken(&by) == 0 {
			p.outs, p.isOut = w.met.others[text], true
			return
		}
	}
}

// taken returns the interfaces of p's by which no flow on p gets this far: rules before took all that leave by them.
func (w *walker) taken(p *path) (nots []out) {
	nots = p.nots[:len(p.nots):len(p.nots)]
	if !p.isOut || len(p.outs) == 1 && !p.outs[0].wildcard() {
		return nots
	}
	for o := range w.met.single {
		if !slices.ContainsFunc(p.outs, func(x out) bool { return x == o || x.wildcard() && o.matchedBy(x) }) {
			continue
		}
		by := *p
		by.conds = by.conds[:len(by.conds):len(by.conds)]
		one := cond{text: outText([]out{o}, false)}
		by.meets(w.met.id(&one))
		if p.flows&^w.ends.taken(&by) == 0 && !slices.Contains(nots, o) {
			nots = append(nots, o)
		}
	}
	slices.SortFunc(nots[len(p.nots):], func(a, b out) int { return strings.Compare(a.text(), b.text()) })
	return nots
}

// drawing is the flows, of one kind, of which each packet is drawn to one of several rules. closed: one takes what the
// draws left.
type drawing struct {
	conds  []int32
	flows  flows
	closed bool
}

// group returns the number of the rules that a packet on p draws among, 0 for none. A rule for the same flows, and
// maybe others, that takes what the draws left belongs to them.
func (w *walker) group(p *path) int {
	for i := range w.drawings {
		d := &w.drawings[i]
		same := d.flows == p.flows && len(d.conds) == len(p.conds) && subset(p.conds, d.conds)
		switch {
		case p.drawn && same:
			return i + 1
		case !p.drawn && !d.closed && (same || d.flows&^p.flows == 0 && subset(p.conds, d.conds)):
			d.closed = true
			return i + 1
		}
	}
	if !p.drawn {
		return 0
	}
	w.drawings = append(w.drawings, drawing{conds: p.conds, flows: p.flows})
	return len(w.drawings)
}
