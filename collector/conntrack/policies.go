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

// Attributes of a timeout policy of nftables: enum nft_ct_timeout_attributes, include/uapi/linux/netfilter/nf_tables.h
// (Linux 6.18). The times by state have the same attributes in policies of nftables and of iptables: enum
// ctattr_timeout_tcp, nfnetlink_cttimeout.h. They are in seconds, u32 in network byte order.
const (
	attrPolicyProtocol = 2 // NFTA_CT_TIMEOUT_L4PROTO: u8
	attrPolicyTimes    = 3 // NFTA_CT_TIMEOUT_DATA: by state
	attrPolicyTimeWait = 7 // CTA_TIMEOUT_TCP_TIME_WAIT
	attrPolicyClose    = 8 // CTA_TIMEOUT_TCP_CLOSE
)

// policy is a timeout policy that rules use, of nftables ("ct timeout") or of iptables ("-j CT --timeout"), and for how
// long it lets an entry of a TCP flow stay that ended. Nothing in an entry tells which policy it is under.
type policy struct {
	name    string
	forgets time.Duration
}

// shorter reports whether p forgets ended flows sooner than other does; the zero policy forgets none.
func (p policy) shorter(other policy) bool {
	return p.name != "" && (other.name == "" || p.forgets < other.forgets)
}

// readPolicies puts the timeout policies that rules use into the timeouts. If the rules change while it reads, it keeps
// the policy of the read before.
func (s *Source) readPolicies(ctx context.Context) {
	for i, kind := range [...]policies{nftPolicies, xtPolicies} {
		read, err := kind.shortest(ctx, s.table.conn)
		if !errors.Is(err, nlraw.ErrInterrupted) {
			s.policy[i] = read
		}
		p := s.policy[i]
		if p.name != "" && (s.timeouts.forgets == 0 || p.forgets < s.timeouts.forgets) {
			s.timeouts.forgets, s.timeouts.forgetsBy = p.forgets, fmt.Sprintf(kind.called(), p.name)
		}
	}
	s.load.forgets = s.timeouts.forgets
}

// policies are the timeout policies of one kind.
type policies uint8

const (
	nftPolicies policies = iota
	xtPolicies
	numPolicies
)

// called returns what a message calls a policy of kind k: a format that takes the policy's name.
func (k policies) called() string {
	if k == xtPolicies {
		return "the timeout policy %q of iptables"
	}
	return "the ct timeout policy %q of nftables"
}

// shortest returns the policy under which ended flows are forgotten the soonest; the zero policy for none. Where the
// kernel has no such policies, there are none.
func (k policies) shortest(ctx context.Context, conn *nlraw.Conn) (shortest policy, err error) {
	var req netlink.Message
	parse := parsePolicy
	switch {
	case k == nftPolicies:
		req.Header.Type = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETOBJ
		req.Data = appendU32(make([]byte, sizeofNfgenmsg, 16), unix.NFTA_OBJ_TYPE, unix.NFT_OBJECT_CT_TIMEOUT)
	case !xtPoliciesLoaded():
		return policy{}, nil
	default:
		req.Header.Type = msgGetPolicy
		req.Data = make([]byte, sizeofNfgenmsg)
		parse = parseXtPolicy
	}
	err = conn.Dump(ctx, req, nil, func(m nlraw.Message) error {
		if p, ok := parse(m.Data); ok && p.shorter(shortest) {
			shortest = p
		}
		return nil
	})
	if err != nil {
		return policy{}, err
	}
	return shortest, nil
}

// parsePolicy reads a policy of nftables; ok is false if it is not of TCP, or if no rule uses it.
func parsePolicy(b []byte) (p policy, ok bool) {
	if len(b) < sizeofNfgenmsg {
		return policy{}, false
	}
	var times []byte
	tcp, used := false, true
	attrs := nlraw.Attributes(b[sizeofNfgenmsg:])
	for attrs.Next() {
		switch v := attrs.Value; attrs.Type {
		case unix.NFTA_OBJ_NAME:
			p.name = unix.ByteSliceToString(v)
		case unix.NFTA_OBJ_USE:
			uses, err := u32(v, "NFTA_OBJ_USE")
			used = err != nil || uses > 0
		case unix.NFTA_OBJ_DATA:
			data := nlraw.Attributes(v)
			for data.Next() {
				switch data.Type {
				case attrPolicyProtocol:
					tcp = len(data.Value) == 1 && data.Value[0] == byte(collector.TCP)
				case attrPolicyTimes:
					times = data.Value
				}
			}
		}
	}
	known := p.setForgets(times)
	return p, tcp && used && known && p.name != ""
}

// setForgets takes the shorter of the times of TIME_WAIT and CLOSE; known is false if there is neither.
func (p *policy) setForgets(times []byte) (known bool) {
	states := nlraw.Attributes(times)
	for states.Next() {
		if states.Type != attrPolicyTimeWait && states.Type != attrPolicyClose {
			continue
		}
		seconds, err := u32(states.Value, "CTA_TIMEOUT_TCP")
		if d := max(time.Duration(seconds)*time.Second, 1); err == nil && (!known || d < p.forgets) {
			p.forgets, known = d, true
		}
	}
	return known
}
