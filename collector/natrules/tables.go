package natrules

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// tables reads chains of nf_tables, and the sets and maps that they use, none of them twice.
type tables struct {
	nftables
	chains map[tableKey]map[string]*chain
	sets   map[tableKey]map[string][]element
	alone  []ownSet
}

// newTables returns tables of which nothing is read yet.
func newTables(n nftables) *tables {
	return &tables{
		nftables: n, chains: map[tableKey]map[string]*chain{}, sets: map[tableKey]map[string][]element{},
	}
}

// chain reads the rules of one chain.
func (n *tables) chain(t tableKey, name string) (*chain, error) {
	if c := n.chains[t][name]; c != nil {
		return c, nil
	}
	c := &chain{table: t.String(), name: name}
	names := map[uint16]string{unix.NFTA_RULE_TABLE: t.name, unix.NFTA_RULE_CHAIN: name}
	req := request(unix.NFT_MSG_GETRULE, t.family, names)
	type raw struct {
		handle      uint64
		expressions []byte
		err         error
	}
	var rules []raw
	err := n.dump(req, func(_ byte, b []byte) error {
		f, err := parseFields(b)
		rules = append(rules, raw{f.u64(unix.NFTA_RULE_HANDLE), slices.Clone(f[unix.NFTA_RULE_EXPRESSIONS]), err})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read its rules: %w", err)
	}
	// Elements of sets are read only after the rules, on the same socket.
	c.steps = make([]step, 0, len(rules))
	for _, r := range rules {
		list, err := steps(t.family, r.expressions, func(set string) ([]element, error) { return n.elements(t, set) })
		err = cmp.Or(r.err, err)
		switch {
		case interrupted(err):
			return nil, err
		case err != nil:
			list = []step{{nat: true, family: ofFamily(t.family), err: err}}
		}
		for _, s := range list {
			s.handle = r.handle
			c.steps = append(c.steps, s)
		}
	}
	if n.chains[t] == nil {
		n.chains[t] = map[string]*chain{}
	}
	n.chains[t][name] = c
	return c, nil
}

// drawsMarks returns the bits of marks that rules draw for each new flow before it is translated, as scripts for MAP-E
// do. Of chains of type nat only the rules right in them are read: behind those of kube-proxy are thousands, which mark
// other flows.
func (n *tables) drawsMarks() (bits uint32, err error) {
	for _, b := range n.marking {
		c, err := n.chain(b.table, b.name)
		if err != nil {
			return 0, err
		}
		visits := markVisits
		if b.nat {
			visits = 0
		}
		drawn, err := c.drawsMarks(func(name string) (*chain, error) { return n.chain(b.table, name) }, &visits)
		if err != nil {
			return 0, err
		}
		bits |= drawn
	}
	return bits, nil
}

// elements reads a set or map.
func (n *tables) elements(t tableKey, set string) ([]element, error) {
	if es, ok := n.sets[t][set]; ok {
		return es, nil
	}
	var es []element
	names := map[uint16]string{unix.NFTA_SET_ELEM_LIST_TABLE: t.name, unix.NFTA_SET_ELEM_LIST_SET: set}
	req := request(unix.NFT_MSG_GETSETELEM, t.family, names)
	err := n.dump(req, func(_ byte, b []byte) error {
		f, err := parseFields(b)
		if err != nil {
			return err
		}
		es, err = parseElements(es, f[unix.NFTA_SET_ELEM_LIST_ELEMENTS])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read its elements: %w", err)
	}
	es = intervals(es)
	if changes, err := n.changesAlone(t, set); err != nil {
		return nil, err
	} else if changes {
		n.alone = append(n.alone, ownSet{t, set, es})
	}
	if n.sets[t] == nil {
		n.sets[t] = map[string][]element{}
	}
	n.sets[t][set] = es
	return es, nil
}

// ownSet is a set or map whose elements come and go without a new generation: packets add them, or their time runs
// out. elements are those read last.
type ownSet struct {
	table    tableKey
	name     string
	elements []element
}

// changesAlone reports whether a set is of that kind.
func (n *tables) changesAlone(t tableKey, set string) (changes bool, err error) {
	if strings.HasPrefix(set, "__") { // anonymous: it is as its rule was written
		return false, nil
	}
	names := map[uint16]string{unix.NFTA_SET_TABLE: t.name, unix.NFTA_SET_NAME: set}
	err = n.conn.Get(n.ctx, request(unix.NFT_MSG_GETSET, t.family, names), func(m nlraw.Message) error {
		_, b, err := body(m.Data)
		if err != nil {
			return err
		}
		f, err := parseFields(b)
		changes = f.u32(unix.NFTA_SET_FLAGS)&(unix.NFT_SET_TIMEOUT|unix.NFT_SET_EVAL) != 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("read its flags: %w", err)
	}
	return changes, nil
}

// refilled reports whether a set that changes alone has other elements than were read last.
func refilled(ctx context.Context, conn *nlraw.Conn, alone []ownSet) (bool, error) {
	for i := range alone {
		s := &alone[i]
		n := newTables(nftables{ctx: ctx, conn: conn})
		es, err := n.elements(s.table, s.name)
		switch {
		case errors.Is(err, unix.ENOENT): // gone meanwhile
			return true, nil
		case err != nil:
			return false, err
		case !slices.EqualFunc(es, s.elements, element.same):
			return true, nil
		}
	}
	return false, nil
}
