package conntrack

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/natrules"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// Events in the masks of rules, as bits: enum ip_conntrack_events, include/uapi/linux/netfilter/nf_conntrack_common.h
// (Linux 6.18). The first event of a flow that a helper expects, such as one that carries the data of FTP, is related,
// not new.
const (
	eventNew     = 1 << 0 // IPCT_NEW
	eventRelated = 1 << 1 // IPCT_RELATED
	eventDestroy = 1 << 2 // IPCT_DESTROY

	needed = eventNew | eventDestroy // a source cannot do without
)

// masks tells whether rules keep events of some flows back: nftables with "ct event set", iptables with "-j CT
// --ctevents".
type masks struct {
	nft   rulesMasks
	rules uint32         // generation of the nft rules that were read, nlraw.NoNFTables for none
	read  collector.Time // when look last looked
	// why is why there can be no events, nil if nothing speaks against them.
	why error
}

// rulesMasks is what some rules do to events.
type rulesMasks struct {
	hide      bool // a mask lacks a needed event
	unrelated bool // a mask lacks the related event
	helpers   bool // a helper is given to flows
}

func (m *rulesMasks) add(o rulesMasks) {
	m.hide, m.unrelated, m.helpers = m.hide || o.hide, m.unrelated || o.unrelated, m.helpers || o.helpers
}

// mask takes in a mask of events.
func (m *rulesMasks) mask(bits uint32) {
	m.hide = m.hide || bits&needed != needed
	m.unrelated = m.unrelated || bits&eventRelated == 0
}

// target takes in the CT target of a rule of iptables, struct xt_ct_target_info: flags u16, zone u16, ct_events u32,
// exp_events u32, the helper's name in 16 bytes. Without events it has no mask.
func (m *rulesMasks) target(info []byte) {
	if len(info) < 28 {
		return
	}
	if bits := binary.NativeEndian.Uint32(info[4:]); bits != 0 {
		m.mask(bits)
	}
	m.helpers = m.helpers || info[12] != 0
}

// look reads the masks again, at most once in interval: a large ruleset takes long to read. It reads the masks of
// nftables if the rules changed, and those of iptables-legacy each time, because those rules have no generation. Where
// it cannot read them, it keeps what it knows.
func (k *masks) look(
	ctx context.Context, conn *nlraw.Conn, ns *netns.Handle, now collector.Time, interval time.Duration,
) {
	if k.read != 0 && now.Sub(k.read) < interval {
		return
	}
	k.read = now
	k.lookAtNFT(ctx, conn)
	all := k.nft
	err := ns.Do(func() error { return natrules.LegacyTargets("raw", "CT", all.target) })
	switch {
	case all.hide, all.unrelated && all.helpers:
		k.why = ErrEventsMasked
	case errors.Is(err, fs.ErrPermission) && (loaded("iptable_raw") || loaded("ip6table_raw")):
		k.why = ErrMasksUnread
	case err == nil, errors.Is(err, fs.ErrPermission):
		k.why = nil
	}
}

func (k *masks) lookAtNFT(ctx context.Context, conn *nlraw.Conn) {
	generation, err := conn.RulesGeneration(ctx)
	if err != nil || generation == k.rules {
		return
	}
	var found rulesMasks
	req := netlink.Message{Data: make([]byte, sizeofNfgenmsg)}
	req.Header.Type = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE
	err = conn.Dump(ctx, req, nil, func(m nlraw.Message) error {
		found.add(masksOf(m.Data))
		return nil
	})
	switch {
	case err == nil:
		k.nft, k.rules = found, generation
	case errors.Is(err, nlraw.ErrInterrupted):
		k.nft.add(found)
	}
}

// masksOf returns what a rule of nftables does to events.
func masksOf(b []byte) (m rulesMasks) {
	if len(b) < sizeofNfgenmsg {
		return m
	}
	values := map[uint32]uint32{} // that the rule puts into registers
	attrs := nlraw.Attributes(b[sizeofNfgenmsg:])
	for attrs.Next() {
		if attrs.Type != unix.NFTA_RULE_EXPRESSIONS {
			continue
		}
		expressions := nlraw.Attributes(attrs.Value)
		for expressions.Next() {
			m.expression(expressions.Value, values)
		}
	}
	return m
}

// expression takes in an expression of a rule. It keeps in values what the expression puts into a register. A mask
// whose value the rule does not say counts as one that lacks all events, and an object of a map as a helper.
func (m *rulesMasks) expression(b []byte, values map[uint32]uint32) {
	data := field(b, unix.NFTA_EXPR_DATA)
	switch unix.ByteSliceToString(field(b, unix.NFTA_EXPR_NAME)) {
	case "immediate":
		to, value := field(data, unix.NFTA_IMMEDIATE_DREG), field(data, unix.NFTA_IMMEDIATE_DATA)
		if value = field(value, unix.NFTA_DATA_VALUE); len(to) == 4 && len(value) == 4 {
			values[binary.BigEndian.Uint32(to)] = binary.NativeEndian.Uint32(value)
		}
	case "ct":
		key, from := field(data, unix.NFTA_CT_KEY), field(data, unix.NFTA_CT_SREG)
		if len(key) == 4 && len(from) == 4 && binary.BigEndian.Uint32(key) == unix.NFT_CT_EVENTMASK {
			m.mask(values[binary.BigEndian.Uint32(from)])
		}
	case "objref":
		kind := field(data, unix.NFTA_OBJREF_IMM_TYPE)
		m.helpers = m.helpers || len(kind) != 4 || binary.BigEndian.Uint32(kind) == unix.NFT_OBJECT_CT_HELPER
	case "target":
		if unix.ByteSliceToString(field(data, attrTargetName)) == "CT" {
			m.target(field(data, attrTargetInfo))
		}
	}
}

// Attributes of an iptables target in a rule: enum nft_target_attributes,
// include/uapi/linux/netfilter/nf_tables_compat.h (Linux 6.18).
const (
	attrTargetName = 1
	attrTargetInfo = 3
)
