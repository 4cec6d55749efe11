package natrules

import "golang.org/x/sys/unix"

// Attributes that x/sys/unix lacks: include/uapi/linux/netfilter/nf_tables.h (Linux 6.18).
const (
	nftaBitwiseOp      = 6  // NFTA_BITWISE_OP
	nftaBitwiseData    = 7  // NFTA_BITWISE_DATA
	nftaSetElemKeyEnd  = 10 // NFTA_SET_ELEM_KEY_END
	nftaSocketDreg     = 2  // NFTA_SOCKET_DREG
	nftaTunnelDreg     = 2  // NFTA_TUNNEL_DREG
	nftTableDormant    = 1  // NFT_TABLE_F_DORMANT
	nftElemIntervalEnd = 1  // NFT_SET_ELEM_INTERVAL_END
	nftElemCatchall    = 2  // NFT_SET_ELEM_CATCHALL
)

// natPrefix is NF_NAT_RANGE_NETMAP of enum nf_nat_range flags, include/uapi/linux/netfilter/nf_nat.h.
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

// Meta and ct keys that matter: enum nft_meta_keys, enum nft_ct_keys.
const (
	metaMark    = 3  // NFT_META_MARK
	metaOIF     = 5  // NFT_META_OIF
	metaOIFName = 7  // NFT_META_OIFNAME
	metaNFProto = 15 // NFT_META_NFPROTO
	metaL4Proto = 16 // NFT_META_L4PROTO
	ctMark      = 3  // NFT_CT_MARK
)

// Hooks, priorities and payload bases of the same headers.
const (
	hookPrerouting  = 0   // NF_INET_PRE_ROUTING
	hookForward     = 2   // NF_INET_FORWARD
	hookOutput      = 3   // NF_INET_LOCAL_OUT
	hookPostrouting = 4   // NF_INET_POST_ROUTING
	networkHeader   = 1   // NFT_PAYLOAD_NETWORK_HEADER
	natSource       = 0   // NFT_NAT_SNAT
	legacyPriority  = 100 // NF_IP_PRI_NAT_SRC, where iptables-legacy translates sources
	cmpEq           = 0   // NFT_CMP_EQ
	cmpNeq          = 1   // NFT_CMP_NEQ
	lookupInvert    = 1   // NFT_LOOKUP_F_INV
)

// message is the netlink type of a message of nf_tables.
func message(typ uint16) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | typ }
