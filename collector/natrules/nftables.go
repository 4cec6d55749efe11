package natrules

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
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

// nftables asks nf_tables what it has.
type nftables struct {
	ctx  context.Context
	conn *nlraw.Conn
	// missing: this kernel has no nf_tables, so that there is nothing to read.
	missing bool
	// marking are the base chains that run before flows leave, where marks are set.
	marking []baseChain
}

// request is a message of nf_tables with the strings that its attributes hold.
func request(typ uint16, family byte, texts map[uint16]string) netlink.Message {
	data := []byte{family, unix.NFNETLINK_V0, 0, 0}
	for _, a := range slices.Sorted(maps.Keys(texts)) {
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

// interrupted reports whether what was read is of a ruleset that changed meanwhile.
func interrupted(err error) bool {
	return errors.Is(err, nlraw.ErrInterrupted) || errors.Is(err, unix.EINTR)
}

// baseChain is where the kernel enters a table.
type baseChain struct {
	table    tableKey
	name     string
	nat      bool // of type nat; else of one that cannot translate by conntrack
	hook     uint32
	priority int32
	handle   uint64
	late     bool // may have been made after chains of the same priority that are before it in the list
}

// dormant lists the tables that the kernel does not run.
func (n *nftables) dormant() (map[tableKey]bool, error) {
	asleep := map[tableKey]bool{}
	err := n.dump(request(unix.NFT_MSG_GETTABLE, 0, nil), func(family byte, b []byte) error {
		f, err := parseFields(b)
		if err == nil && f.u32(unix.NFTA_TABLE_FLAGS)&nftTableDormant != 0 {
			asleep[tableKey{family, f.text(unix.NFTA_TABLE_NAME)}] = true
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list nftables tables: %w", err)
	}
	return asleep, nil
}

// bases lists the chains that the kernel runs when a flow leaves, in its order: by priority, and the last
// made first where that is the same (nf_hook_entries_grow, net/netfilter/core.c). The kernel lists tables as they were
// made; a chain that was made later than its table is marked where that may make a difference.
func (n *nftables) bases() (list []baseChain, err error) {
	if n.missing {
		return nil, nil
	}
	asleep, err := n.dormant()
	if err != nil {
		return nil, err
	}
	err = n.dump(request(unix.NFT_MSG_GETCHAIN, 0, nil), func(family byte, b []byte) error {
		c, ok, err := parseBase(family, b)
		switch {
		case !ok || asleep[c.table]:
		case c.hook == unix.NF_INET_POST_ROUTING:
			list = append(list, c)
		case c.hook == unix.NF_INET_PRE_ROUTING || c.hook == unix.NF_INET_FORWARD || c.hook == unix.NF_INET_LOCAL_OUT:
			n.marking = append(n.marking, c)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list nftables chains: %w", err)
	}
	slices.Reverse(list)
	slices.SortStableFunc(list, func(a, b baseChain) int { return cmp.Compare(a.priority, b.priority) })
	return list, n.markLate(list)
}

// markLate marks the chains of list that run after one of another table by their order alone, and were made later than
// their table: then they may have been made last, and run first. Nothing tells of a table that was dormant for a while,
// whose chains run first from then on, or of one that was empty when others were made.
func (n *nftables) markLate(list []baseChain) error {
	var handles map[tableKey][]uint64
	for i := range list {
		b := &list[i]
		if !slices.ContainsFunc(list[:i], b.ties) {
			continue
		}
		if handles == nil {
			var err error
			if handles, err = n.handles(); err != nil {
				return err
			}
		}
		// The kernel numbers what is made in a table. A table that is made at once has its chains first, and its sets.
		before := uint64(0)
		for _, h := range handles[b.table] {
			if h < b.handle {
				before++
			}
		}
		b.late = before+1 < b.handle
	}
	return nil
}

// ties reports whether a chain of another table translates the same flows at the same priority.
func (b *baseChain) ties(a baseChain) bool {
	return a.nat && b.nat && a.priority == b.priority && a.table != b.table &&
		ofFamily(a.table.family)&ofFamily(b.table.family) != 0
}

// handles returns the numbers of what is in each table beside rules: chains, sets, objects and flow tables.
func (n *nftables) handles() (map[tableKey][]uint64, error) {
	of := map[tableKey][]uint64{}
	for _, kind := range []struct{ typ, table, handle uint16 }{
		{unix.NFT_MSG_GETCHAIN, unix.NFTA_CHAIN_TABLE, unix.NFTA_CHAIN_HANDLE},
		{unix.NFT_MSG_GETSET, unix.NFTA_SET_TABLE, nftaSetHandle},
		{unix.NFT_MSG_GETOBJ, unix.NFTA_OBJ_TABLE, nftaObjHandle},
		{unix.NFT_MSG_GETFLOWTABLE, nftaFlowtableTable, nftaFlowtableHandle},
	} {
		err := n.dump(request(kind.typ, 0, nil), func(family byte, b []byte) error {
			f, err := parseFields(b)
			if err == nil {
				t := tableKey{family, f.text(kind.table)}
				of[t] = append(of[t], f.u64(kind.handle))
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list what is in nftables tables: %w", err)
		}
	}
	return of, nil
}

// parseBase reads a chain; ok is false for one that is no base chain of IPv4 or IPv6. Most chains are none, and are
// told apart at little cost.
func parseBase(family byte, b []byte) (c baseChain, ok bool, err error) {
	var hook []byte
	c.table.family = family
	typ := ""
	err = each(b, func(t uint16, v []byte) error {
		switch t {
		case unix.NFTA_CHAIN_HOOK:
			hook = v
		case unix.NFTA_CHAIN_TYPE:
			typ = cString(v)
		}
		return nil
	})
	if hook == nil || err != nil || ofFamily(family) == 0 {
		return baseChain{}, false, err
	}
	f, err := parseFields(b)
	if err != nil {
		return baseChain{}, false, err
	}
	h, err := parseFields(hook)
	if err != nil {
		return baseChain{}, false, err
	}
	c.table.name, c.name = f.text(unix.NFTA_CHAIN_TABLE), f.text(unix.NFTA_CHAIN_NAME)
	c.nat, c.priority, c.hook = typ == "nat", int32(h.u32(unix.NFTA_HOOK_PRIORITY)), h.u32(unix.NFTA_HOOK_HOOKNUM)
	c.handle = f.u64(unix.NFTA_CHAIN_HANDLE)
	return c, true, nil
}
