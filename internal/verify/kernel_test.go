package verify_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/lab"
	"github.com/snatwatch/snatwatch/internal/verify"
)

// ports is the range of each VIP: small enough for the kernel to try every port of it.
var ports = collector.PortRange{First: 1024, Last: 1087}

func newLab(t *testing.T, rules ...lab.NAT) *lab.Lab {
	t.Helper()
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	l, err := lab.New(t.Context(), lab.Topology{NAT: rules})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// serve starts the far end on the lab's server and returns it with its address.
func serve(t *testing.T, l *lab.Lab) (*verify.Server, netip.AddrPort, context.CancelFunc) {
	t.Helper()
	at := l.Server(0).At(9960)
	listener, err := l.Server(0).Listen(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &verify.Server{}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, at, cancel
}

// options are those of a test from the lab's node.
func options(l *lab.Lab, to netip.AddrPort, limit int) verify.Options {
	return verify.Options{
		Target: to, Limit: limit, Rate: 500, Hold: time.Second, StopAfter: 20, Pending: 40,
		Socket: l.Node(0).Socket,
	}
}

// established counts the router's answered entries to an address.
func established(t *testing.T, l *lab.Lab, to netip.AddrPort) int {
	t.Helper()
	entries, err := l.Entries()
	if err != nil {
		t.Fatal(err)
	}
	const ctEstablished = 3 // TCP_CONNTRACK_ESTABLISHED
	return len(entries.To(collector.TCP, to).TCPState(ctEstablished))
}

func TestKernelPortsOfVIPs(t *testing.T) {
	t.Parallel()
	a, b := lab.VIP(0), lab.VIP(1)
	for _, tt := range []struct {
		name   string
		nat    lab.NAT
		limit  int
		open   int
		vips   []verify.VIP
		budget int
		want   verify.Outcome
	}{
		{
			"one VIP",
			lab.NAT{VIPs: []netip.Addr{a}, Ports: ports},
			100, 64,
			[]verify.VIP{{Address: a, Flows: 64, First: 1024, Last: 1087}},
			64, verify.Confirmed,
		},
		{
			"two VIPs",
			lab.NAT{Form: lab.Numgen, VIPs: []netip.Addr{a, b}, Ports: ports},
			160, 128,
			[]verify.VIP{{Address: a, Flows: 64, First: 1024, Last: 1087}, {Address: b, Flows: 64, First: 1024, Last: 1087}},
			64, verify.Contradicted,
		},
		{
			"a limit below the ports",
			lab.NAT{VIPs: []netip.Addr{a}, Ports: ports},
			40, 40,
			[]verify.VIP{{Address: a, Flows: 40}},
			64, verify.Inconclusive,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, tt.nat)
			_, to, _ := serve(t, l)
			for _, round := range []string{"first", "again"} { // what the first took is released
				made := 0
				o := options(l, to, tt.limit)
				o.Socket = func(family int) (int, error) {
					made++
					return l.Node(0).Socket(family)
				}
				r, err := verify.Run(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				r.Judge(verify.Budget{Ports: tt.budget})
				text := &strings.Builder{}
				if err := r.WriteText(text); err != nil {
					t.Fatal(err)
				}
				t.Logf("%s:\n%s", round, text)
				if r.Open != tt.open || r.Verdict.Outcome != tt.want || made > tt.limit || r.Attempted != made {
					t.Errorf("%s: %d open, %s, %d sockets for %d flows; want %d, %s and at most %d",
						round, r.Open, r.Verdict.Outcome, made, r.Attempted, tt.open, tt.want, tt.limit)
				}
				if tt.limit > tt.open && (r.FailedFrom <= tt.open || r.Causes["no answer"] != r.Failed || r.Failed < 20) {
					t.Errorf("%s: %d failed, from %d on, %v; want 20 or more, from after %d", round, r.Failed, r.FailedFrom, r.Causes, tt.open)
				}
				checkVIPs(t, r.VIPs, tt.vips)
				if least := float64(r.Attempted-1) / 500; r.Seconds < least {
					t.Errorf("%s: took %.3f s, which is faster than the rate allows, %.3f s", round, r.Seconds, least)
				}
				if n := established(t, l, to); n != 0 {
					t.Errorf("%s: %d entries are still established", round, n)
				}
			}
		})
	}
}

// checkVIPs compares what the target saw; a range of 0 is not compared, and VIPs of as many flows come in any order.
func checkVIPs(t *testing.T, got, want []verify.VIP) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("VIPs %v, want %v", got, want)
		return
	}
	for i, w := range want {
		g := got[i]
		if g.Address != w.Address || g.Flows != w.Flows || w.First != 0 && (g.First != w.First || g.Last != w.Last) {
			t.Errorf("VIP %v, want %v", g, w)
		}
	}
}

// A target that refuses says nothing of ports, and the test stops early.
func TestKernelRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.NAT{VIPs: []netip.Addr{lab.VIP(0)}, Ports: ports})
	o := options(l, l.Server(0).At(1), 100)
	o.Hold = 3 * time.Second
	o.Progress = func(p verify.Progress) {
		if p.Doing == "holding" {
			t.Error("it holds, and nothing is open")
		}
	}
	r, err := verify.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r.Judge(verify.Budget{Ports: 64})
	if r.Open != 0 || r.Causes["ECONNREFUSED"] != r.Failed || r.Failed < 20 || r.Failed > 60 || r.Verdict.Outcome != verify.Inconclusive {
		t.Errorf("%+v, %+v; want some 20 refusals and no conclusion", r, r.Verdict)
	}
}

// What was opened is released when the user interrupts, and counted.
func TestKernelInterrupted(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.NAT{VIPs: []netip.Addr{lab.VIP(0)}, Ports: ports})
	s, to, _ := serve(t, l)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := options(l, to, 60)
	o.Rate = 20
	o.Progress = func(p verify.Progress) {
		if p.Open >= 10 {
			cancel()
		}
	}
	r, err := verify.Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Stopped != verify.StoppedByUser || r.Open < 10 || r.Attempted >= 60 {
		t.Errorf("%+v, want some flows open and the user as the reason", r)
	}
	await(t, "the server holds none", func() bool { return s.Held() == 0 })
	if n := established(t, l, to); n != 0 {
		t.Errorf("%d entries are still established", n)
	}
}

// Flows that the target ends while they are held are told, and spoil the count of ports.
func TestKernelTargetEndsFlows(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.NAT{VIPs: []netip.Addr{lab.VIP(0)}, Ports: ports})
	_, to, end := serve(t, l)
	o := options(l, to, 30)
	o.Hold = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Progress = func(p verify.Progress) {
		if p.Doing == "holding" {
			end()
		}
		if p.Doing == "holding" && p.Open == 0 {
			cancel()
		}
	}
	r, err := verify.Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Open != 30 || r.Lost["ECONNRESET"] != 30 {
		t.Errorf("%d open, lost %v; want 30 and 30 by ECONNRESET", r.Open, r.Lost)
	}
}

// The machine's own ports give out before the VIP's: that is told apart.
func TestKernelLocalPorts(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.NAT{VIPs: []netip.Addr{lab.VIP(0)}, Ports: ports})
	_, to, _ := serve(t, l)
	if err := l.Node(0).Set(map[string]string{"net.ipv4.ip_local_port_range": "20000 20019"}); err != nil {
		t.Fatal(err)
	}
	r, err := verify.Run(t.Context(), options(l, to, 60))
	if err != nil {
		t.Fatal(err)
	}
	r.Judge(verify.Budget{Ports: 64})
	if r.Open != 20 || r.Stopped != verify.StoppedByMachine || r.Causes["EADDRNOTAVAIL"] != 1 || r.Verdict.Outcome != verify.Inconclusive {
		t.Errorf("%+v, %+v; want 20 open and EADDRNOTAVAIL", r, r.Verdict)
	}
}

// A server that is full resets the next caller and goes on serving the others.
func TestServerLimit(t *testing.T) {
	t.Parallel()
	listener, err := verify.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := &verify.Server{Limit: 5}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, listener) }()
	to := netip.MustParseAddrPort(listener.Addr().String())
	r, err := verify.Run(t.Context(), verify.Options{Target: to, Limit: 8, Rate: 100, Hold: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	lost := r.Failed // a reset may come as soon as the SYN is answered
	for _, n := range r.Lost {
		lost += n
	}
	if lost != 3 || len(r.VIPs) != 1 || r.VIPs[0].Flows != 5 {
		t.Errorf("lost %v, seen %v; want 3 lost and 5 seen", r.Lost, r.VIPs)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// await waits until f holds, a minute at most.
func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Errorf("a minute has passed and not: %s", what)
}
