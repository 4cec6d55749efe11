package natrules_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/natrules"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// kubeProxy writes the rules of kube-proxy in its iptables mode: a chain for each service and each of its two
// endpoints.
func kubeProxy(services int) string {
	var b strings.Builder
	b.WriteString("*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-POSTROUTING - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n")
	for i := range services {
		fmt.Fprintf(&b, ":KUBE-SVC-%d - [0:0]\n:KUBE-SEP-%d-0 - [0:0]\n:KUBE-SEP-%d-1 - [0:0]\n", i, i, i)
	}
	b.WriteString(`-A PREROUTING -m comment --comment "service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "postrouting" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -m comment --comment "service traffic" -j MASQUERADE --random-fully
`)
	for i := range services {
		ip := fmt.Sprintf("10.96.%d.%d", i/250, i%250+1)
		fmt.Fprintf(&b, "-A KUBE-SERVICES -d %s/32 -p tcp -m comment --comment \"shop/s%d:http\" -m tcp --dport 80 -j KUBE-SVC-%d\n", ip, i, i)
		fmt.Fprintf(&b, "-A KUBE-SVC-%d ! -s 10.42.0.0/16 -d %s/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ\n", i, ip)
		fmt.Fprintf(&b, "-A KUBE-SVC-%d -m statistic --mode random --probability 0.5 -j KUBE-SEP-%d-0\n-A KUBE-SVC-%d -j KUBE-SEP-%d-1\n", i, i, i, i)
		for k := range 2 {
			pod := fmt.Sprintf("10.42.%d.%d", i/250, i%250+1)
			fmt.Fprintf(&b, "-A KUBE-SEP-%d-%d -s %s/32 -j KUBE-MARK-MASQ\n", i, k, pod)
			fmt.Fprintf(&b, "-A KUBE-SEP-%d-%d -p tcp -m tcp -j DNAT --to-destination %s:8080\n", i, k, pod)
		}
	}
	b.WriteString("COMMIT\n")
	return b.String()
}

// BenchmarkKubeProxy compares, at 6,000 services of kube-proxy and in processor time of the process, a look at
// rules that have not changed, a look after a change, and the reader that this package had before: every rule of
// every chain of a table with NAT, by google/nftables. They take turns.
func BenchmarkKubeProxy(b *testing.B) {
	ns := kerneltest.Netns(b)
	path := kerneltest.Program(b, "iptables-nft-restore", "iptables")
	run(b, ns, kubeProxy(6000), path)
	var r natrules.Reader
	var same, changed, all time.Duration
	ctx := context.Background()
	if _, err := r.Read(ctx, ns, 1); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for i := range b.N {
		start := kerneltest.CPUTime(b, unix.RUSAGE_SELF)
		if _, err := r.Read(ctx, ns, 1); err != nil {
			b.Fatal(err)
		}
		same += kerneltest.CPUTime(b, unix.RUSAGE_SELF) - start
		run(b, ns, fmt.Sprintf("*nat\n:NEW-%d - [0:0]\nCOMMIT\n", i), path, "--noflush")
		start = kerneltest.CPUTime(b, unix.RUSAGE_SELF)
		if s, err := r.Read(ctx, ns, 1); err != nil || len(s.Rules) != 1 {
			b.Fatal(s, err)
		}
		changed += kerneltest.CPUTime(b, unix.RUSAGE_SELF) - start
		start = kerneltest.CPUTime(b, unix.RUSAGE_SELF)
		if n := readAll(b, ns); n < 6000*8 {
			b.Fatalf("%d rules", n)
		}
		all += kerneltest.CPUTime(b, unix.RUSAGE_SELF) - start
	}
	n := float64(b.N)
	b.ReportMetric(float64(same.Microseconds())/1e3/n, "ms-unchanged")
	b.ReportMetric(float64(changed.Microseconds())/1e3/n, "ms-changed")
	b.ReportMetric(float64(all.Microseconds())/1e3/n, "ms-all-rules")
	b.ReportMetric(all.Seconds()/changed.Seconds(), "times-less")
}

// readAll reads every rule of the tables that have NAT.
func readAll(b *testing.B, ns *netns.Handle) (n int) {
	err := ns.Do(func() error {
		conn, err := nftables.New(nftables.AsLasting())
		if err != nil {
			return err
		}
		defer func() { _ = conn.CloseLasting() }()
		chains, err := conn.ListChains()
		if err != nil {
			return err
		}
		for _, c := range chains {
			rules, err := conn.GetRules(c.Table, c)
			if err != nil {
				return err
			}
			n += len(rules)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}
