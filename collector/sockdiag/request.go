package sockdiag

import (
	"encoding/binary"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
)

// requestTCP asks for the TCP sockets of both address families, in one walk
// over the kernel's tables.
func requestTCP(states uint32, extensions uint8, bytecode []byte) netlink.Message {
	b := make([]byte, sizeofReq, sizeofReq+unix.SizeofNlAttr+len(bytecode))
	b[reqOldExtensions] = extensions
	binary.NativeEndian.PutUint32(b[4+sizeofSockID:], states)
	return message(tcpDiagGetSock, appendBytecode(b, bytecode))
}

// requestFamily asks for the sockets of one protocol and address family.
func requestFamily(family uint8, p collector.Protocol, states uint32, bytecode []byte) netlink.Message {
	b := make([]byte, sizeofReqV2, sizeofReqV2+unix.SizeofNlAttr+len(bytecode))
	b[0], b[1] = family, uint8(p)
	binary.NativeEndian.PutUint32(b[4:], states)
	return message(sockDiagByFamily, appendBytecode(b, bytecode))
}

// requestSocket asks for the one TCP socket with the addresses and ports of id, a struct
// inet_diag_sockid.
func requestSocket(family uint8, id []byte) netlink.Message {
	b := make([]byte, sizeofReqV2)
	b[0], b[1] = family, uint8(collector.TCP)
	binary.NativeEndian.PutUint32(b[4:], ^uint32(0))
	copy(b[8:], id)
	// INET_DIAG_NOCOOKIE, twice: a socket gets its cookie when it is first asked for, so the
	// TIME_WAIT of one that no dump has seen does not share it.
	binary.NativeEndian.PutUint64(b[8+msgCookie-msgSockID:], ^uint64(0))
	return message(sockDiagByFamily, b)
}

func message(typ netlink.HeaderType, data []byte) netlink.Message {
	return netlink.Message{Header: netlink.Header{Type: typ}, Data: data}
}

func appendBytecode(b, bytecode []byte) []byte {
	if len(bytecode) == 0 {
		return b
	}
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofNlAttr+len(bytecode)))
	b = binary.NativeEndian.AppendUint16(b, attrReqBytecode)
	return append(b, bytecode...)
}

// Operations of a filter: struct inet_diag_bc_op, include/uapi/linux/inet_diag.h.
const (
	opJump        = 1 // INET_DIAG_BC_JMP
	opDestination = 8 // INET_DIAG_BC_D_COND
	sizeofOp      = 4
	sizeofCond    = 8 // struct inet_diag_hostcond, without the address
)

// notLoopback returns the filter for sockets whose destination is not a loopback
// address. Each operation says how far to jump if it holds and if not; a jump to the
// very end takes the socket, one beyond it does not.
func notLoopback() []byte {
	const (
		len4, len6 = sizeofOp + sizeofCond + 4, sizeofOp + sizeofCond + 16
		total      = len4 + sizeofOp + len6 + sizeofOp
	)
	b := make([]byte, 0, total)
	op := func(code, yes uint8, no int) {
		b = append(b, code, yes)
		b = binary.NativeEndian.AppendUint16(b, uint16(no))
	}
	reject := func() { op(opJump, sizeofOp, total-len(b)+sizeofOp) }
	cond := func(family, prefix uint8, address ...byte) {
		b = append(b, family, prefix, 0, 0)
		b = binary.NativeEndian.AppendUint32(b, ^uint32(0)) // any port
		b = append(b, address...)
	}
	// The kernel applies an IPv4 condition to mapped addresses of IPv6 sockets too.
	op(opDestination, len4, len4+sizeofOp)
	cond(unix.AF_INET, 8, 127, 0, 0, 0)
	reject()
	op(opDestination, len6, len6+sizeofOp)
	cond(unix.AF_INET6, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
	reject()
	return b
}
