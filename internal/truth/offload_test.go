package truth

import (
	"testing"
	"time"

	oracle "github.com/ti-mo/conntrack"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// offloading is a gateway that masquerades, and hands established flows to a flow table.
const offloading = `table ip gateway {
	flowtable fast { hook ingress priority 0; devices = { c0, s0 }; }
	chain forward { type filter hook forward priority 0; ip protocol tcp flow add @fast; }
	chain post { type nat hook postrouting priority 100; oifname "s0" masquerade; }
}
`

const offloaded = 1 << 14 // IPS_OFFLOAD, include/uapi/linux/netfilter/nf_conntrack_common.h

// A reset ends a flow that a flow table saw, from either side and after data too, though conntrack shows it established.
func TestKernelOffloadedReset(t *testing.T) {
	t.Parallel()
	client, middle, far := kerneltest.Gateway(t, offloading)
	w := newWatch(t, middle, conntrack.Poll, provider(t))
	s := serve(t, far, "10.82.0.2:0")
	live := s.connect(client, 1)[0] // it stays
	ends := []func(p pair){
		pair.reset,
		func(p pair) { pair{p.server, p.client}.reset() },
	}
	for _, end := range ends {
		for range 4 {
			p := s.connect(client, 1)[0]
			w.until("the flow table to take the flow", func() bool {
				p.speak(t)
				return len(inFlowTable(w)) > 0
			})
			w.settled()
			end(p)
			w.until("the flow to leave the flow table", func() bool { return len(inFlowTable(w)) == 0 })
		}
	}
	const resets = 8
	w.until("the ledger to end the flows", func() bool { return w.tcp().Closed[collector.RST] == resets })
	if p := w.tcp(); p.Live != 1 || p.Opened != resets+1 {
		t.Errorf("%d live of %d opened, want 1 of %d", p.Live, p.Opened, resets+1)
	}
	if n := len(w.entries()); n < 1 {
		t.Errorf("%d entries, want that of the live flow", n)
	}
	live.speak(t)
	live.close()
	w.until("the live flow to end", func() bool { return w.tcp().Live == 0 })
	if p := w.tcp(); p.Closed[collector.FIN] != 1 {
		t.Errorf("closed %v, want one by FIN", p.Closed)
	}
}

// inFlowTable returns the entries of flows that a flow table sees.
func inFlowTable(w *watch) (out []oracle.Flow) {
	for _, f := range w.entries() {
		if uint32(f.Status)&offloaded != 0 {
			out = append(out, f)
		}
	}
	return out
}

// A flow that is silent in a flow table, or after it has left the table, and speaks again, is live all along and one.
func TestKernelOffloadedFlowLives(t *testing.T) {
	t.Parallel()
	client, middle, far := kerneltest.Gateway(t, offloading)
	w := newWatch(t, middle, conntrack.Poll, provider(t))
	s := serve(t, far, "10.82.0.2:0")
	pairs := s.connect(client, 5)
	speak := func() { endAll(pairs, func(p pair) { p.speak(t) }) }
	w.until("the flow table to take the flows", func() bool { speak(); return len(inFlowTable(w)) == len(pairs) })
	check := func(when string) {
		t.Helper()
		if p := w.tcp(); p.Live != len(pairs) || p.Opened != uint64(len(pairs)) {
			t.Errorf("%s: %d live of %d opened, want %d of %d", when, p.Live, p.Opened, len(pairs), len(pairs))
		}
	}
	check("in the flow table")
	w.until("the flow table to forget the flows", func() bool { return len(inFlowTable(w)) == 0 })
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		check("out of the flow table")
	}
	speak()
	check("after a word")
	endAll(pairs, pair.close)
	w.until("the flows to end", func() bool { return w.tcp().Live == 0 })
	if p := w.tcp(); p.Opened != uint64(len(pairs)) || p.Closed[collector.FIN] != uint64(len(pairs)) {
		t.Errorf("opened %d, closed %v", p.Opened, p.Closed)
	}
}
