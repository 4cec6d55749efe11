package conntrack

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// needed are the events that a source cannot do without, as in the masks of rules: 1<<IPCT_NEW | 1<<IPCT_DESTROY, enum
// ip_conntrack_events, include/uapi/linux/netfilter/nf_conntrack_common.h (Linux 6.18).
const needed = 1<<0 | 1<<2

// masks tells whether rules keep events of some flows back: nftables with "ct event set", iptables-nft with "-j CT
// --ctevents". Those of iptables-legacy are not read.
type masks struct {
	there bool
	rules uint32         // generation of the rules that were read, nlraw.NoNFTables for none
	read  collector.Time // when look last looked
}

// look reads the rules again if they changed, but not within interval of the last time: those of a large ruleset take
// long to read. Where it cannot, it keeps what it knows.
func (k *masks) look(ctx context.Context, conn *nlraw.Conn, now collector.Time, interval time.Duration) {
	if k.read != 0 && now.Sub(k.read) < interval {
		return
	}
	k.read = now
	generation, err := conn.RulesGeneration(ctx)
	if err != nil || generation == k.rules {
		return
	}
	there := false
	req := netlink.Message{Data: make([]byte, sizeofNfgenmsg)}
	req.Header.Type = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE
	err = conn.Dump(ctx, req, nil, func(m nlraw.Message) error {
		there = there || masksEvents(m.Data)
		return nil
	})
	switch {
	case err == nil:
		k.there, k.rules = there, generation
	case errors.Is(err, nlraw.ErrInterrupted):
		k.there = k.there || there
	}
}

// masksEvents reports whether a rule sets a mask that lacks a needed event. A mask whose value the rule does not say
// counts as one.
func masksEvents(b []byte) bool {
	if len(b) < sizeofNfgenmsg {
		return false
	}
	values := map[uint32]uint32{} // that the rule puts into registers
	attrs := nlraw.Attributes(b[sizeofNfgenmsg:])
	for attrs.Next() {
		if attrs.Type != unix.NFTA_RULE_EXPRESSIONS {
			continue
		}
		expressions := nlraw.Attributes(attrs.Value)
		for expressions.Next() {
			if mask, ok := maskOf(expressions.Value, values); ok && mask&needed != needed {
				return true
			}
		}
	}
	return false
}

// maskOf returns the mask that an expression sets; ok is false if it sets none. It keeps in values what the expression
// puts into a register.
func maskOf(b []byte, values map[uint32]uint32) (mask uint32, ok bool) {
	var name string
	var data []byte
	attrs := nlraw.Attributes(b)
	for attrs.Next() {
		switch attrs.Type {
		case unix.NFTA_EXPR_NAME:
			name = unix.ByteSliceToString(attrs.Value)
		case unix.NFTA_EXPR_DATA:
			data = attrs.Value
		}
	}
	switch name {
	case "immediate":
		to, value := field(data, unix.NFTA_IMMEDIATE_DREG), field(data, unix.NFTA_IMMEDIATE_DATA)
		if value = field(value, unix.NFTA_DATA_VALUE); len(to) == 4 && len(value) == 4 {
			values[binary.BigEndian.Uint32(to)] = binary.NativeEndian.Uint32(value)
		}
	case "ct":
		key, from := field(data, unix.NFTA_CT_KEY), field(data, unix.NFTA_CT_SREG)
		if len(key) == 4 && len(from) == 4 && binary.BigEndian.Uint32(key) == unix.NFT_CT_EVENTMASK {
			return values[binary.BigEndian.Uint32(from)], true
		}
	case "target": // struct xt_ct_target_info: flags u16, zone u16, ct_events u32
		info := field(data, attrTargetInfo)
		if unix.ByteSliceToString(field(data, attrTargetName)) == "CT" && len(info) >= 8 {
			mask = binary.NativeEndian.Uint32(info[4:])
			return mask, mask != 0
		}
	}
	return 0, false
}

// Attributes of an iptables target in a rule: enum nft_target_attributes,
// include/uapi/linux/netfilter/nf_tables_compat.h (Linux 6.18).
const (
	attrTargetName = 1
	attrTargetInfo = 3
)
