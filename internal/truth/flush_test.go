package truth

import (
	"testing"

	"github.com/snatwatch/snatwatch/collector/conntrack"
)

// A flush ends no flow of a NAT further out: those that go on are neither opened again nor refused when they are reset.
func TestKernelFlush(t *testing.T) {
	t.Parallel()
	for _, strategy := range []conntrack.Strategy{conntrack.Poll, conntrack.Events} {
		t.Run(strategy.String(), func(t *testing.T) {
			t.Parallel()
			ns := translated(t)
			sysctl(t, ns, "netfilter/nf_conntrack_events", "1")
			w := newWatch(t, ns, strategy, provider(t))
			s := serve(t, ns, "127.0.0.2:0")
			const n = 30
			pairs := s.connect(ns, n)
			check := func(when string, live int) {
				t.Helper()
				p := w.tcp()
				ended := uint64(0)
				for _, c := range p.Closed {
					ended += c
				}
				if p.Live != live || p.Opened != n || p.Refused != 0 || p.Unanswered != 0 {
					t.Errorf("%s: %d live of %d opened, %d refused, %d unanswered; want %d of %d, none", when, p.Live, p.Opened, p.Refused, p.Unanswered, live, n)
				}
				if live == 0 && ended != n {
					t.Errorf("%s: closed %v, want %d in all", when, p.Closed, n)
				}
			}
			speak := func() { endAll(pairs, func(p pair) { p.speak(t) }) }
			check("open", n)
			for range 3 {
				w.flush()
				speak()
				check("flushed and picked up between two dumps", n)
				w.flush()
				w.settled()
				speak()
				check("flushed and picked up after a dump", n)
			}
			w.flush()
			endAll(pairs, pair.reset)
			w.until("the flows to end", func() bool { return w.tcp().Live == 0 })
			check("reset", 0)
			if got := w.settled().Netns[0]; !got.Exact || got.Mismatches != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// What opened and ended since the last dump is lost when the table is flushed. If a dump shows that, the ledger is inexact
// until the next one; events tell of all of them.
func TestKernelFlushHidesFlows(t *testing.T) {
	t.Parallel()
	for _, strategy := range []conntrack.Strategy{conntrack.Poll, conntrack.Events} {
		t.Run(strategy.String(), func(t *testing.T) {
			t.Parallel()
			ns := translated(t)
			sysctl(t, ns, "netfilter/nf_conntrack_events", "1")
			w := newWatch(t, ns, strategy, provider(t))
			s := serve(t, ns, "127.0.0.2:0")
			const stay, short = 5, 30
			pairs := s.connect(ns, stay)
			w.settled()
			w.settled() // the first dump may be of before the listener
			if n := w.madeInexact(); n != 0 {
				t.Fatalf("inexact %d times before", n)
			}
			endAll(s.connect(ns, short), pair.close)
			w.flush()
			if strategy == conntrack.Poll {
				w.until("the ledger to be inexact", func() bool { return w.madeInexact() > 0 })
			}
			endAll(pairs, func(p pair) { p.speak(t) })
			w.until("the ledger to be exact, and to have what stays", func() bool {
				got := w.settled()
				return got.Netns[0].Exact && got.Budgets[0].Protocols[0].Live == stay
			})
			got := w.settled()
			p, n := got.Budgets[0].Protocols[0], got.Netns[0]
			lost := stay + short - p.Opened
			if strategy == conntrack.Events && (lost != 0 || n.Vanished != 0 || w.madeInexact() != 0) ||
				strategy == conntrack.Poll && n.Vanished < stay { // more if a dump came just before the flush
				t.Errorf("%d of %d opened, %d vanished, inexact %d times", p.Opened, stay+short, n.Vanished, w.madeInexact())
			}
			t.Logf("%d flows were lost", lost)
		})
	}
}
