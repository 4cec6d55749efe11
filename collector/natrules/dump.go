package natrules

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// tableKey names a table.
type tableKey struct {
	family byte
	name   string
}

func (t tableKey) String() string {
	family := map[byte]string{unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6", unix.NFPROTO_INET: "inet"}[t.family]
	return family + " " + t.name
}

// nftables reads the rules of nf_tables.
type nftables struct {
	ctx  context.Context
	conn *nlraw.Conn
	// read so far, so that nothing is read twice.
	chains map[tableKey]map[string]*chain
	sets   map[tableKey]map[string][]element
	alone  []ownSet
	// missing: this kernel has no nf_tables, so that there is nothing to read.
	missing bool
	// marking are the base chains that run before flows leave, where marks are set.
	marking []baseChain
}

// request is a message of nf_tables with the strings that its attributes hold.
func request(typ uint16, family byte, texts map[uint16]string) netlink.Message {
	data := []byte{family, unix.NFNETLINK_V0, 0, 0}
	for _, a := range slices.Sorted(mapsKeys(texts)) {
		s := texts[a]
		data = binary.NativeEndian.AppendUint16(data, uint16(unix.SizeofNlAttr+len(s)+1))
		data = binary.NativeEndian.AppendUint16(data, a)
		data = append(append(data, s...), 0)
		for len(data)%4 != 0 {
			data = append(data, 0)
		}
	}
	return netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(message(typ))}, Data: data}
}

// dump calls f with the family and attributes of each answer. It reads them all, whatever f returns, because the
// kernel takes no other request before; the first error comes back.
func (n *nftables) dump(req netlink.Message, f func(family byte, b []byte) error) error {
	var first error
	err := n.conn.Dump(n.ctx, req, nil, func(m nlraw.Message) error {
		family, b, err := body(m.Data)
		if err == nil {
			err = f(family, b)
		}
		if first == nil {
			first = err
		}
		return nil
	})
	if err != nil {
		return err
	}
	return first
}

// chain reads the rules of one chain.
func (n *nftables) chain(t tableKey, name string) (*chain, error) {
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

// markVisits bounds the chains that are followed from one base chain to find rules that draw marks.
const markVisits = 32

// drawsMarks returns the bits of marks that rules draw for each new flow before it is translated, as scripts for MAP-E
// do. Of chains of type nat only the rules right in them are read: behind those of kube-proxy are thousands, which mark
// other flows.
func (n *nftables) drawsMarks() (bits uint32, err error) {
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

// interrupted reports whether what was read is of a ruleset that changed meanwhile.
func interrupted(err error) bool {
	return errors.Is(err, nlraw.ErrInterrupted) || errors.Is(err, unix.EINTR)
}

// parseElements reads NFTA_SET_ELEM_LIST_ELEMENTS. The end of an interval is an element that is open and
// has no key but last.
func parseElements(es []element, b []byte) ([]element, error) {
	err := each(b, func(_ uint16, v []byte) error {
		f, err := parseFields(v)
		if err != nil {
			return err
		}
		e := element{verdict: verdictContinue}
		if e.key, err = value(f[unix.NFTA_SET_ELEM_KEY]); err != nil {
			return err
		}
		e.last = e.key
		if f[nftaSetElemKeyEnd] != nil {
			if e.last, err = value(f[nftaSetElemKeyEnd]); err != nil {
				return err
			}
		}
		if d := f[unix.NFTA_SET_ELEM_DATA]; d != nil {
			df, err := parseFields(d)
			if err != nil {
				return err
			}
			e.data = slices.Clone(df[unix.NFTA_DATA_VALUE])
			if v := df[unix.NFTA_DATA_VERDICT]; v != nil {
				to, err := parseVerdict(v)
				if err != nil {
					return err
				}
				e.verdict, e.chain = to.verdict, to.chain
			}
		}
		flags := f.u32(unix.NFTA_SET_ELEM_FLAGS)
		e.all = flags&nftElemCatchall != 0
		if flags&nftElemIntervalEnd != 0 {
			e.key, e.open = nil, true
		}
		es = append(es, e)
		return nil
	})
	return es, err
}

// value copies NFTA_DATA_VALUE out of a nest.
func value(b []byte) ([]byte, error) {
	f, err := parseFields(b)
	return slices.Clone(f[unix.NFTA_DATA_VALUE]), err
}

// intervals joins the starts of intervals with their ends, in the order of keys. Sets without any stay as they are.
func intervals(es []element) []element {
	if !slices.ContainsFunc(es, func(e element) bool { return e.open }) {
		return es
	}
	slices.SortStableFunc(es, func(a, b element) int {
		// An end comes before a start at the same place.
		return cmp.Or(slices.Compare(a.last, b.last), -compareBool(a.open, b.open))
	})
	var joined []element
	for i := range es {
		e := es[i]
		if e.open {
			continue
		}
		if !e.all && slices.Equal(e.key, e.last) {
			e.last, e.open = ceiling(len(e.key)), false
			if i+1 < len(es) {
				e.last, e.open = es[i+1].last, true
			}
		}
		joined = append(joined, e)
	}
	return joined
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// ceiling is the highest key of n bytes.
func ceiling(n int) []byte { return slices.Repeat([]byte{0xff}, n) }
