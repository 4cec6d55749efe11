package conntrack

import (
	"context"
	"encoding/binary"
	"os"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// dialDetached opens a netfilter socket for requests. Their answers do not wake the process.
func dialDetached(ns int) (*nlraw.Conn, error) { return nlraw.Detached(dial(ns)) }

// dial opens a netfilter socket in the namespace of descriptor ns, 0 for the caller's own.
func dial(ns int) (*nlraw.Conn, error) {
	conn, err := nlraw.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: ns})
	if err != nil {
		return nil, kernelError("open a netfilter socket", err)
	}
	return conn, nil
}

// entries returns how many entries the namespace has, in 2.4 µs.
func entries(ctx context.Context, conn *nlraw.Conn) (n uint32, err error) {
	err = conn.Get(ctx, netlink.Message{
		Header: netlink.Header{Type: msgGetStats},
		Data:   make([]byte, sizeofNfgenmsg),
	}, func(m nlraw.Message) error {
		n, err = parseEntries(m.Data)
		return err
	})
	if err != nil && ctx.Err() == nil {
		return 0, kernelError("count conntrack entries", err)
	}
	return n, err
}

// parseEntries reads an IPCTNL_MSG_CT_GET_STATS answer.
func parseEntries(b []byte) (uint32, error) {
	if len(b) < sizeofNfgenmsg {
		return 0, &parseError{"nfgenmsg", len(b), "4"}
	}
	attrs := nlraw.Attributes(b[sizeofNfgenmsg:])
	for attrs.Next() {
		if attr(attrs.Type) == attrStatsEntries {
			return u32(attrs.Value, "CTA_STATS_GLOBAL_ENTRIES")
		}
	}
	return 0, &parseError{"CTA_STATS_GLOBAL_ENTRIES", 0, "4"}
}

func appendU32(b []byte, a attr, v uint32) []byte {
	b = binary.NativeEndian.AppendUint16(b, 8)
	b = binary.NativeEndian.AppendUint16(b, uint16(a))
	return binary.BigEndian.AppendUint32(b, v)
}

// readBuckets returns net.netfilter.nf_conntrack_buckets, 0 if there is none. All namespaces share one table.
func readBuckets() int {
	b, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_buckets")
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return n
}
