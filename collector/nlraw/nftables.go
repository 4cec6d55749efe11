package nlraw

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// NoNFTables is the generation of a kernel that has no nf_tables. Other kernels count generations from 1.
const NoNFTables = 0

// RulesGeneration returns the number that the kernel gives the rules of nftables: another after every change.
func (c *Conn) RulesGeneration(ctx context.Context) (id uint32, err error) {
	const sizeofNfgenmsg = 4 // it comes before the attributes
	req := netlink.Message{Data: make([]byte, sizeofNfgenmsg)}
	req.Header.Type = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN
	err = c.Get(ctx, req, func(m Message) error {
		if len(m.Data) < sizeofNfgenmsg {
			return fmt.Errorf("%w: %d bytes, want struct nfgenmsg", ErrMalformed, len(m.Data))
		}
		attrs := Attributes(m.Data[sizeofNfgenmsg:])
		for attrs.Next() {
			if attrs.Type == unix.NFTA_GEN_ID && len(attrs.Value) >= 4 {
				id = binary.BigEndian.Uint32(attrs.Value)
			}
		}
		if attrs.Left() > 0 {
			return fmt.Errorf("%w: cut off in the middle of an attribute", ErrMalformed)
		}
		return nil
	})
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP): // nfnetlink knows no such subsystem
		return NoNFTables, nil
	case err != nil:
		return 0, fmt.Errorf("read the generation of nftables: %w", err)
	}
	return id, nil
}
