package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// rtnl changes links, addresses, neighbours and routes of one network namespace. Each of its messages is a header of
// include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h or neighbour.h, and attributes.
type rtnl struct{ c *netlink.Conn }

// attributes are the attributes of one message, in their order.
type attributes = func(*netlink.AttributeEncoder)

// set sends one message and waits for the kernel's word on it.
func (r rtnl) set(kind int, flags netlink.HeaderFlags, header []byte, attrs attributes) error {
	body, err := encode(header, attrs)
	if err != nil {
		return err
	}
	_, err = r.c.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request | netlink.Acknowledge | flags},
		Data:   body,
	})
	return err
}

func encode(header []byte, attrs attributes) ([]byte, error) {
	e := netlink.NewAttributeEncoder()
	attrs(e)
	body, err := e.Encode()
	return append(header, body...), err
}

// addVeth makes a pair of links. The second, peer, lies in the namespace of another file descriptor.
func (r rtnl) addVeth(name string, mac net.HardwareAddr, peer string, peerMAC net.HardwareAddr, peerNetns int) error {
	const vethInfoPeer = 1 // VETH_INFO_PEER, include/uapi/linux/veth.h: a header and attributes of a link
	other, err := encode(ifInfo(0, 0), func(e *netlink.AttributeEncoder) {
		e.String(unix.IFLA_IFNAME, peer)
		e.Bytes(unix.IFLA_ADDRESS, peerMAC)
		e.Uint32(unix.IFLA_NET_NS_FD, uint32(peerNetns))
	})
	if err != nil {
		return err
	}
	return r.set(unix.RTM_NEWLINK, netlink.Create|netlink.Excl, ifInfo(0, 0), func(e *netlink.AttributeEncoder) {
		e.String(unix.IFLA_IFNAME, name)
		e.Bytes(unix.IFLA_ADDRESS, mac)
		e.Nested(unix.IFLA_LINKINFO, func(e *netlink.AttributeEncoder) error {
			e.String(unix.IFLA_INFO_KIND, "veth")
			e.Nested(unix.IFLA_INFO_DATA, func(e *netlink.AttributeEncoder) error {
				e.Bytes(vethInfoPeer, other)
				return nil
			})
			return nil
		})
	})
}

// index returns the number of a link.
func (r rtnl) index(name string) (uint32, error) {
	body, err := encode(ifInfo(0, 0), func(e *netlink.AttributeEncoder) { e.String(unix.IFLA_IFNAME, name) })
	if err != nil {
		return 0, err
	}
	answer, err := r.c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request}, Data: body,
	})
	if err != nil {
		return 0, err
	}
	if len(answer) != 1 || len(answer[0].Data) < unix.SizeofIfInfomsg {
		return 0, errors.New("RTM_GETLINK: no struct ifinfomsg in the answer")
	}
	return binary.NativeEndian.Uint32(answer[0].Data[4:]), nil
}

// up brings a link up.
func (r rtnl) up(index uint32) error {
	return r.set(unix.RTM_NEWLINK, 0, ifInfo(index, unix.IFF_UP), func(*netlink.AttributeEncoder) {})
}

// addAddr puts an address on a link; one of IPv6 is not probed for another that has it.
func (r rtnl) addAddr(index uint32, p netip.Prefix) error {
	header := []byte{byte(family(p.Addr())), byte(p.Bits()), 0, unix.RT_SCOPE_UNIVERSE} // struct ifaddrmsg
	if p.Addr().Is6() {
		header[2] = unix.IFA_F_NODAD
	}
	header = binary.NativeEndian.AppendUint32(header, index)
	return r.set(unix.RTM_NEWADDR, netlink.Create|netlink.Replace, header, func(e *netlink.AttributeEncoder) {
		e.Bytes(unix.IFA_LOCAL, p.Addr().AsSlice())
		e.Bytes(unix.IFA_ADDRESS, p.Addr().AsSlice())
	})
}

// addNeighbour tells a link for good which hardware has an address.
func (r rtnl) addNeighbour(index uint32, ip netip.Addr, mac net.HardwareAddr) error {
	header := []byte{byte(family(ip)), 0, 0, 0} // struct ndmsg
	header = binary.NativeEndian.AppendUint32(header, index)
	header = binary.NativeEndian.AppendUint16(header, unix.NUD_PERMANENT)
	header = append(header, 0, unix.RTN_UNICAST)
	return r.set(unix.RTM_NEWNEIGH, netlink.Create|netlink.Replace, header, func(e *netlink.AttributeEncoder) {
		e.Bytes(unix.NDA_DST, ip.AsSlice())
		e.Bytes(unix.NDA_LLADDR, mac)
	})
}

// addRoute sends packets to p by way of a neighbour.
func (r rtnl) addRoute(p netip.Prefix, via netip.Addr) error {
	header := []byte{ // struct rtmsg
		byte(family(via)), byte(p.Bits()), 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RT_SCOPE_UNIVERSE,
		unix.RTN_UNICAST, 0, 0, 0, 0,
	}
	return r.set(unix.RTM_NEWROUTE, netlink.Create|netlink.Replace, header, func(e *netlink.AttributeEncoder) {
		if p.Bits() > 0 {
			e.Bytes(unix.RTA_DST, p.Addr().AsSlice())
		}
		e.Bytes(unix.RTA_GATEWAY, via.AsSlice())
	})
}

// ifInfo is a struct ifinfomsg that sets flags; index 0 is no link yet.
func ifInfo(index, flags uint32) []byte {
	b := make([]byte, 4, unix.SizeofIfInfomsg)
	b = binary.NativeEndian.AppendUint32(b, index)
	b = binary.NativeEndian.AppendUint32(b, flags)
	return binary.NativeEndian.AppendUint32(b, flags) // ifi_change: which flags count
}

// diagSocket is what sock_diag says of a TCP socket: struct inet_diag_msg, include/uapi/linux/inet_diag.h.
type diagSocket struct {
	state, retransmits uint8
	destination        netip.AddrPort
}

// tcpSockets lists the TCP sockets of one address family by a connection to sock_diag.
func tcpSockets(c *netlink.Conn, family int) ([]diagSocket, error) {
	const (
		request = 56 // sizeof(struct inet_diag_req_v2)
		answer  = 72 // sizeof(struct inet_diag_msg)
	)
	body := []byte{byte(family), unix.IPPROTO_TCP, 0, 0}
	body = binary.NativeEndian.AppendUint32(body, ^uint32(0)) // idiag_states: all
	messages, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.SOCK_DIAG_BY_FAMILY, Flags: netlink.Request | netlink.Dump},
		Data:   append(body, make([]byte, request-len(body))...),
	})
	if err != nil {
		return nil, err
	}
	sockets := make([]diagSocket, 0, len(messages))
	for _, m := range messages {
		b := m.Data
		if len(b) < answer {
			return nil, fmt.Errorf("struct inet_diag_msg of %d bytes, want %d", len(b), answer)
		}
		ip := netip.AddrFrom16([16]byte(b[24:40])).Unmap()
		if b[0] == unix.AF_INET {
			ip = netip.AddrFrom4([4]byte(b[24:28]))
		}
		sockets = append(sockets, diagSocket{
			state: b[1], retransmits: b[3], destination: netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[6:])),
		})
	}
	return sockets, nil
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
