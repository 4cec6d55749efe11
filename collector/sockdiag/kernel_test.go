package sockdiag

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// host is a namespace in which all of 10.77.0.0/16 and two IPv6 addresses are local.
type host struct {
	t    testing.TB
	ns   *netns.Handle
	open map[int]bool // descriptors
}

func newHost(t testing.TB) *host {
	t.Helper()
	ns := kerneltest.Netns(t)
	kerneltest.Command(t, ns, "ip", "route", "add", "local", "10.77.0.0/16", "dev", "lo")
	// The kernel adds the routes of an IPv6 address some time after the address.
	kerneltest.Command(t, ns, "ip", "-6", "route", "add", "local", "fd77::/64", "dev", "lo")
	for _, a := range []string{"fd77::1/64", "fd77::2/64"} {
		kerneltest.Command(t, ns, "ip", "address", "add", a, "dev", "lo", "nodad")
	}
	h := &host{t: t, ns: ns, open: map[int]bool{}}
	t.Cleanup(func() {
		for fd := range h.open {
			_ = unix.Close(fd)
		}
	})
	return h
}

func sockaddr(s string) (family int, sa unix.Sockaddr) {
	a := netip.MustParseAddrPort(s)
	if a.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

// socket makes a socket in the namespace and binds it.
func (h *host) socket(kind int, local string) int {
	h.t.Helper()
	family, sa := sockaddr(local)
	fd := -1
	err := h.ns.Do(func() (err error) {
		if fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		// Until the one that had the port is gone for good.
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			if err = unix.Bind(fd, sa); !errors.Is(err, unix.EADDRINUSE) || time.Now().After(deadline) {
				return err
			}
		}
	})
	if err != nil {
		h.t.Fatalf("bind %s: %v", local, err)
	}
	h.open[fd] = true
	return fd
}

func (h *host) listen(local string, backlog int) int {
	h.t.Helper()
	fd := h.socket(unix.SOCK_STREAM, local)
	if err := unix.Listen(fd, backlog); err != nil {
		h.t.Fatal(err)
	}
	return fd
}

func (h *host) connect(fd int, remote string) {
	h.t.Helper()
	_, sa := sockaddr(remote)
	if err := unix.Connect(fd, sa); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		h.t.Fatalf("connect to %s: %v", remote, err)
	}
}

// pair connects from local to a listener.
func (h *host) pair(local, remote string, listener int) (client, server int) {
	h.t.Helper()
	client = h.socket(unix.SOCK_STREAM, local)
	h.connect(client, remote)
	server, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		h.t.Fatal(err)
	}
	h.open[server] = true
	return client, server
}

// close closes in this order: while a process is forked, the child has the descriptors too
// and a close alone would send its FIN late. Not for SYN_SENT, which a shutdown disconnects.
func (h *host) close(fds ...int) {
	h.t.Helper()
	for _, fd := range fds {
		_ = unix.Shutdown(fd, unix.SHUT_WR) // for those that are connected
		h.drop(fd)
	}
}

func (h *host) drop(fd int) {
	h.t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	delete(h.open, fd)
	if err := unix.Close(fd); err != nil {
		h.t.Fatal(err)
	}
}

// reset closes fd with a RST, and waits for it to arrive at the peer.
func (h *host) reset(fd, peer int) {
	h.t.Helper()
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		h.t.Fatal(err)
	}
	h.drop(fd)
	if _, err := unix.Read(peer, make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		h.t.Fatalf("read from a connection that was reset: %v", err)
	}
}

func localPort(t testing.TB, fd int) uint16 {
	t.Helper()
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	switch sa := name.(type) {
	case *unix.SockaddrInet4:
		return uint16(sa.Port)
	case *unix.SockaddrInet6:
		return uint16(sa.Port)
	}
	t.Fatalf("address %T", name)
	return 0
}

// variety opens sockets in every state that lasts.
func (h *host) variety() {
	web := h.listen("10.77.0.2:8080", 128)
	dual := h.listen("[::]:8081", 128)
	full := h.listen("10.77.0.2:8082", 0)
	loop := h.listen("127.0.0.1:8083", 128)

	h.pair("10.77.0.1:0", "10.77.0.2:8080", web)                   // ESTABLISHED
	h.pair("[fd77::1]:0", "[fd77::2]:8081", dual)                  // over IPv6
	h.pair("10.77.0.1:0", "10.77.0.2:8081", dual)                  // accepted by a mapped address
	h.pair("[::ffff:10.77.0.1]:0", "[::ffff:10.77.0.2]:8080", web) // from one
	h.pair("127.0.0.1:0", "127.0.0.1:8083", loop)                  // loopback
	h.pair("10.77.0.2:0", "10.77.0.2:8080", web)                   // to itself
	c, s := h.pair("10.77.0.1:0", "10.77.0.2:8080", web)
	h.close(c, s) // TIME_WAIT here
	c, s = h.pair("10.77.0.1:0", "10.77.0.2:8080", web)
	h.close(s, c) // TIME_WAIT there
	c, _ = h.pair("10.77.0.1:0", "10.77.0.2:8080", web)
	h.close(c) // FIN_WAIT2 without an owner, CLOSE_WAIT
	_, s = h.pair("10.77.0.1:0", "10.77.0.2:8080", web)
	h.close(s) // CLOSE_WAIT here
	c, _ = h.pair("10.77.0.1:0", "10.77.0.2:8080", web)
	if err := unix.Shutdown(c, unix.SHUT_WR); err != nil { // FIN_WAIT2 with an owner
		h.t.Fatal(err)
	}
	for range 3 { // one fits the queue, the rest stays in SYN_SENT
		h.connect(h.socket(unix.SOCK_STREAM|unix.SOCK_NONBLOCK, "10.77.0.1:0"), "10.77.0.2:8082")
	}
	h.socket(unix.SOCK_STREAM, "10.77.0.3:0") // bound
	h.socket(unix.SOCK_STREAM, "10.77.0.3:0")
	h.socket(unix.SOCK_DGRAM, "10.77.0.3:0")
	h.socket(unix.SOCK_DGRAM, "10.77.0.2:53")
	h.connect(h.socket(unix.SOCK_DGRAM, "10.77.0.1:0"), "10.77.0.2:53")
	h.connect(h.socket(unix.SOCK_DGRAM, "[fd77::1]:0"), "[fd77::2]:53")
	_ = full
}

// recorder keeps copies of events.
type recorder struct {
	mu     sync.Mutex
	events []collector.Event
}

func (r *recorder) sink(_ context.Context, events []collector.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, events...)
	return nil
}

// take returns the events since the last time.
func (r *recorder) take() []collector.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	return events
}

func kinds(events []collector.Event) (kinds []collector.Kind) {
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// once dumps the namespace a single time.
func (h *host) once() ([]collector.Event, NetnsStats) {
	h.t.Helper()
	var rec recorder
	sp := &namespace{ns: netns.Netns{Inode: h.ns.Inode()}}
	h.dial(sp)
	defer sp.close()
	r := newReader(collector.Clock(), rec.sink)
	if err := r.dump(context.Background(), sp); err != nil {
		h.t.Fatal(err)
	}
	return rec.take(), sp.stats
}

func (h *host) dial(sp *namespace) {
	h.t.Helper()
	err := h.ns.Do(func() (err error) {
		sp.dump, err = dial(netns.Netns{Inode: h.ns.Inode(), Path: ownPath})
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// ss returns what ss(8) says of the namespace: "tcp ESTAB 10.77.0.1:1 10.77.0.2:2".
func (h *host) ss() (lines []string) {
	h.t.Helper()
	for _, p := range []string{"tcp", "udp"} {
		out := kerneltest.Command(h.t, h.ns, "ss", "-anH", "-O", "--"+p)
		for sc := bufio.NewScanner(bytes.NewReader(out)); sc.Scan(); {
			f := strings.Fields(sc.Text())
			if len(f) < 5 {
				h.t.Fatalf("ss says %q", sc.Text())
			}
			lines = append(lines, strings.Join([]string{p, f[0], unmapped(f[3]), unmapped(f[4])}, " "))
		}
	}
	slices.Sort(lines)
	return lines
}

// settle waits until every FIN is acknowledged, and returns what ss says then.
func (h *host) settle() (lines []string) {
	h.t.Helper()
	underway := func(line string) bool {
		return slices.Contains([]string{"FIN-WAIT-1", "LAST-ACK", "CLOSING"}, strings.Fields(line)[1])
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if lines = h.ss(); !slices.ContainsFunc(lines, underway) {
			return lines
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("a FIN is not acknowledged within a minute: %q", lines)
		}
	}
}

func unmapped(s string) string {
	if a, err := netip.ParseAddrPort(s); err == nil {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).String()
	}
	return s
}

// expected reduces what ss says to flows, by its own reading of what a flow is.
func expected(lines []string) (flows []string) {
	listening := map[string]bool{}
	for _, l := range lines {
		if f := strings.Fields(l); f[1] == "LISTEN" || f[1] == "UNCONN" {
			listening[f[0]+f[2][strings.LastIndex(f[2], ":"):]] = true
		}
	}
	for _, l := range lines {
		f := strings.Fields(l)
		local, localErr := netip.ParseAddrPort(f[2])
		remote, remoteErr := netip.ParseAddrPort(f[3])
		if localErr != nil || remoteErr != nil || // a wildcard: no flow
			listening[fmt.Sprintf("%s:%d", f[0], local.Port())] ||
			remote.Addr().IsLoopback() || remote.Addr() == local.Addr() {
			continue
		}
		state := map[string]collector.State{
			"ESTAB": collector.Established, "SYN-SENT": collector.Opening, "SYN-RECV": collector.Established,
			"TIME-WAIT": collector.Done,
		}[f[1]]
		if state == collector.StateUnknown {
			state = collector.Closing
		}
		flows = append(flows, fmt.Sprintf("%s %v %v %v", f[0], state, local, remote))
	}
	slices.Sort(flows)
	return flows
}

func shown(events []collector.Event) (flows []string) {
	for _, e := range events {
		if e.Kind == collector.Seen {
			flows = append(flows, fmt.Sprintf("%v %v %v %v", e.Flow.Protocol, e.Flow.State, e.Flow.Source, e.Flow.Destination))
		}
	}
	slices.Sort(flows)
	return flows
}

// Every flow is one that ss shows, and the other way round.
func TestKernelAgreesWithSS(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.variety()
	want := expected(h.settle())
	events, stats := h.once()
	if diff := cmp.Diff(want, shown(events)); diff != "" {
		t.Errorf("flows (-ss +got):\n%s", diff)
	}
	if len(want) < 13 {
		t.Errorf("only these flows were there to be compared: %q", want)
	}
	first, last := events[0], events[len(events)-1]
	if first.Kind != collector.Begin || last.Kind != collector.End {
		t.Errorf("from %v to %v, want begin to end", first.Kind, last.Kind)
	}
	for _, e := range events {
		if e.Netns != h.ns.Inode() || e.At < first.At || e.At > last.At {
			t.Errorf("%v at %d in netns %d, not in order or not here", e.Kind, e.At, e.Netns)
		}
		if e.Kind == collector.Seen && (e.Flow.VIP != e.Flow.Source || e.Flow.Translated || e.Flow.Netns != e.Netns) {
			t.Errorf("translated or elsewhere: %+v", e.Flow)
		}
	}
	if stats.Last.Listeners != 4 || stats.Last.Malformed != 0 || stats.Last.UnknownAttributes != 0 {
		t.Errorf("tally: %+v", stats.Last)
	}
}

// Whoever looks for owners has no use for sockets in TIME_WAIT.
func TestKernelDumpWithoutTimeWait(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	web := h.listen("10.77.0.2:8080", 128)
	h.pair("10.77.0.1:0", "10.77.0.2:8080", web)
	c, s := h.pair("10.77.0.1:0", "10.77.0.2:8080", web)
	h.close(c, s)
	if lines := h.settle(); !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "TIME-WAIT") }) {
		t.Fatalf("no socket is in TIME_WAIT: %q", lines)
	}
	var rec recorder
	sp := &namespace{ns: netns.Netns{Inode: h.ns.Inode()}}
	h.dial(sp)
	defer sp.close()
	if err := newReaderOfOpen(collector.Clock(), rec.sink).dump(t.Context(), sp); err != nil {
		t.Fatal(err)
	}
	events := rec.take()
	if n := sp.stats.Last.Sockets; n != 3 || len(events) != 3 || events[1].Flow.State != collector.Established {
		t.Errorf("read %d sockets, want the listener and both ends of one flow; got %+v", n, events)
	}
}

// The kernel's remaining time in TIME_WAIT says when the flow ended.
func TestKernelEnded(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	web := h.listen("10.77.0.2:8080", 128)
	now := collector.Clock()
	c, s := h.pair("10.77.0.1:0", "10.77.0.2:8080", web)
	from := now()
	h.close(c, s)
	h.settle()
	to := now()
	time.Sleep(300 * time.Millisecond)
	events, _ := h.once()
	if len(events) != 3 || events[1].Flow.State != collector.Done || events[1].Flow.Reason != collector.FIN {
		t.Fatalf("got %+v, want one flow that is done", events)
	}
	// The two clocks started within microseconds of each other, on one wall clock.
	const slack = 5 * time.Millisecond
	e := events[1].Flow.Ended
	if e.From > to.Add(slack) || e.To < from.Add(-slack) {
		t.Errorf("ended in (%d, %d], the truth is (%d, %d]", e.From, e.To, from, to)
	}
	if width, dump := e.To.Sub(e.From), events[2].At.Sub(events[0].At); width > dump+2*jiffy {
		t.Errorf("ended within %v, from a dump that took %v", width, dump)
	}
}

// A server's connections are not flows, also when its listener is gone, until they are too.
func TestKernelListenerGone(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	web := h.listen("10.77.0.2:8080", 128)
	c, s := h.pair("10.77.0.1:0", "10.77.0.2:8080", web)
	client := localPort(t, c)
	var rec recorder
	sp := &namespace{ns: netns.Netns{Inode: h.ns.Inode()}}
	h.dial(sp)
	defer sp.close()
	r := newReader(collector.Clock(), rec.sink)
	flows := func() (ports []uint16) {
		if err := r.dump(context.Background(), sp); err != nil {
			t.Fatal(err)
		}
		for _, e := range rec.take() {
			if e.Kind == collector.Seen {
				ports = append(ports, e.Flow.Source.Port())
			}
		}
		return ports
	}
	before := flows()
	h.close(web)
	for range 3 {
		if diff := cmp.Diff([]uint16{client}, flows()); diff != "" {
			t.Errorf("flows while the server drains (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff([]uint16{client}, before); diff != "" {
		t.Errorf("flows while it listens (-want +got):\n%s", diff)
	}
	h.reset(s, c)
	flows()
	// The port is an ordinary one again.
	c = h.socket(unix.SOCK_STREAM, "10.77.0.2:8080")
	h.listen("10.77.0.4:9090", 128)
	h.connect(c, "10.77.0.4:9090")
	if got := flows(); !slices.Contains(got, 8080) {
		t.Errorf("flow from a port that was a server's: got %v", got)
	}
}

// Where loopback is frequent the kernel leaves it out; the flows are the same.
func TestKernelLoopbackLeftOut(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.variety()
	dual := h.listen("[::]:8090", 128)
	for _, local := range []string{"127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"} {
		for range 5 {
			h.pair(local, strings.TrimSuffix(local, "0")+"8090", dual)
		}
	}
	c, s := h.pair("127.0.0.1:0", "127.0.0.1:8090", dual)
	h.close(c, s) // TIME_WAIT too
	h.settle()
	var rec recorder
	sp := &namespace{ns: netns.Netns{Inode: h.ns.Inode()}}
	h.dial(sp)
	defer sp.close()
	r := newReader(collector.Clock(), rec.sink)
	var flows [2][]string
	var tallies [2]Tally
	for i := range flows {
		if err := r.dump(context.Background(), sp); err != nil {
			t.Fatal(err)
		}
		flows[i], tallies[i] = shown(rec.take()), sp.stats.Last
	}
	if diff := cmp.Diff(flows[0], flows[1]); diff != "" || len(flows[0]) == 0 {
		t.Errorf("flows (-with +without loopback):\n%s", diff)
	}
	// 15 connections of two ends, a TIME_WAIT of one end, a pair of the variety; and a pair from
	// an address to itself, which the filter cannot tell.
	if tallies[0].Loopback != 35 || tallies[1].Loopback != 2 {
		t.Errorf("loopback: %d, then %d, want 35, then 2", tallies[0].Loopback, tallies[1].Loopback)
	}
}

func TestKernelStalls(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	web := h.listen("10.77.0.2:8080", 128)
	h.pair("10.77.0.1:0", "10.77.0.2:8080", web)
	h.listen("10.77.0.2:8082", 0)
	want := map[string]bool{}
	connected := time.Now()
	for i := range 4 {
		fd := h.socket(unix.SOCK_STREAM|unix.SOCK_NONBLOCK, "10.77.0.1:0")
		h.connect(fd, "10.77.0.2:8082")
		if i > 0 { // the first fits the queue
			want[fmt.Sprintf("10.77.0.1:%d", localPort(t, fd))] = true
		}
	}
	src := New(Config{OwnNetns: true})
	stalls := func() (flows []collector.Flow) {
		err := h.ns.Do(func() (err error) { flows, err = src.Stalls(context.Background()); return err })
		if err != nil {
			t.Fatal(err)
		}
		return flows
	}
	if got := stalls(); len(got) != 0 && time.Since(connected) < time.Second {
		t.Errorf("stalled before anything was sent twice: %+v", got)
	}
	deadline := time.Now().Add(time.Minute)
	var got []collector.Flow
	for len(got) < len(want) && time.Now().Before(deadline) {
		time.Sleep(100 * time.Millisecond)
		got = stalls()
	}
	if len(got) != len(want) {
		t.Fatalf("%d stalls, want %d", len(got), len(want))
	}
	for _, f := range got {
		if !want[f.Source.String()] || f.Destination != addrPort("10.77.0.2:8082") ||
			f.State != collector.Opening || f.Netns != h.ns.Inode() || f.Inode == 0 {
			t.Errorf("got %+v", f)
		}
	}
}

func TestKernelEstablished(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	web, web6 := h.listen("10.77.0.2:8080", 128), h.listen("[fd77::2]:8080", 128)
	h.listen("10.77.0.2:8082", 0)
	established := func(within time.Duration, atMost int) (flows []string) {
		t.Helper()
		list, err := Established(t.Context(), h.ns, within, atMost)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			flows = append(flows, fmt.Sprintf("%v %v to %v in %d", f.State, f.Source, f.Destination, f.Netns))
		}
		slices.Sort(flows)
		return flows
	}
	if got := established(time.Hour, 100); len(got) != 0 {
		t.Errorf("listeners alone: %q", got)
	}
	var want []string
	wanted := func(local, remote string, fd int) {
		want = append(want, fmt.Sprintf("%v %s:%d to %s in %d", collector.Established, local, localPort(t, fd), remote, h.ns.Inode()))
	}
	for range 3 {
		client, _ := h.pair("10.77.0.1:0", "10.77.0.2:8080", web)
		wanted("10.77.0.1", "10.77.0.2:8080", client)
	}
	client, _ := h.pair("[fd77::1]:0", "[fd77::2]:8080", web6)
	wanted("[fd77::1]", "[fd77::2]:8080", client)
	// None of these counts: within the machine, closing, not connected, UDP.
	h.pair("127.0.0.1:0", "127.0.0.1:8081", h.listen("127.0.0.1:8081", 128))
	closing, _ := h.pair("10.77.0.1:0", "10.77.0.2:8080", web)
	h.close(closing)
	for i := range 2 {
		fd := h.socket(unix.SOCK_STREAM|unix.SOCK_NONBLOCK, "10.77.0.1:0")
		h.connect(fd, "10.77.0.2:8082")
		if i == 0 { // it fits the queue
			wanted("10.77.0.1", "10.77.0.2:8082", fd)
		}
	}
	h.connect(h.socket(unix.SOCK_DGRAM, "10.77.0.1:0"), "10.77.0.2:53")
	slices.Sort(want)
	var got []string
	for deadline := time.Now().Add(time.Minute); len(got) < len(want) && time.Now().Before(deadline); {
		got = established(time.Hour, 100) // the last one may still be connecting
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, atMost := range []int{1, 4, 5} {
		if got := established(time.Hour, atMost); len(got) != atMost {
			t.Errorf("up to %d: %q", atMost, got)
		}
	}
	silent := func() bool { return len(established(time.Millisecond, 100)) == 0 }
	for deadline := time.Now().Add(time.Minute); !silent(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("packets within the last millisecond for half a minute")
		}
	}
}
