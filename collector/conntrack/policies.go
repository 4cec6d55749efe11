package conntrack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// policy is a timeout policy that rules use, of nftables ("ct timeout") or of iptables ("-j CT --timeout"), and for how
// long it lets an entry of a flow stay that ended. Nothing in an entry tells which policy it is under.
type policy struct {
	name    string
	forgets time.Duration
}

// shorter reports whether p forgets ended flows sooner than other does; the zero policy forgets none.
func (p policy) shorter(other policy) bool {
	return p.name != "" && (other.name == "" || p.forgets < other.forgets)
}

// policies are those that rules use: of nftables and of iptables, the one that forgets ended flows the soonest.
type policies struct{ nft, xt policy }

// read puts the policies that rules use into t. If the rules change while it reads, it keeps the policy of the read
// before.
func (p *policies) read(ctx context.Context, conn *nlraw.Conn, t *timeouts) {
	for _, of := range [...]struct {
		last *policy
		kind policyKind
	}{{&p.nft, nftPolicies()}, {&p.xt, xtPolicies()}} {
		if now, err := of.kind.shortest(ctx, conn); !errors.Is(err, nlraw.ErrInterrupted) {
			*of.last = now
		}
		if of.last.name != "" && (t.forgets == 0 || of.last.forgets < t.forgets) {
			t.forgets, t.forgetsBy = of.last.forgets, fmt.Sprintf(of.kind.called, of.last.name)
		}
	}
}

// policyKind says how the kernel lists the policies of nftables, or the policies of iptables.
type policyKind struct {
	called    string // by messages: a format that takes the policy's name
	message   uint16 // that asks for them
	filter    []byte // attributes of that message
	name, use uint16 // attributes of a policy; use: u32 in network byte order, idle and one more for each rule
	// data is the attribute that protocol (u8) and times (by state) stand in; 0 where they stand beside the name.
	data, protocol, times uint16
	idle                  uint32
}

// Attributes of a timeout policy of nftables: enum nft_ct_timeout_attributes, include/uapi/linux/netfilter/nf_tables.h
// (Linux 6.18). The times by state have the same attributes in policies of nftables and of iptables: enum
// ctattr_timeout_tcp, nfnetlink_cttimeout.h. They are in seconds, u32 in network byte order.
const (
	attrPolicyProtocol = 2 // NFTA_CT_TIMEOUT_L4PROTO: u8
	attrPolicyTimes    = 3 // NFTA_CT_TIMEOUT_DATA: by state
	attrPolicyTimeWait = 7 // CTA_TIMEOUT_TCP_TIME_WAIT
	attrPolicyClose    = 8 // CTA_TIMEOUT_TCP_CLOSE

	// Of policies of UDP: enum ctattr_timeout_udp.
	attrPolicyUnreplied = 1 // CTA_TIMEOUT_UDP_UNREPLIED
	attrPolicyReplied   = 2 // CTA_TIMEOUT_UDP_REPLIED
)

func nftPolicies() policyKind {
	return policyKind{
		called:  "the ct timeout policy %q of nftables",
		message: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETOBJ,
		filter:  appendU32(nil, unix.NFTA_OBJ_TYPE, unix.NFT_OBJECT_CT_TIMEOUT),
		name:    unix.NFTA_OBJ_NAME, use: unix.NFTA_OBJ_USE,
		data: unix.NFTA_OBJ_DATA, protocol: attrPolicyProtocol, times: attrPolicyTimes,
	}
}

// Timeout policies of iptables: enum ctnl_timeout_msg_types and ctattr_timeout,
// include/uapi/linux/netfilter/nfnetlink_cttimeout.h (Linux 6.18).
const (
	msgGetPolicy = unix.NFNL_SUBSYS_CTNETLINK_TIMEOUT<<8 | 1 // IPCTNL_MSG_TIMEOUT_GET

	attrXtPolicyName     = 1 // CTA_TIMEOUT_NAME
	attrXtPolicyProtocol = 3 // CTA_TIMEOUT_L4PROTO: u8
	attrXtPolicyTimes    = 4 // CTA_TIMEOUT_DATA: by state
	attrXtPolicyUse      = 5 // CTA_TIMEOUT_USE: u32 in network byte order, 1 and one more for each rule
)

func xtPolicies() policyKind {
	return policyKind{
		called:  "the timeout policy %q of iptables",
		message: msgGetPolicy,
		name:    attrXtPolicyName, use: attrXtPolicyUse, idle: 1,
		protocol: attrXtPolicyProtocol, times: attrXtPolicyTimes,
	}
}

// shortest returns the policy under which ended flows are forgotten the soonest; the zero policy for none. Where the
// kernel has no such policies, there are none.
func (k *policyKind) shortest(ctx context.Context, conn *nlraw.Conn) (shortest policy, err error) {
	if k.message == msgGetPolicy && !loaded("nfnetlink_cttimeout") { // asking would load it, and it has no policy then
		return policy{}, nil
	}
	req := netlink.Message{Data: append(make([]byte, sizeofNfgenmsg), k.filter...)}
	req.Header.Type = netlink.HeaderType(k.message)
	err = conn.Dump(ctx, req, nil, func(m nlraw.Message) error {
		if p, ok := k.parse(m.Data); ok && p.shorter(shortest) {
			shortest = p
		}
		return nil
	})
	if err != nil {
		return policy{}, err
	}
	return shortest, nil
}

// parse reads a policy; ok is false if it is not of TCP or UDP, or if no rule uses it.
func (k *policyKind) parse(b []byte) (p policy, ok bool) {
	if len(b) < sizeofNfgenmsg {
		return policy{}, false
	}
	b = b[sizeofNfgenmsg:]
	data := b
	if k.data != 0 {
		data = field(b, k.data)
	}
	uses, err := u32(field(b, k.use), "uses of a timeout policy")
	p.name = unix.ByteSliceToString(field(b, k.name))
	known := false
	if protocol := field(data, k.protocol); len(protocol) == 1 {
		known = p.setForgets(collector.Protocol(protocol[0]), field(data, k.times))
	}
	return p, known && p.name != "" && (err != nil || uses > k.idle)
}

// setForgets takes the shorter of the times of two states of a protocol: TIME_WAIT and CLOSE of TCP, unreplied and
// replied of UDP; known is false if there is neither.
func (p *policy) setForgets(protocol collector.Protocol, times []byte) (known bool) {
	var of [2]uint16
	switch protocol {
	case collector.TCP:
		of = [...]uint16{attrPolicyTimeWait, attrPolicyClose}
	case collector.UDP:
		of = [...]uint16{attrPolicyUnreplied, attrPolicyReplied}
	default:
		return false
	}
	states := nlraw.Attributes(times)
	for states.Next() {
		if states.Type != of[0] && states.Type != of[1] {
			continue
		}
		seconds, err := u32(states.Value, "CTA_TIMEOUT")
		if d := max(time.Duration(seconds)*time.Second, 1); err == nil && (!known || d < p.forgets) {
			p.forgets, known = d, true
		}
	}
	return known
}
