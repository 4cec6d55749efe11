package conntrack

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// Unknown counts the flows for which the table of ns has no entry in its default zone; nil is the caller's own
// namespace. It asks for one flow after the other, some 3 µs each, and needs CAP_NET_ADMIN.
func Unknown(ctx context.Context, ns *netns.Handle, flows []collector.Flow) (int, error) {
	n := 0
	err := Find(ctx, ns, flows, func(_ int, found bool) {
		if !found {
			n++
		}
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Find looks up each of the flows as Unknown does, and tells whether the table has an entry of it.
func Find(ctx context.Context, ns *netns.Handle, flows []collector.Flow, tell func(i int, found bool)) error {
	fd := 0
	if ns != nil {
		fd = ns.FD()
	}
	conn, err := dial(fd)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for i := range flows {
		req, err := requestFlow(&flows[i])
		if err != nil {
			return err
		}
		switch err := conn.Get(ctx, req, func(nlraw.Message) error { return nil }); {
		case err == nil, errors.Is(err, unix.ENOENT):
			tell(i, err == nil)
		case ctx.Err() != nil:
			return err
		default:
			return kernelError("look a flow up in conntrack", err)
		}
	}
	return nil
}

// requestFlow asks for the entry that has f's source and destination in either direction.
func requestFlow(f *collector.Flow) (netlink.Message, error) {
	family, src, dst := uint8(unix.AF_INET), attrIPv4Src, attrIPv4Dst
	if f.Source.Addr().Is6() {
		family, src, dst = unix.AF_INET6, attrIPv6Src, attrIPv6Dst
	}
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	ae.Nested(uint16(attrTupleOrig), func(tuple *netlink.AttributeEncoder) error {
		tuple.Nested(uint16(attrTupleIP), func(ip *netlink.AttributeEncoder) error {
			ip.Bytes(uint16(src), f.Source.Addr().AsSlice())
			ip.Bytes(uint16(dst), f.Destination.Addr().AsSlice())
			return nil
		})
		tuple.Nested(uint16(attrTupleProto), func(proto *netlink.AttributeEncoder) error {
			proto.Uint8(uint16(attrProtoNum), uint8(f.Protocol))
			proto.Uint16(uint16(attrProtoSrcPort), f.Source.Port())
			proto.Uint16(uint16(attrProtoDstPort), f.Destination.Port())
			return nil
		})
		return nil
	})
	attrs, err := ae.Encode()
	if err != nil {
		return netlink.Message{}, err
	}
	return netlink.Message{Header: netlink.Header{Type: msgGet}, Data: append([]byte{family, 0, 0, 0}, attrs...)}, nil
}
