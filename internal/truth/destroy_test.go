package truth

import (
	"testing"

	"github.com/snatwatch/snatwatch/collector/conntrack"
)

// The kernel leaves out of a dump what has expired, and may say up to a minute later that it is gone: the flow is not
// counted a second time then.
func TestKernelLateDestroy(t *testing.T) {
	t.Parallel()
	ns := translated(t)
	sysctl(t, ns, "netfilter/nf_conntrack_events", "1")
	sysctl(t, ns, "netfilter/nf_conntrack_tcp_timeout_time_wait", "2")
	sysctl(t, ns, "netfilter/nf_conntrack_tcp_timeout_close", "2")
	w := newWatch(t, ns, conntrack.Events, provider(t))
	s := serve(t, ns, "127.0.0.2:0")
	const n = 2000
	pairs := s.connect(ns, n)
	const stay = 500
	staying := s.connect(ns, stay)
	w.settled()
	endAll(pairs[:n/2], pair.close)
	endAll(pairs[n/2:], pair.reset)
	w.until("the flows to end", func() bool { return w.tcp().Live == stay })
	w.until("a dump without them", func() bool { w.settled(); return len(w.entries()) == stay })
	w.settled()
	w.until("the kernel to say that they are gone", func() bool { return w.source.Stats().Closed >= n })
	endAll(staying, func(p pair) { p.speak(t) })
	p := w.tcp()
	ended := uint64(0)
	for _, c := range p.Closed {
		ended += c
	}
	if p.Opened != n+stay || ended != n {
		t.Errorf("opened %d, closed %v, want %d and %d", p.Opened, p.Closed, n+stay, n)
	}
}
