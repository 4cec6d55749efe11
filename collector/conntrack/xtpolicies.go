package conntrack

import (
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// Timeout policies of iptables: enum ctnl_timeout_msg_types and ctattr_timeout,
// include/uapi/linux/netfilter/nfnetlink_cttimeout.h (Linux 6.18).
const (
	msgGetPolicy = unix.NFNL_SUBSYS_CTNETLINK_TIMEOUT<<8 | 1 // IPCTNL_MSG_TIMEOUT_GET

	attrXtPolicyName     = 1 // CTA_TIMEOUT_NAME
	attrXtPolicyProtocol = 3 // CTA_TIMEOUT_L4PROTO: u8
	attrXtPolicyTimes    = 4 // CTA_TIMEOUT_DATA: by state
	attrXtPolicyUse      = 5 // CTA_TIMEOUT_USE: u32 in network byte order, 1 and one more for each rule
)

// xtPoliciesLoaded reports whether the kernel can be asked for policies of iptables without loading a module for the
// question. Where the module is not loaded, there is no policy.
func xtPoliciesLoaded() bool { return loaded("nfnetlink_cttimeout") }

// parseXtPolicy reads a policy of iptables; ok is false if it is not of TCP, or if no rule uses it.
func parseXtPolicy(b []byte) (p policy, ok bool) {
	if len(b) < sizeofNfgenmsg {
		return policy{}, false
	}
	var times []byte
	tcp, used := false, true
	attrs := nlraw.Attributes(b[sizeofNfgenmsg:])
	for attrs.Next() {
		switch v := attrs.Value; attrs.Type {
		case attrXtPolicyName:
			p.name = unix.ByteSliceToString(v)
		case attrXtPolicyProtocol:
			tcp = len(v) == 1 && v[0] == byte(collector.TCP)
		case attrXtPolicyTimes:
			times = v
		case attrXtPolicyUse:
			uses, err := u32(v, "CTA_TIMEOUT_USE")
			used = err != nil || uses > 1
		}
	}
	known := p.setForgets(times)
	return p, tcp && used && known && p.name != ""
}
