package conntrack

import "golang.org/x/sys/unix"

// Message types: enum cntl_msg_types, include/uapi/linux/netfilter/nfnetlink_conntrack.h
// (Linux 6.18), under the subsystem NFNL_SUBSYS_CTNETLINK.
const (
	msgNew         = unix.NFNL_SUBSYS_CTNETLINK << 8   // IPCTNL_MSG_CT_NEW, 0
	msgGet         = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1 // IPCTNL_MSG_CT_GET
	msgDelete      = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2 // IPCTNL_MSG_CT_DELETE
	msgGetStatsCPU = unix.NFNL_SUBSYS_CTNETLINK<<8 | 4 // IPCTNL_MSG_CT_GET_STATS_CPU
	msgGetStats    = unix.NFNL_SUBSYS_CTNETLINK<<8 | 5 // IPCTNL_MSG_CT_GET_STATS
)

// sizeofNfgenmsg is the size of struct nfgenmsg, with which every message starts:
// include/uapi/linux/netfilter/nfnetlink.h.
const sizeofNfgenmsg = 4

// attr is an attribute type. Errors name attributes as the kernel does.
type attr uint16

// Attributes of a flow: enum ctattr_type, nfnetlink_conntrack.h (Linux 6.18).
// Numbers are in network byte order.
const (
	attrTupleOrig  attr = 1 // CTA_TUPLE_ORIG: as the opener sends
	attrTupleReply attr = 2 // CTA_TUPLE_REPLY: as the answer comes back, hence translated
	attrStatus     attr = 3 // CTA_STATUS: u32, enum ip_conntrack_status
	attrProtoinfo  attr = 4 // CTA_PROTOINFO
	attrHelp       attr = 5 // CTA_HELP
	// CTA_TIMEOUT: seconds until the entry expires, u32, rounded down; absent from a DESTROY when 0
	attrTimeout        attr = 7
	attrID             attr = 12 // CTA_ID: u32
	attrZone           attr = 18 // CTA_ZONE: u16; absent when 0, or inside a tuple when of one direction
	attrTimestamp      attr = 20 // CTA_TIMESTAMP
	attrStatusMask     attr = 26 // CTA_STATUS_MASK: u32, in requests (Linux 5.15)
	attrTimestampEvent attr = 27 // CTA_TIMESTAMP_EVENT: ns of wall clock, u64, in events (Linux 6.14)
)

// attrLast is the last of enum ctattr_type that is known here; those between 1 and attrLast which have
// no name above are known and not needed.
const attrLast = attrTimestampEvent

// Attributes of CTA_TUPLE_*: enum ctattr_tuple.
const (
	attrTupleIP    attr = 1 // CTA_TUPLE_IP
	attrTupleProto attr = 2 // CTA_TUPLE_PROTO
	attrTupleZone  attr = 3 // CTA_TUPLE_ZONE: u16
)

// Attributes of CTA_TUPLE_IP: enum ctattr_ip.
const (
	attrIPv4Src attr = 1 // CTA_IP_V4_SRC
	attrIPv4Dst attr = 2 // CTA_IP_V4_DST
	attrIPv6Src attr = 3 // CTA_IP_V6_SRC
	attrIPv6Dst attr = 4 // CTA_IP_V6_DST
)

// Attributes of CTA_TUPLE_PROTO: enum ctattr_l4proto.
const (
	attrProtoNum     attr = 1 // CTA_PROTO_NUM: u8
	attrProtoSrcPort attr = 2 // CTA_PROTO_SRC_PORT: u16
	attrProtoDstPort attr = 3 // CTA_PROTO_DST_PORT: u16
	attrProtoLast    attr = 9 // CTA_PROTO_ICMPV6_CODE
)

// Attributes of CTA_PROTOINFO and CTA_PROTOINFO_TCP: enum ctattr_protoinfo, ctattr_protoinfo_tcp.
const (
	attrProtoinfoTCP  attr = 1 // CTA_PROTOINFO_TCP
	attrProtoinfoLast attr = 3 // CTA_PROTOINFO_SCTP
	attrTCPState      attr = 1 // CTA_PROTOINFO_TCP_STATE: u8, enum tcp_conntrack
	attrTCPFlagsOrig  attr = 4 // CTA_PROTOINFO_TCP_FLAGS_ORIGINAL: struct nf_ct_tcp_flags, flags and mask, one byte each
	attrTCPFlagsReply attr = 5 // CTA_PROTOINFO_TCP_FLAGS_REPLY: the same
	attrTCPLast            = attrTCPFlagsReply
)

// Attributes of CTA_TIMESTAMP: enum ctattr_tstamp. Nanoseconds of wall clock, u64.
const (
	attrTimestampStart attr = 1 // CTA_TIMESTAMP_START
	attrTimestampStop  attr = 2 // CTA_TIMESTAMP_STOP
	attrTimestampLast  attr = 3 // CTA_TIMESTAMP_PAD
)

// Attributes of IPCTNL_MSG_CT_GET_STATS and of IPCTNL_MSG_CT_GET_STATS_CPU: enum
// ctattr_stats_global, ctattr_stats_cpu. All u32.
const (
	attrStatsEntries attr = 1 // CTA_STATS_GLOBAL_ENTRIES

	attrStatsFound         attr = 2  // CTA_STATS_FOUND
	attrStatsInvalid       attr = 4  // CTA_STATS_INVALID
	attrStatsInsertFailed  attr = 9  // CTA_STATS_INSERT_FAILED
	attrStatsDrop          attr = 10 // CTA_STATS_DROP
	attrStatsEarlyDrop     attr = 11 // CTA_STATS_EARLY_DROP
	attrStatsSearchRestart attr = 13 // CTA_STATS_SEARCH_RESTART
	attrStatsClashResolve  attr = 14 // CTA_STATS_CLASH_RESOLVE
	attrStatsChainTooLong  attr = 15 // CTA_STATS_CHAIN_TOOLONG
)

// Bits of CTA_STATUS: enum ip_conntrack_status,
// include/uapi/linux/netfilter/nf_conntrack_common.h (Linux 6.18).
const (
	ipsSeenReply    = 1 << 1  // IPS_SEEN_REPLY
	ipsAssured      = 1 << 2  // IPS_ASSURED: early drop spares it
	ipsSrcNAT       = 1 << 4  // IPS_SRC_NAT
	ipsFixedTimeout = 1 << 10 // IPS_FIXED_TIMEOUT: packets do not renew the timeout
	ipsNATClash     = 1 << 12 // IPS_NAT_CLASH: lost a race for its tuple, expires soon
	ipsOffload      = 1 << 14 // IPS_OFFLOAD: in a flow table, which sees its packets
)

// What conntrack knows of a side of a TCP flow: IP_CT_TCP_FLAG_*, nf_conntrack_tcp.h of the same folder.
const (
	tcpWindowScale = 0x01 // IP_CT_TCP_FLAG_WINDOW_SCALE: the side scales its window, as its SYN says
	tcpBeLiberal   = 0x08 // IP_CT_TCP_FLAG_BE_LIBERAL: its sequence numbers are not checked
)

// tcpState is enum tcp_conntrack, include/uapi/linux/netfilter/nf_conntrack_tcp.h.
type tcpState uint8

const (
	tcpSynSent     tcpState = 1 // TCP_CONNTRACK_SYN_SENT
	tcpSynRecv     tcpState = 2 // TCP_CONNTRACK_SYN_RECV
	tcpEstablished tcpState = 3 // TCP_CONNTRACK_ESTABLISHED
	tcpFinWait     tcpState = 4 // TCP_CONNTRACK_FIN_WAIT
	tcpCloseWait   tcpState = 5 // TCP_CONNTRACK_CLOSE_WAIT
	tcpLastAck     tcpState = 6 // TCP_CONNTRACK_LAST_ACK
	tcpTimeWait    tcpState = 7 // TCP_CONNTRACK_TIME_WAIT
	tcpClose       tcpState = 8 // TCP_CONNTRACK_CLOSE
	tcpSynSent2    tcpState = 9 // TCP_CONNTRACK_SYN_SENT2: both sides sent a SYN
	tcpStates               = 10
)
