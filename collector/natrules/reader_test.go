package natrules_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/natrules"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

const oneVIP = `table ip n { chain post { type nat hook postrouting priority 100; snat to 198.51.100.1; }
}`

func readAt(t *testing.T, r *natrules.Reader, ns *netns.Handle, now time.Duration) natrules.Ruleset {
	t.Helper()
	s, err := r.Read(context.Background(), ns, collector.Time(time.Hour+now))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A firewall that is flushed and restored is without its rules for a while: they count for a minute.
func TestKernelFlushAndRestore(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	var r natrules.Reader
	command(t, ns, oneVIP, "nft", "-f", "-")
	there := func(now time.Duration, rules int, absent time.Duration) {
		t.Helper()
		s := readAt(t, &r, ns, now)
		if len(s.Rules) != rules {
			t.Fatalf("at %v: %v, want %d", now, s.Rules, rules)
		}
		want := collector.Time(0)
		if absent != 0 {
			want = collector.Time(time.Hour + absent)
		}
		for _, rule := range s.Rules {
			if rule.AbsentSince != want {
				t.Errorf("at %v: absent since %v, want %v", now, rule.AbsentSince, want)
			}
		}
	}
	there(10*time.Second, 1, 0)
	command(t, ns, "", "nft", "flush", "ruleset")
	there(20*time.Second, 1, 10*time.Second)
	there(30*time.Second, 1, 10*time.Second)
	command(t, ns, oneVIP, "nft", "-f", "-")
	there(40*time.Second, 1, 0)
	command(t, ns, "", "nft", "flush", "ruleset")
	there(50*time.Second, 1, 40*time.Second)
	there(101*time.Second, 0, 0)
	// While another rule stands, the one that is gone is waited for; a rule that is new ends that.
	const another = `table ip other { chain post { type nat hook postrouting priority 99; ip saddr 10.9.0.0/16 snat to 198.51.100.9; }
	}`
	command(t, ns, oneVIP+"\n"+another, "nft", "-f", "-")
	there(102*time.Second, 2, 0)
	command(t, ns, "", "nft", "flush", "table", "ip", "other")
	if s := readAt(t, &r, ns, 103*time.Second); len(s.Rules) != 2 {
		t.Errorf("after one of two tables was flushed: %v, want both", s.Rules)
	}
	command(t, ns, strings.Replace(another, "198.51.100.9", "198.51.100.10", 1), "nft", "-f", "-")
	there(104*time.Second, 2, 0)
	command(t, ns, "", "nft", "flush", "ruleset")
	there(105*time.Second, 2, 104*time.Second)
	there(166*time.Second, 0, 0)
	// A rule that gives out the VIP otherwise takes its place at once.
	command(t, ns, oneVIP, "nft", "-f", "-")
	there(170*time.Second, 1, 0)
	command(t, ns, "flush ruleset\n"+strings.Replace(oneVIP, "snat", "meta l4proto tcp snat", 1), "nft", "-f", "-")
	there(180*time.Second, 1, 0)
}

// Masquerade on an interface has the addresses that the interface has now, and none before it has any.
func TestKernelMasqueradeFollowsAddresses(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	var r natrules.Reader
	command(t, ns, `table ip n { chain post { type nat hook postrouting priority 100; oifname "ppp0" masquerade; }
	}`, "nft", "-f", "-")
	s := readAt(t, &r, ns, 0)
	const want = "table ip n, chain post, handle 2: masquerade on ppp0, which has no address now: no ports to run out of until it has"
	if len(s.Rules) != 0 || len(s.Remarks) != 1 || s.Remarks[0] != want || s.Unknown != 0 {
		t.Errorf("without the interface: %+v", s)
	}
	kerneltest.Uplink(t, ns, "ppp0", "192.0.2.7/32")
	s = readAt(t, &r, ns, time.Second)
	compare(t, []natrules.Rule{{Table: "ip n", Chain: "post", Handle: 2, Masquerade: true, VIPs: addrs("192.0.2.7"), TCP: true, UDP: true}}, s.Rules)
	err := ns.Do(func() error {
		l, err := netlink.LinkByName("ppp0")
		if err != nil {
			return err
		}
		return netlink.LinkDel(l)
	})
	if err != nil {
		t.Fatal(err)
	}
	if s = readAt(t, &r, ns, 2*time.Second); len(s.Rules) != 0 {
		t.Errorf("after the interface went: %v", s.Rules)
	}
}

// Flows that leave by an interface without an address get that of another one, and none while it is not there.
func TestKernelMasqueradeWithoutAddress(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	var r natrules.Reader
	kerneltest.Uplink(t, ns, "eth0", "192.0.2.10/24")
	command(t, ns, `table ip n { chain post { type nat hook postrouting priority 100; oifname "tun0" masquerade; }
	}`, "nft", "-f", "-")
	if s := readAt(t, &r, ns, 0); len(s.Rules) != 0 {
		t.Errorf("without the interface: %v", s.Rules)
	}
	kerneltest.Uplink(t, ns, "tun0")
	s := readAt(t, &r, ns, time.Second)
	compare(t, []natrules.Rule{{Table: "ip n", Chain: "post", Handle: 2, Masquerade: true, VIPs: addrs("192.0.2.10"), TCP: true, UDP: true}}, s.Rules)
	const want = "table ip n, chain post, handle 2: masquerade on tun0, which has no address: flows get the address of another interface, 192.0.2.10"
	if len(s.Remarks) != 1 || s.Remarks[0] != want {
		t.Errorf("remarks %q, want %q", s.Remarks, want)
	}
}

// Rules that stand are all there, once each, while another one comes and goes.
func TestKernelReadsWhileRulesChange(t *testing.T) {
	t.Parallel()
	const standing = 200
	ns := kerneltest.Netns(t)
	conn, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	if err != nil {
		t.Fatal(err)
	}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "n"})
	chain := conn.AddChain(&nftables.Chain{
		Name: "post", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	rule := func(n byte) *nftables.Rule {
		return &nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{10, 0, 0, n}},
			&expr.Immediate{Register: 1, Data: []byte{198, 51, 100, n}},
			&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1},
		}}
	}
	for n := range standing {
		if conn.AddRule(rule(byte(n))); n%20 == 0 { // each is acknowledged, into a buffer of bounded size
			if err := conn.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	var changed atomic.Int32
	go func() {
		defer close(ended)
		for ; ctx.Err() == nil; changed.Add(1) {
			conn.InsertRule(rule(standing + 1))
			if err := conn.Flush(); err != nil {
				t.Error(err)
				return
			}
			rules, err := conn.GetRules(table, chain)
			if err != nil || len(rules) == 0 {
				continue
			}
			_ = conn.DelRule(rules[0])
			_ = conn.Flush()
			time.Sleep(2 * time.Millisecond) // so that some reads come through
		}
	}()
	whole := 0
	for whole < 30 || changed.Load() < 10 && !t.Failed() {
		s, err := natrules.Read(ns)
		if err != nil {
			continue // it says so where it could not read all at once
		}
		whole++
		seen := map[netip.Addr]int{}
		for _, r := range s.Rules {
			seen[r.VIPs[0]]++
		}
		for n := range standing {
			if v := netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}); seen[v] != 1 {
				t.Fatalf("%v is there %d times", v, seen[v])
			}
		}
	}
	stop()
	<-ended
}

// Elements of a map run out of time, and packets add others: the kernel gives the ruleset no new generation for it.
func TestKernelMapChangesAlone(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	kerneltest.Uplink(t, ns, "eth0", "192.0.2.10/24")
	command(t, ns, `table ip n {
		map vips { type ipv4_addr : ipv4_addr; flags timeout
			elements = { 10.0.0.1 timeout 3s : 198.51.100.1, 10.0.0.2 timeout 1h : 198.51.100.2 }
		}
		map learnt { type ipv4_addr : ipv4_addr; flags dynamic; size 100; }
		chain out { type filter hook output priority 0; update @learnt { ip daddr : 198.51.100.3 }; }
		chain post {
			type nat hook postrouting priority 100
			snat to ip saddr map @vips
			snat to ip saddr map @learnt
		}
	}`, "nft", "-f", "-")
	var r natrules.Reader
	vips := func() (n int) {
		for _, rule := range readAt(t, &r, ns, 0).Rules {
			n += len(rule.VIPs)
		}
		return n
	}
	if n := vips(); n != 2 && n != 1 {
		t.Fatalf("%d VIPs, want 2", n)
	}
	wait := func(want int) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); vips() != want; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d VIPs, want %d", vips(), want)
			}
		}
	}
	wait(1)
	err := ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		return unix.Sendto(fd, []byte("x"), 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{192, 0, 2, 1}})
	})
	if err != nil {
		t.Fatal(err)
	}
	wait(2)
}

// Very many rules, and maps with very many elements.
func TestKernelManyRules(t *testing.T) {
	t.Parallel()
	const rules, elements = 100_000, 10_000
	ns := kerneltest.Netns(t)
	var b strings.Builder
	b.WriteString("table ip n {\n map m {\n type ipv4_addr : ipv4_addr . inet_service\n flags interval\n elements = {")
	for i := range elements {
		fmt.Fprintf(&b, " 100.64.%d.%d : 203.0.%d.%d . %d,", i/250, i%250, i/2500, i/10%250, 1024+i%10)
	}
	b.WriteString(" }\n }\n chain post {\n type nat hook postrouting priority 100;\n")
	b.WriteString(" meta l4proto tcp snat ip to ip saddr map @m\n")
	for i := range rules {
		fmt.Fprintf(&b, " ip saddr 10.%d.%d.%d snat to 198.51.%d.%d\n", i/62500, i/250%250, i%250, i/250%16, i%250)
	}
	b.WriteString(" }\n}\n")
	command(t, ns, b.String(), "nft", "-f", "-")
	s, err := natrules.Read(ns)
	if err != nil {
		t.Fatal(err)
	}
	if s.Translating != rules+1 || s.Unknown != 0 || len(s.Rules) < rules {
		t.Errorf("%d rules, %d outcomes, %d not understood: %q", s.Translating, len(s.Rules), s.Unknown, s.Problems)
	}
}

// Reading does not make the kernel set up the tables of iptables-legacy.
func TestKernelLegacyIsLeftAlone(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	read(t, ns)
	err := ns.Do(func() error {
		for _, name := range []string{"ip_tables_names", "ip6_tables_names"} {
			b, err := os.ReadFile("/proc/thread-self/net/" + name)
			if err == nil && len(b) > 0 {
				t.Errorf("%s: %q", name, b)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Rules of iptables-legacy, which nf_tables does not show.
func TestKernelLegacy(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	kerneltest.Uplink(t, ns, "up0", "192.0.2.1/24", "2001:db8:1::1/64")
	kerneltest.Uplink(t, ns, "up1", "192.0.2.129/25")
	command(t, ns, `*nat
:OUT - [0:0]
:UNUSED - [0:0]
-A PREROUTING -p udp -j DNAT --to-destination 198.51.100.1:1024-2047
-A POSTROUTING -o lo -j ACCEPT
-A POSTROUTING -s 10.0.0.0/8 -g OUT
-A POSTROUTING -o up1 ! -p tcp -j MASQUERADE --to-ports 1024-2047
-A OUT -d 192.0.2.0/24 -j RETURN
-A OUT -p tcp -m tcp --dport 443 -j SNAT --to-source 198.51.100.1-198.51.100.3:1024-2047
-A OUT -o up+ -j MASQUERADE
-A OUT -o up+ -p udp -j SNAT --to-source 198.51.100.9
-A UNUSED -j SNAT --to-source 198.51.100.8
COMMIT
`, "iptables-legacy-restore")
	command(t, ns, "*nat\n-A POSTROUTING -o up0 -p tcp -j SNAT --to-source [2001:db8::1]:1024-2047\nCOMMIT\n", "ip6tables-legacy-restore")
	s, err := natrules.Read(ns)
	if err != nil {
		t.Fatal(err)
	}
	post := func(number uint64, r natrules.Rule) natrules.Rule {
		r.Table, r.Chain, r.Handle, r.Legacy = "ip nat", "POSTROUTING", number, true
		return r
	}
	out := func(number uint64, r natrules.Rule) natrules.Rule {
		r = post(number, r)
		r.Chain = "OUT"
		return r
	}
	six := post(1, natrules.Rule{VIPs: addrs("2001:db8::1"), Ports: wide(), TCP: true})
	six.Table = "ip6 nat"
	compare(t, []natrules.Rule{
		out(2, natrules.Rule{VIPs: addrs("198.51.100.1", "198.51.100.2", "198.51.100.3"), Ports: wide(), SpacePerVIP: true, TCP: true}),
		out(3, natrules.Rule{Masquerade: true, VIPs: addrs("192.0.2.1", "192.0.2.129"), SpacePerVIP: true, TCP: true, UDP: true}),
		post(3, natrules.Rule{Masquerade: true, VIPs: addrs("192.0.2.129"), Ports: wide(), UDP: true}),
		six,
	}, s.Rules)
	if s.Unknown != 0 || s.Shadowed != 1 {
		t.Errorf("%d not understood: %q; %d shadowed, want the rule behind masquerade", s.Unknown, s.Problems, s.Shadowed)
	}
	if got, want := s.Rules[0].String(), "(table ip nat of iptables-legacy, chain OUT, rule 2)"; !strings.HasSuffix(got, want) {
		t.Errorf("%s, want %s", got, want)
	}
}
