package truth

import (
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"testing"

	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// masquerading is a gateway that masquerades.
const masquerading = `table ip gateway {
	chain post { type nat hook postrouting priority 100; oifname "s0" masquerade; }
}
`

// A flow that IPVS balances counts once, towards the real server, where IPVS leaves it to conntrack. Where it does not,
// which is the default, the flow has no entry, is not masqueraded, and holds no port.
func TestKernelIPVSMasquerade(t *testing.T) {
	t.Parallel()
	client, middle, far := kerneltest.Gateway(t, masquerading)
	ipvsadm := kerneltest.Program(t, "ipvsadm", "ipvsadm")
	s := serve(t, far, "10.82.0.2:0")
	err := middle.Do(func() error {
		out, err := exec.Command(ipvsadm, "--list").CombinedOutput()
		if err != nil {
			return errors.New(string(out))
		}
		return nil
	})
	if err != nil {
		kerneltest.Lacks(t, "ipvs", err)
	}
	kerneltest.Command(t, middle, ipvsadm, "--add-service", "--tcp-service", "10.81.0.1:80", "--scheduler", "rr")
	kerneltest.Command(t, middle, ipvsadm, "--add-server", "--tcp-service", "10.81.0.1:80", "--real-server", s.address.String(),
		"--masquerading")
	w := newWatch(t, middle, conntrack.Poll, provider(t))
	balanced := &server{t: t, address: netip.MustParseAddrPort("10.81.0.1:80"), accepted: s.accepted}
	const n = 10
	for _, tt := range []struct {
		conntrack string
		from      string // as the real server sees it
		flows     int
	}{
		{conntrack: "0", from: "10.81.0.2", flows: 0},
		{conntrack: "1", from: "10.82.0.1", flows: n},
	} {
		sysctl(t, middle, "ipv4/vs/conntrack", tt.conntrack)
		pairs := balanced.connect(client, n)
		for _, p := range pairs {
			if from := p.server.RemoteAddr().(*net.TCPAddr).IP.String(); from != tt.from {
				t.Errorf("vs.conntrack=%s: the real server sees %s, want %s", tt.conntrack, from, tt.from)
			}
		}
		p := w.tcp()
		if p.Live != tt.flows || p.Opened != uint64(tt.flows) {
			t.Errorf("vs.conntrack=%s: %d live of %d opened, want %d", tt.conntrack, p.Live, p.Opened, tt.flows)
		}
		if tt.flows > 0 && (len(p.Spaces) != 1 || p.Spaces[0].Destination != s.address.String()) {
			t.Errorf("vs.conntrack=%s: destinations %+v, want %s alone", tt.conntrack, p.Spaces, s.address)
		}
		if got := len(w.entries()); got != tt.flows {
			t.Errorf("vs.conntrack=%s: %d entries, want %d", tt.conntrack, got, tt.flows)
		}
		endAll(pairs, pair.close)
		w.until("the flows to end", func() bool { return w.tcp().Live == 0 })
	}
}
