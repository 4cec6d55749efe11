package truth

import (
	"testing"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/conntrack"
)

// Where the kernel forgets silent flows soon, as many gateways are set to, a flow that is gone a while after its last
// packet has ended for its silence: nobody flushed the table, and no other flow is missed. So it is also where the
// limit is lowered while the agent runs.
func TestKernelSilentFlows(t *testing.T) {
	t.Parallel()
	for _, strategy := range []conntrack.Strategy{conntrack.Poll, conntrack.Events} {
		for name, before := range map[string]bool{"set before": true, "lowered": false} {
			t.Run(strategy.String()+", "+name, func(t *testing.T) {
				t.Parallel()
				ns := translated(t)
				sysctl(t, ns, "netfilter/nf_conntrack_events", "1")
				lower := func() { sysctl(t, ns, "netfilter/nf_conntrack_tcp_timeout_established", "8") }
				if before {
					lower()
				}
				w := newWatch(t, ns, strategy, provider(t))
				if !before {
					lower()
				}
				s := serve(t, ns, "127.0.0.2:0")
				const n = 12
				s.connect(ns, n)
				if p := w.tcp(); p.Opened != n || p.Live != n {
					t.Fatalf("%d live of %d opened, want %d of %d", p.Live, p.Opened, n, n)
				}
				w.until("the entries to expire", func() bool { return len(w.entries()) == 0 })
				w.until("the flows to end", func() bool { return w.tcp().Live == 0 })
				snapshot := w.settled()
				if p := snapshot.Budgets[0].Protocols[0]; p.Closed[collector.Idle] != n {
					t.Errorf("%d of %d flows ended for their silence: %v", p.Closed[collector.Idle], n, p.Closed)
				}
				if got := snapshot.Netns[0]; !got.Exact || got.Vanished != 0 || got.Mismatches != 0 || w.madeInexact() != 0 {
					t.Errorf("inexact %d times: %+v", w.madeInexact(), got)
				}
			})
		}
	}
}
