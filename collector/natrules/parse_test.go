package natrules

import (
	"encoding/hex"
	"net/netip"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
)

// Targets as iptables-nft 1.8.9 put them into the kernel (Linux 6.18, amd64), and
// such as none should.
func TestTarget(t *testing.T) {
	t.Parallel()
	const (
		snat4 = "01000000" + "03000000" + "c6336401" + "c6336403" + "0400" + "07ff"
		masq6 = "02000000" + "00000000000000000000000000000000" + "00000000000000000000000000000000" + "0bb8" + "0bb8"
		snat6 = "03000000" + "20010db8000000000000000000000001" + "20010db8000000000000000000000002" + "0400" + "07ff"
	)
	v4 := []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2"), netip.MustParseAddr("198.51.100.3")}
	v6 := []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")}
	ports := collector.PortRange{First: 1024, Last: 2047}
	tests := []struct {
		name, target string
		family       byte
		rev          uint32
		blob         string
		want         []Rule
		wantErr      bool
	}{
		{name: "IPv4 range", target: "SNAT", family: unix.NFPROTO_IPV4, blob: snat4, want: []Rule{{VIPs: v4, Ports: ports, SpacePerVIP: true}}},
		{name: "IPv4 masquerade ignores addresses", target: "MASQUERADE", family: unix.NFPROTO_IPV4, blob: snat4, want: []Rule{{Masquerade: true, Ports: ports}}},
		{name: "IPv6 range", target: "SNAT", family: unix.NFPROTO_IPV6, rev: 1, blob: snat6, want: []Rule{{VIPs: v6, Ports: ports, SpacePerVIP: true}}},
		{name: "IPv6 range with a base port", target: "SNAT", family: unix.NFPROTO_IPV6, rev: 2, blob: snat6 + "00000000", want: []Rule{{VIPs: v6, Ports: ports, SpacePerVIP: true}}},
		{name: "IPv6 masquerade to one port", target: "MASQUERADE", family: unix.NFPROTO_IPV6, blob: masq6, want: []Rule{{Masquerade: true, Ports: collector.PortRange{First: 3000, Last: 3000}}}},
		{name: "another target", target: "MARK", family: unix.NFPROTO_IPV4, blob: "00"},
		{name: "too short", target: "SNAT", family: unix.NFPROTO_IPV6, rev: 1, blob: snat6[:60], wantErr: true},
		{name: "addresses upside down", target: "SNAT", family: unix.NFPROTO_IPV4, blob: "01000000" + "01000000" + "c6336403" + "c6336401" + "00000000", wantErr: true},
		{name: "ports upside down", target: "SNAT", family: unix.NFPROTO_IPV4, blob: "01000000" + "03000000" + "c6336401" + "c6336401" + "07ff" + "0400", wantErr: true},
		{name: "no range", target: "SNAT", family: unix.NFPROTO_IPV4, blob: "00000000", wantErr: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			blob, err := hex.DecodeString(tt.blob)
			if err != nil {
				t.Fatal(err)
			}
			info, err := xt.Unmarshal(tt.target, xt.TableFamily(tt.family), tt.rev, blob)
			if err != nil {
				t.Fatal(err)
			}
			got, err := target(tt.family, &expr.Target{Name: tt.target, Rev: tt.rev, Info: info})
			if (err != nil) != tt.wantErr {
				t.Fatalf("error %v, want one: %v", err, tt.wantErr)
			}
			if diff := gocmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Any expressions in any order: no panic, and no rule without sense.
func FuzzParse(f *testing.F) {
	f.Add([]byte{0, 1, 4, 198, 51, 100, 1, 0, 2, 2, 4, 0, 6, 1, 0, 2, 0}, false)
	f.Add([]byte{3, 1, 4, 1, 1, 6, 1, 9, 9, 11}, true)
	f.Add([]byte{5, 1, 7, 2, 2}, false)
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		family := byte(unix.NFPROTO_IPV4)
		if v6 {
			family = unix.NFPROTO_IPV6
		}
		next := func() byte {
			if len(b) == 0 {
				return 0
			}
			c := b[0]
			b = b[1:]
			return c
		}
		take := func(n int) []byte {
			n = min(n, len(b))
			c := b[:n]
			b = b[n:]
			return c
		}
		reg := func() uint32 { return uint32(next()) }
		var exprs []expr.Any
		for len(b) > 0 && len(exprs) < 32 {
			switch next() % 9 {
			case 0:
				exprs = append(exprs, &expr.Immediate{Register: reg(), Data: take(int(next() % 80))})
			case 1:
				exprs = append(exprs, &expr.Meta{Key: expr.MetaKey(next()), Register: reg()})
			case 2:
				exprs = append(exprs, &expr.Payload{DestRegister: reg(), Len: uint32(next()), Base: expr.PayloadBase(next() % 3), Offset: uint32(next())})
			case 3:
				exprs = append(exprs, &expr.Numgen{Register: reg()})
			case 4:
				exprs = append(exprs, &expr.Lookup{SourceRegister: reg(), DestRegister: reg(), IsDestRegSet: next()%2 == 0})
			case 5:
				exprs = append(exprs, &expr.Cmp{Op: expr.CmpOp(next() % 3), Register: reg(), Data: take(int(next() % 20))})
			case 6:
				exprs = append(exprs, &expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(family), RegAddrMin: reg(), RegAddrMax: reg(), RegProtoMin: reg(), RegProtoMax: reg()})
			case 7:
				exprs = append(exprs, &expr.Masq{RegProtoMin: reg(), RegProtoMax: reg()})
			case 8:
				info := xt.Unknown(take(int(next())))
				exprs = append(exprs, &expr.Target{Name: "SNAT", Info: &info})
			}
		}
		elements := [][]byte{take(12), take(3), take(20)}
		d, err := parse(family, exprs, func(string) (data, keys [][]byte, err error) { return elements, elements, nil })
		if err != nil && len(d.rules) > 0 {
			t.Errorf("rules %v with error %v", d.rules, err)
		}
		for _, r := range d.rules {
			if r.Ports != (collector.PortRange{}) && (r.Ports.First == 0 || r.Ports.Len() < 1) || !r.TCP && !r.UDP {
				t.Errorf("%+v", r)
			}
		}
	})
}
