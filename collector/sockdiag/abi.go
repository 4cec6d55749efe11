package sockdiag

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
)

// Message types: include/uapi/linux/sock_diag.h and inet_diag.h (Linux 6.18).
const (
	sockDiagByFamily = 20 // SOCK_DIAG_BY_FAMILY: one address family of one protocol
	tcpDiagGetSock   = 18 // TCPDIAG_GETSOCK: TCP of both address families in one walk
)

// Lengths and offsets of struct inet_diag_sockid, inet_diag_req_v2, inet_diag_req
// and inet_diag_msg. Ports and addresses are in network byte order.
const (
	sizeofSockID = 48 // sport, dport, src, dst, if, cookie
	sizeofReqV2  = 8 + sizeofSockID
	sizeofReq    = 4 + sizeofSockID + 8
	sizeofMsg    = 4 + sizeofSockID + 20

	reqExtensions    = 2 // of inet_diag_req_v2: bit n-1 asks for attribute n
	reqOldExtensions = 3 // of inet_diag_req

	msgFamily  = 0
	msgState   = 1
	msgTimer   = 2
	msgRetrans = 3
	msgSockID  = 4
	msgSport   = 4
	msgDport   = 6
	msgSrc     = 8
	msgDst     = 24
	msgCookie  = 44
	msgExpires = 52 // milliseconds until idiag_timer
	msgInode   = 68

	// timerTimeWait is idiag_timer of a socket in TIME_WAIT, or in FIN_WAIT2 without an owner:
	// inet_twsk_diag_fill, net/ipv4/inet_diag.c.
	timerTimeWait = 3
)

// Attributes: enum INET_DIAG_*, include/uapi/linux/inet_diag.h.
const (
	attrReqBytecode = 1  // INET_DIAG_REQ_BYTECODE, of a request
	attrInfo        = 2  // INET_DIAG_INFO: struct tcp_info
	attrProtocol    = 10 // INET_DIAG_PROTOCOL: u8, destroyed sockets only
	attrCgroupID    = 21 // INET_DIAG_CGROUP_ID: u64; not in TIME_WAIT
	attrMax         = 22 // INET_DIAG_SOCKOPT: the last that Linux 6.18 knows
)

// Multicast groups: enum sknetlink_groups, include/uapi/linux/sock_diag.h.
const (
	groupTCPDestroy  = 1 // SKNLGRP_INET_TCP_DESTROY
	groupUDPDestroy  = 2 // SKNLGRP_INET_UDP_DESTROY
	groupTCP6Destroy = 3 // SKNLGRP_INET6_TCP_DESTROY
	groupUDP6Destroy = 4 // SKNLGRP_INET6_UDP_DESTROY
)

// Socket states: include/net/tcp_states.h.
const (
	tcpEstablished = 1
	tcpSynSent     = 2
	tcpSynRecv     = 3
	tcpFinWait1    = 4
	tcpFinWait2    = 5
	tcpTimeWait    = 6
	tcpClose       = 7 // also UDP that is not connected
	tcpCloseWait   = 8
	tcpLastAck     = 9
	tcpListen      = 10
	tcpClosing     = 11

	// statesFlows are the states of sockets that hold a port towards a destination.
	statesFlows = 1<<tcpEstablished | 1<<tcpSynSent | 1<<tcpSynRecv | 1<<tcpFinWait1 | 1<<tcpFinWait2 |
		1<<tcpTimeWait | 1<<tcpCloseWait | 1<<tcpLastAck | 1<<tcpClosing
)

// flowState maps a TCP state to what is known of a flow's life.
var flowState = [...]collector.State{
	tcpSynSent:     collector.Opening,
	tcpSynRecv:     collector.Established,
	tcpEstablished: collector.Established,
	tcpFinWait1:    collector.Closing,
	tcpFinWait2:    collector.Closing,
	tcpCloseWait:   collector.Closing,
	tcpLastAck:     collector.Closing,
	tcpClosing:     collector.Closing,
	tcpTimeWait:    collector.Done,
}

// Offsets into struct tcp_info, include/uapi/linux/tcp.h.
const (
	infoUnacked      = int(unsafe.Offsetof(unix.TCPInfo{}.Unacked))        // segments
	infoLastDataSent = int(unsafe.Offsetof(unix.TCPInfo{}.Last_data_sent)) // milliseconds ago
	infoLastDataRecv = int(unsafe.Offsetof(unix.TCPInfo{}.Last_data_recv))
	infoLastAckRecv  = int(unsafe.Offsetof(unix.TCPInfo{}.Last_ack_recv))
	infoPMTU         = int(unsafe.Offsetof(unix.TCPInfo{}.Pmtu)) // 0 until the first connect
	infoBytesAcked   = int(unsafe.Offsetof(unix.TCPInfo{}.Bytes_acked))
	infoSegsOut      = int(unsafe.Offsetof(unix.TCPInfo{}.Segs_out))
	infoSegsIn       = int(unsafe.Offsetof(unix.TCPInfo{}.Segs_in))
	infoBytesSent    = int(unsafe.Offsetof(unix.TCPInfo{}.Bytes_sent))
	infoBytesRetrans = int(unsafe.Offsetof(unix.TCPInfo{}.Bytes_retrans))
	sizeofInfo       = infoBytesRetrans + 8 // Linux 4.19
)
