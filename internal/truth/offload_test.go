package truth

import (
	"testing"
	"time"

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

func TestKernelOffloadedReset(t *testing.T) {
	t.Parallel()
	client, middle, far := kerneltest.Gateway(t, offloading)
	w := newWatch(t, middle, conntrack.Poll, provider(t))
	s := serve(t, far, "10.82.0.2:0")
	for _, by := range []string{"client", "server"} {
		p := s.connect(client, 1)[0]
		for range 50 { p.speak(t); time.Sleep(10*time.Millisecond) }
		time.Sleep(time.Second)
		show := func(when string) {
			for _, f := range w.entries() {
				t.Logf("%s %s: status %x timeout %d state %d", by, when, f.Status, f.Timeout, func() int { if f.ProtoInfo.TCP != nil { return int(f.ProtoInfo.TCP.State) }; return -1 }())
			}
		}
		show("before")
		if by == "client" { p.reset() } else { _ = p.server.SetLinger(0); _ = p.server.Close(); _ = p.client.Close() }
		for range 5 { time.Sleep(time.Second); show("after") }
		w.flush()
	}
}
