package natrules

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/cputime"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// Read reads the rules of a network namespace; without CAP_NET_ADMIN there the error wraps
// fs.ErrPermission.
func Read(ns *netns.Handle) (Ruleset, error) {
	var c cache
	return c.read(context.Background(), ns)
}

// cache is what was read last, and what tells whether it still holds.
type cache struct {
	whole      bool
	generation uint32
	addresses  uint64
	legacy     legacyState
	seed       maphash.Seed
	links      []link
	alone      []ownSet
	last       Ruleset
	cpu        cputime.Meter
	// reads counts how often rules were read.
	reads int
}

// read returns the rules of a namespace: the ones that it read last time, where nothing has changed since.
func (c *cache) read(ctx context.Context, ns *netns.Handle) (s Ruleset, err error) {
	if c.seed == (maphash.Seed{}) {
		c.seed = maphash.MakeSeed()
	}
	// Inside, so that the caller's own namespace takes no right to enter.
	err = ns.Do(func() error {
		c.cpu.Resume()
		defer c.cpu.Pause()
		return c.readHere(ctx)
	})
	if err != nil {
		c.whole = false
		return Ruleset{}, err
	}
	return c.last, nil
}

// readHere reads in the namespace of the calling thread.
func (c *cache) readHere(ctx context.Context) error {
	conn, err := nlraw.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	defer func() { _ = conn.Close() }()
	route, err := nlraw.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return fmt.Errorf("open rtnetlink: %w", err)
	}
	defer func() { _ = route.Close() }()
	buf := make([]byte, nlraw.BufferSize)
	conn.UseBuffer(buf)
	route.UseBuffer(buf)
	for range maxReads {
		done, err := c.attempt(ctx, conn, route)
		if err != nil && !interrupted(err) {
			return err
		}
		if err == nil && done {
			return nil
		}
	}
	return ErrChanging
}

// attempt reads once; done is false if the rules changed meanwhile.
func (c *cache) attempt(ctx context.Context, conn, route *nlraw.Conn) (done bool, err error) {
	before, err := conn.RulesGeneration(ctx)
	if err != nil {
		return false, err
	}
	addrs, sum, err := addressesOf(ctx, route, c.seed)
	if err != nil {
		return false, err
	}
	legacy, err := readLegacy(&c.legacy, c.seed)
	if err != nil {
		return false, err
	}
	same := c.whole && before == c.generation && sum == c.addresses && !legacy.changed
	if same {
		refilled, err := refilled(ctx, conn, c.alone)
		if err != nil {
			return false, err
		}
		same = !refilled
	}
	if same && !c.last.bare {
		return true, nil
	}
	links, err := linksOf(ctx, route, addrs)
	if err != nil {
		return false, err
	}
	if same && slices.EqualFunc(links, c.links, link.same) {
		return true, nil
	}
	n := newTables(nftables{ctx: ctx, conn: conn, missing: before == nlraw.NoNFTables})
	s, err := n.ruleset(links, &legacy)
	if err != nil {
		return false, err
	}
	after, err := conn.RulesGeneration(ctx)
	if err != nil || after != before {
		return false, err
	}
	c.whole, c.generation, c.addresses, c.legacy, c.links, c.last = true, before, sum, legacy, links, s
	c.alone = n.alone
	c.reads++
	return true, nil
}

// ruleset walks through all that runs when a flow leaves.
func (n *tables) ruleset(links []link, legacy *legacyState) (s Ruleset, err error) {
	bases, err := n.bases()
	if err != nil {
		return Ruleset{}, err
	}
	s.Read = true
	w, stateless, err := n.walk(bases, legacy.tables, 0)
	if err != nil {
		return Ruleset{}, err
	}
	if w.byMark {
		drawn, err := n.drawsMarks()
		if interrupted(err) {
			return Ruleset{}, err
		}
		if drawn |= legacy.drawsMarks(); drawn != 0 {
			if w, stateless, err = n.walk(bases, legacy.tables, drawn); err != nil {
				return Ruleset{}, err
			}
		}
	}
	s.settle(s.gather(w, true), links)
	s.gather(stateless, false)
	for _, text := range legacy.remarks {
		s.remark(text)
	}
	s.LegacyUnread = len(legacy.remarks) > 0
	for _, text := range legacy.problems {
		s.problem("iptables-legacy", errors.New(text))
	}
	s.Private = s.allPrivate(links)
	for _, l := range links {
		s.Addresses = append(s.Addresses, l.addrs...)
	}
	return s, nil
}

// walk follows base chains: those of type nat, and those that can translate without conntrack alone. The nat table of
// iptables-legacy runs among them, in its place. markDrawn are bits of marks that are drawn before.
func (n *tables) walk(bases []baseChain, legacy []legacyTable, markDrawn uint32) (nat, stateless *walker, err error) {
	nat, stateless = newWalker(), newWalker()
	nat.met.markDrawn = markDrawn
	forget := func(c *chain) { c.seen = nil } // of a walk before
	for _, of := range n.chains {
		for _, c := range of {
			forget(c)
		}
	}
	for i := range legacy {
		for _, c := range legacy[i].chains {
			forget(c)
		}
	}
	same := 0 // where the ends of chains begin that have the priority of iptables-legacy
	tied := 0 // and of those that have the priority of the chain at hand
	for i, b := range bases {
		if b.priority >= legacyPriority && (i == 0 || bases[i-1].priority < legacyPriority) {
			same = nat.ends.count()
		}
		if i == 0 || bases[i-1].priority < b.priority {
			tied = nat.ends.count()
		}
		if b.priority > legacyPriority && (i == 0 || bases[i-1].priority <= legacyPriority) {
			nat.legacy(legacy, same)
		}
		w := stateless
		if b.nat {
			w = nat
		}
		w.met.markDrawn |= stateless.met.markDrawn
		if b.late {
			w.note(fmt.Sprintf("table %v, chain %s: others have priority %d too, and the kernel runs first what was made "+
				"last, which nothing tells: all of them count; a priority of its own would tell", b.table, b.name, b.priority))
			w.ends.setAside(tied, true)
		}
		w.base(b.name, ofFamily(b.table.family), func(name string) (*chain, error) { return n.chain(b.table, name) })
		if b.late {
			w.ends.setAside(tied, false)
		}
		for _, err := range w.lost {
			if interrupted(err) {
				return nil, nil, err
			}
		}
	}
	if k := len(bases); k == 0 || bases[k-1].priority <= legacyPriority {
		if k == 0 || bases[k-1].priority < legacyPriority {
			same = nat.ends.count()
		}
		nat.legacy(legacy, same)
	}
	return nat, stateless, nil
}

// legacy follows the nat tables of iptables-legacy. Of the chains that have the same priority, whose ends begin with
// number same, the kernel runs the one made last first; which that is nothing tells, so that neither hides the other.
func (w *walker) legacy(tables []legacyTable, same int) {
	w.ends.setAside(same, true)
	for i := range tables {
		w.base("POSTROUTING", tables[i].flows, tables[i].chain)
	}
	w.ends.setAside(same, false)
}

// gather counts what a walk has found out about rules.
func (s *Ruleset) gather(w *walker, nat bool) []outcome {
	for _, text := range w.remarks {
		s.remark(text)
	}
	if !nat {
		return nil
	}
	for _, c := range w.loaded {
		for i, saw := range c.seen {
			st := &c.steps[i]
			for k := i + 1; k < len(c.steps) && c.steps[k].more; k++ { // what became of a rule is what became of its best part
				saw = max(saw, c.seen[k])
			}
			switch {
			case !st.nat, st.more:
			case saw == reached && errors.Is(st.err, errEmptyMap):
				s.remark(fmt.Sprintf("%s: %v", c.place(i), st.err))
				s.Translating++
			case saw == reached && st.err != nil:
				s.problem(c.place(i), st.err)
			case saw == reached:
				s.Translating++
			case saw == shadowed:
				s.Shadowed++
			}
		}
	}
	for name, err := range w.lost {
		s.problem("chain "+name, err)
	}
	return w.outcomes
}
