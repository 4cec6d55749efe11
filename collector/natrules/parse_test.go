package natrules

import (
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
	"net/netip"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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
			c := compiler{family: tt.family}
			c.xtTarget(tt.target, tt.rev, blob)
			if (c.err != nil) != tt.wantErr {
				t.Fatalf("error %v, want one: %v", c.err, tt.wantErr)
			}
			if diff := gocmp.Diff(tt.want, c.rules, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// nla writes an attribute.
func nla(typ uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, typ), value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func join(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// express writes one expression of NFTA_RULE_EXPRESSIONS.
func express(name string, attributes ...[]byte) []byte {
	return nla(unix.NFTA_LIST_ELEM, join(nla(unix.NFTA_EXPR_NAME, append([]byte(name), 0)), nla(unix.NFTA_EXPR_DATA, join(attributes...))))
}

// constant writes an immediate expression.
func constant(reg uint32, value ...byte) []byte {
	return express("immediate", nla(unix.NFTA_IMMEDIATE_DREG, be32(reg)), nla(unix.NFTA_IMMEDIATE_DATA, nla(unix.NFTA_DATA_VALUE, value)))
}

// snatTo writes a nat expression that takes the address from NFT_REG_1.
func snatTo() []byte {
	return express("nat", nla(unix.NFTA_NAT_TYPE, be32(unix.NFT_NAT_SNAT)), nla(unix.NFTA_NAT_FAMILY, be32(unix.NFPROTO_IPV4)),
		nla(unix.NFTA_NAT_REG_ADDR_MIN, be32(unix.NFT_REG_1)))
}

// An expression that is not known costs the rule that it is in, if that changes sources: what it left in the
// registers, and whether it lets a flow through, are not known.
func TestUnknownExpression(t *testing.T) {
	t.Parallel()
	vip := constant(unix.NFT_REG_1, 198, 51, 100, 1)
	odd := express("from the future", nla(1, be32(unix.NFT_REG_1)))
	tests := []struct {
		name  string
		rule  []byte
		nat   bool
		rules int
		err   string
	}{
		{"none", join(vip, snatTo()), true, 1, ""},
		{"before the address", join(odd, vip, snatTo()), true, 0, "expression from the future is not known to this version"},
		{"after the address", join(vip, odd, snatTo()), true, 0, "an address that depends on the flow"},
		{"without nat", odd, false, 0, ""},
		{"full cone", express("fullcone"), true, 0, "full cone NAT: which ports it gives out is not known"},
		{
			"full cone of iptables", express("target", nla(unix.NFTA_TARGET_NAME, []byte("FULLCONENAT\x00"))), true, 0,
			"full cone NAT: which ports it gives out is not known",
		},
	}
	for _, tt := range tests {
		list, err := steps(unix.NFPROTO_IPV4, tt.rule, nil)
		if err != nil || len(list) != 1 {
			t.Errorf("%s: %d steps, %v", tt.name, len(list), err)
			continue
		}
		s := list[0]
		text := ""
		if s.err != nil {
			text = s.err.Error()
		}
		if s.nat != tt.nat || len(s.rules) != tt.rules || text != tt.err {
			t.Errorf("%s: nat %v, %d rules, error %q", tt.name, s.nat, len(s.rules), text)
		}
	}
}

// Cut off anywhere, a rule gives out what it says or nothing.
func TestCutRule(t *testing.T) {
	t.Parallel()
	whole := join(constant(unix.NFT_REG_1, 198, 51, 100, 1), snatTo())
	for n := range whole {
		list, err := steps(unix.NFPROTO_IPV4, whole[:n], nil)
		if err == nil && len(list[0].rules) > 0 {
			t.Errorf("cut to %d of %d bytes: %v", n, len(whole), list[0].rules)
		}
	}
}

// FuzzCompile: no bytes are an expression that panics, and no rule without sense comes of them.
func FuzzCompile(f *testing.F) {
	lookup := express("lookup", nla(unix.NFTA_LOOKUP_SET, []byte("m\x00")), nla(unix.NFTA_LOOKUP_SREG, be32(1)), nla(unix.NFTA_LOOKUP_DREG, be32(1)))
	verdicts := express("lookup", nla(unix.NFTA_LOOKUP_SET, []byte("m\x00")), nla(unix.NFTA_LOOKUP_SREG, be32(1)), nla(unix.NFTA_LOOKUP_DREG, be32(0)))
	number := express("numgen", nla(unix.NFTA_NG_DREG, be32(1)))
	oif := express("meta", nla(unix.NFTA_META_KEY, be32(unix.NFT_META_OIFNAME)), nla(unix.NFTA_META_DREG, be32(1)))
	eq := express("cmp", nla(unix.NFTA_CMP_SREG, be32(1)), nla(unix.NFTA_CMP_OP, be32(0)), nla(unix.NFTA_CMP_DATA, nla(unix.NFTA_DATA_VALUE, []byte("eth0\x00"))))
	f.Add(join(constant(1, 198, 51, 100, 1), snatTo()), false)
	f.Add(join(number, lookup, snatTo()), false)
	f.Add(join(oif, lookup, snatTo()), false)
	f.Add(join(oif, eq, verdicts), true)
	f.Add(express("target", nla(unix.NFTA_TARGET_NAME, []byte("SNAT\x00")), nla(unix.NFTA_TARGET_INFO, make([]byte, 20))), false)
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		family := byte(unix.NFPROTO_IPV4)
		if v6 {
			family = unix.NFPROTO_IPV6
		}
		es := []element{{key: []byte{1, 2, 3, 4}, last: []byte{1, 2, 3, 4}, data: []byte{198, 51, 100, 1, 4, 0, 0, 0}, verdict: verdictJump, chain: "gone"}, {all: true, data: []byte{1}}}
		list, err := steps(family, b, func(string) ([]element, error) { return es, nil })
		if (err == nil) != (len(list) > 0) {
			t.Errorf("%d steps with error %v", len(list), err)
		}
		var rules []Rule
		for _, s := range list {
			rules = append(rules, s.rules...)
		}
		for _, r := range rules {
			if r.Ports != (collector.PortRange{}) && (r.Ports.First == 0 || r.Ports.Len() < 1) {
				t.Errorf("%+v", r)
			}
		}
		c := &chain{name: "c", steps: slices.Concat(list, list)}
		w := newWalker()
		w.base("c", allFlows, func(name string) (*chain, error) {
			if name != "c" {
				return nil, errCut
			}
			return c, nil
		})
		for _, o := range w.outcomes {
			if o.flows == 0 {
				t.Errorf("%+v of no flow", o)
			}
		}
	})
}

// FuzzElements: no bytes are elements that panic.
func FuzzElements(f *testing.F) {
	key := nla(unix.NFTA_SET_ELEM_KEY, nla(unix.NFTA_DATA_VALUE, []byte{10, 0, 0, 1}))
	end := join(nla(unix.NFTA_SET_ELEM_KEY, nla(unix.NFTA_DATA_VALUE, []byte{10, 0, 0, 9})), nla(unix.NFTA_SET_ELEM_FLAGS, be32(nftElemIntervalEnd)))
	jump := nla(unix.NFTA_SET_ELEM_DATA, nla(unix.NFTA_DATA_VERDICT, join(nla(unix.NFTA_VERDICT_CODE, be32(0xfffffffd)), nla(unix.NFTA_VERDICT_CHAIN, []byte("c\x00")))))
	f.Add(join(nla(1, join(key, jump)), nla(1, end)))
	f.Fuzz(func(_ *testing.T, b []byte) {
		es, err := parseElements(nil, b)
		if err != nil {
			return
		}
		for _, e := range intervals(es) {
			_ = e.has([]byte{10, 0, 0, 3})
			_ = nextKey(&e)
		}
	})
}

// legacyEntry writes an entry of iptables-legacy with one target.
func legacyEntry(l layout, name string, data ...byte) []byte {
	e := make([]byte, l.size)
	target := make([]byte, targetHead)
	copy(target[2:], name)
	target = append(target, data...)
	for len(target)%8 != 0 {
		target = append(target, 0)
	}
	binary.NativeEndian.PutUint16(target, uint16(len(target)))
	binary.NativeEndian.PutUint16(e[l.target:], uint16(l.size))
	binary.NativeEndian.PutUint16(e[l.target+2:], uint16(l.size+len(target)))
	return append(e, target...)
}

// legacyInfo writes struct ipt_getinfo of a table whose POSTROUTING begins at its first entry.
func legacyInfo() []byte {
	info := make([]byte, infoSize)
	binary.NativeEndian.PutUint32(info[32:], 1<<unix.NF_INET_POST_ROUTING)
	return info
}

// FuzzLegacy: no bytes are a table that panics, and no rule without sense comes of them.
func FuzzLegacy(f *testing.F) {
	for _, l := range []layout{layout4(), layout6()} {
		f.Add(join(
			legacyEntry(l, "MASQUERADE", make([]byte, 40)...),
			legacyEntry(l, "", 0xfb, 0xff, 0xff, 0xff),
			legacyEntry(l, "ERROR", []byte("CHAIN\x00")...),
			legacyEntry(l, "", 0, 0, 0, 0),
		), l.address == 16)
	}
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		l, family := layout4(), byte(unix.NFPROTO_IPV4)
		if v6 {
			l, family = layout6(), unix.NFPROTO_IPV6
		}
		_ = l.sum(b, maphash.MakeSeed())
		table, err := parseLegacy(family, l, "nat", legacyInfo(), b)
		if err != nil {
			return
		}
		w := newWalker()
		w.base("POSTROUTING", table.flows, table.chain)
		for _, o := range w.outcomes {
			if o.flows == 0 || o.rule.Ports.First > o.rule.Ports.Last {
				t.Errorf("%+v", o)
			}
		}
	})
}

// FuzzLinks: no bytes are an address or a link that panics.
func FuzzLinks(f *testing.F) {
	f.Add(join(make([]byte, unix.SizeofIfAddrmsg), nla(unix.IFA_LOCAL, []byte{192, 0, 2, 1})))
	f.Add(join(make([]byte, unix.SizeofIfInfomsg), nla(unix.IFLA_IFNAME, []byte("eth0\x00"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, a, ok := parseAddress(b); ok && !a.IsGlobalUnicast() {
			t.Error(a)
		}
		if len(b) >= unix.SizeofIfInfomsg {
			_, _ = parseLink(b)
		}
	})
}
