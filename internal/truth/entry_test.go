package truth

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// Where closed entries are not evicted the ledger holds as many ports as the kernel has entries: those that ended keep
// theirs for as long as nf_conntrack_tcp_timeout_time_wait and _close say, and none outlasts conntrack -F.
func TestKernelEntriesHoldPorts(t *testing.T) {
	t.Parallel()
	for _, strategy := range []conntrack.Strategy{conntrack.Poll, conntrack.Events} {
		t.Run(strategy.String(), func(t *testing.T) {
			t.Parallel()
			ns := translated(t)
			const kept = 10 * time.Second
			sysctl(t, ns, "netfilter/nf_conntrack_tcp_timeout_time_wait", "10")
			sysctl(t, ns, "netfilter/nf_conntrack_tcp_timeout_close", "10")
			sysctl(t, ns, "netfilter/nf_conntrack_events", "1")
			b, err := budget.Resolve(budget.Params{Name: "nat", Model: "linux", EntryFIN: kept, EntryRST: kept})
			if err != nil {
				t.Fatal(err)
			}
			w := newWatch(t, ns, strategy, b)
			s := serve(t, ns, "127.0.0.2:0")
			refused := func() {
				t.Helper()
				err := ns.Do(func() error { _, err := net.Dial("tcp4", "127.0.0.2:10"); return err })
				if !errors.Is(err, syscall.ECONNREFUSED) {
					t.Fatalf("connect to a closed port: %v", err)
				}
			}
			// agree compares ledger and kernel where the kernel's count is the same before and after a dump.
			agree := func(when string) (entries int) {
				t.Helper()
				for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
					before := len(w.entries())
					held := w.tcp().Held
					if after := len(w.entries()); before == after {
						if held != after {
							t.Errorf("%s: %d ports are held, the kernel has %d entries", when, held, after)
						}
						return after
					}
				}
				t.Fatalf("%s: the table does not come to rest", when)
				return 0
			}
			pairs := s.connect(ns, 20)
			if n := agree("open"); n != 20 {
				t.Errorf("%d entries, want 20", n)
			}
			endAll(pairs[:10], pair.close)
			endAll(pairs[10:15], pair.reset)
			refused()
			agree("closed")
			w.flush()
			if n := agree("flushed"); n > 5 {
				t.Errorf("%d entries after a flush", n)
			}
			endAll(pairs[15:], pair.close)
			endAll(s.connect(ns, 20), pair.close)
			agree("closed again")
			w.until("the kernel to forget closed flows", func() bool { return len(w.entries()) == 0 })
			agree("forgotten")
			if p := w.tcp(); p.Held != 0 || p.Live != 0 {
				t.Errorf("%d ports held, %d live, want none", p.Held, p.Live)
			}
		})
	}
}

// Entries of closed flows that a timeout policy keeps for longer than the sysctls say hold their ports, and are not taken
// for those of other flows, whichever dump shows them.
func TestKernelPolicyKeepsEntries(t *testing.T) {
	t.Parallel()
	for _, strategy := range []conntrack.Strategy{conntrack.Poll, conntrack.Events} {
		t.Run(strategy.String(), func(t *testing.T) {
			t.Parallel()
			ns := translated(t)
			nft(t, ns, `table ip timeouts {
				ct timeout long {
					protocol tcp
					l3proto ip
					policy = { close: 600, time_wait: 600 }
				}
				chain out { type filter hook output priority 0; ct timeout set "long"; }
			}`)
			const kept = time.Minute
			sysctl(t, ns, "netfilter/nf_conntrack_tcp_timeout_time_wait", "60")
			sysctl(t, ns, "netfilter/nf_conntrack_tcp_timeout_close", "60")
			sysctl(t, ns, "netfilter/nf_conntrack_events", "1")
			b, err := budget.Resolve(budget.Params{Name: "nat", Model: "linux", EntryFIN: kept, EntryRST: kept})
			if err != nil {
				t.Fatal(err)
			}
			w := newWatch(t, ns, strategy, b)
			const n = 20
			pairs := serve(t, ns, "127.0.0.2:0").connect(ns, n)
			w.settled()
			endAll(pairs[:n/2], pair.close)
			endAll(pairs[n/2:], pair.reset)
			for range 10 {
				p := w.tcp()
				if p.Held != n || p.Opened != n {
					t.Errorf("%d ports held, %d opened, want %d", p.Held, p.Opened, n)
				}
			}
			if got := w.settled().Netns[0]; !got.Exact || got.Reopened != 0 || got.Mismatches != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}
