package natrules

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// A kernel without nf_tables has no generation, and its rules of iptables-legacy are read all the same.
func TestGeneration(t *testing.T) {
	t.Parallel()
	answer := func(typ uint16, data []byte) func(netlink.Message) [][]byte {
		return func(req netlink.Message) [][]byte {
			b := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(data)))
			b = binary.NativeEndian.AppendUint16(b, typ)
			b = binary.NativeEndian.AppendUint16(b, 0)
			b = binary.NativeEndian.AppendUint32(b, req.Header.Sequence)
			b = binary.NativeEndian.AppendUint32(b, req.Header.PID)
			return [][]byte{append(b, data...)}
		}
	}
	failed := func(errno unix.Errno) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno))) }
	for _, tt := range []struct {
		name    string
		answer  func(netlink.Message) [][]byte
		want    uint32
		wantErr bool
	}{
		{"the seventh", answer(message(unix.NFT_MSG_NEWGEN), join(make([]byte, 4), nla(unix.NFTA_GEN_ID, be32(7)))), 7, false},
		{"no such subsystem", answer(unix.NLMSG_ERROR, failed(unix.EINVAL)), nlraw.NoNFTables, false},
		{"without the right", answer(unix.NLMSG_ERROR, failed(unix.EPERM)), 0, true},
		{"cut off", answer(message(unix.NFT_MSG_NEWGEN), []byte{0, 0}), 0, true},
	} {
		got, err := nlraw.Fake(tt.answer).RulesGeneration(context.Background())
		if got != tt.want || (err != nil) != tt.wantErr {
			t.Errorf("%s: %d, %v", tt.name, got, err)
		}
	}
	n := nftables{missing: true}
	if list, err := n.bases(); list != nil || err != nil {
		t.Errorf("base chains without nf_tables: %v, %v", list, err)
	}
}
