package natrules

import "golang.org/x/sys/unix"

// Attributes that x/sys/unix lacks: include/uapi/linux/netfilter/nf_tables.h (Linux 6.18).
const (
	nftaBitwiseOp       = 6  // NFTA_BITWISE_OP
	nftaBitwiseData     = 7  // NFTA_BITWISE_DATA
	nftaSetElemKeyEnd   = 10 // NFTA_SET_ELEM_KEY_END
	nftaSetHandle       = 16 // NFTA_SET_HANDLE
	nftaObjHandle       = 6  // NFTA_OBJ_HANDLE
	nftaFlowtableTable  = 1  // NFTA_FLOWTABLE_TABLE
	nftaFlowtableHandle = 5  // NFTA_FLOWTABLE_HANDLE
	nftaSocketDreg      = 2  // NFTA_SOCKET_DREG
	nftaTunnelDreg      = 2  // NFTA_TUNNEL_DREG
	nftTableDormant     = 1  // NFT_TABLE_F_DORMANT
	nftElemIntervalEnd  = 1  // NFT_SET_ELEM_INTERVAL_END
	nftElemCatchall     = 2  // NFT_SET_ELEM_CATCHALL
)

// Flags of a range that NAT maps to: include/uapi/linux/netfilter/nf_nat.h.
const (
	natMapIPs = 1 << 0 // NF_NAT_RANGE_MAP_IPS
	natPorts  = 1 << 1 // NF_NAT_RANGE_PROTO_SPECIFIED
	natPrefix = 1 << 6 // NF_NAT_RANGE_NETMAP
)

// Verdicts: enum nft_verdicts, include/uapi/linux/netfilter/nf_tables.h, and NF_DROP, NF_ACCEPT.
const (
	verdictDrop     int32 = 0
	verdictAccept   int32 = 1
	verdictContinue int32 = -1
	verdictBreak    int32 = -2
	verdictJump     int32 = -3
	verdictGoto     int32 = -4
	verdictReturn   int32 = -5
)

// legacyPriority is NF_IP_PRI_NAT_SRC of enum nf_ip_hook_priorities, include/uapi/linux/netfilter_ipv4.h: where
// iptables-legacy translates sources.
const legacyPriority = 100

// message is the netlink type of a message of nf_tables.
func message(typ uint16) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | typ }
