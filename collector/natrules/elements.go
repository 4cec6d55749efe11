package natrules

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// elements reads a set or map.
func (n *nftables) elements(t tableKey, set string) ([]element, error) {
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
func (n *nftables) changesAlone(t tableKey, set string) (changes bool, err error) {
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
func (c *cache) refilled(ctx context.Context, conn *nlraw.Conn) (bool, error) {
	for i := range c.alone {
		s := &c.alone[i]
		n := &nftables{ctx: ctx, conn: conn, sets: map[tableKey]map[string][]element{}}
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
