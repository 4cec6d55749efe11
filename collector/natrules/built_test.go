package natrules_test

import (
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/natrules"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// Rules that no tool wrote: google/nftables builds them.
func TestKernelBuilt(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	conn, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	if err != nil {
		t.Fatal(err)
	}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "built"})
	chain := conn.AddChain(&nftables.Chain{
		Name: "post", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Immediate{Register: 1, Data: []byte{198, 51, 100, 1}},
		&expr.Immediate{Register: 2, Data: []byte{4, 0}},
		&expr.Immediate{Register: 3, Data: []byte{7, 255}},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2, RegProtoMax: 3},
	}})
	// The address is the flow's own mark: nothing that a rule says.
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1},
	}})
	vips := &nftables.Set{Table: table, Anonymous: true, Constant: true, IsMap: true, KeyType: nftables.TypeInteger, DataType: nftables.TypeIPAddr}
	if err := conn.AddSet(vips, []nftables.SetElement{
		{Key: []byte{0, 0, 0, 0}, Val: []byte{198, 51, 100, 2}},
		{Key: []byte{1, 0, 0, 0}, Val: []byte{198, 51, 100, 3}},
	}); err != nil {
		t.Fatal(err)
	}
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Numgen{Register: 1, Modulus: 2, Type: unix.NFT_NG_INCREMENTAL},
		&expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetID: vips.ID, SetName: vips.Name},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1},
	}})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	s := read(t, ns)
	compare(t, []natrules.Rule{
		{VIPs: addrs("198.51.100.1"), Ports: wide(), TCP: true},
		{VIPs: addrs("198.51.100.2", "198.51.100.3"), UDP: true}, // TCP is translated before
	}, s.Rules)
	if s.Unknown != 1 || !strings.Contains(s.Problems[0], "an address that depends on the flow") {
		t.Errorf("%d not understood: %q", s.Unknown, s.Problems)
	}
}
