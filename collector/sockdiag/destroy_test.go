package sockdiag

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/nlraw"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// watch opens a namespace that listens to the destroy groups, with a receive buffer of
// the given size or the usual one.
func (h *host) watch(r *reader, buffer int) *namespace {
	h.t.Helper()
	sp := &namespace{ns: netns.Netns{Inode: h.ns.Inode()}}
	h.dial(sp)
	sp.dump.UseBuffer(make([]byte, nlraw.BufferSize))
	err := h.ns.Do(func() (err error) {
		if sp.events, err = dial(netns.Netns{Inode: h.ns.Inode(), Path: ownPath}); err != nil {
			return err
		}
		if _, err = listen(sp.events); err == nil && buffer != 0 {
			err = sp.events.Netlink().SetReadBuffer(buffer)
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(sp.close)
	sp.drained = r.now()
	return sp
}

// ends drains until want sockets have been reported.
func ends(t *testing.T, r *reader, sp *namespace, want uint64) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); sp.stats.Destroyed.Told < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("told of %d sockets, want %d", sp.stats.Destroyed.Told, want)
		}
		if err := r.drain(context.Background(), sp); err != nil {
			t.Fatal(err)
		}
	}
}

// Sockets that no dump has seen are reported when they end.
func TestKernelDestroyed(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	web := h.listen("10.77.0.2:8080", 128)
	h.listen("10.77.0.2:8082", 0)
	loop := h.listen("127.0.0.1:8083", 128)
	dns := h.socket(unix.SOCK_DGRAM, "10.77.0.2:53")
	h.connect(h.socket(unix.SOCK_STREAM, "10.77.0.1:0"), "10.77.0.2:8082") // fills the queue
	var rec recorder
	r := newReader(collector.Clock(), rec.sink)
	sp := h.watch(r, 0)
	if err := r.dump(context.Background(), sp); err != nil { // learns the listeners
		t.Fatal(err)
	}

	type end struct {
		Protocol       collector.Protocol
		Reason         collector.Reason
		From, To       string
		HasID, Refused bool
	}
	tests := []struct {
		name  string
		do    func() (local string)
		told  uint64
		want  *end
		count DestroyedStats // what it adds
	}{
		{
			name: "the server closes first", told: 2,
			do: func() string {
				c, s := h.pair("10.77.0.1:0", "10.77.0.2:8080", web)
				local := fmt.Sprintf("10.77.0.1:%d", localPort(t, c))
				h.close(s, c)
				return local
			},
			want:  &end{Protocol: collector.TCP, Reason: collector.FIN, To: "10.77.0.2:8080", HasID: true},
			count: DestroyedStats{Closed: 1, Others: 1},
		},
		{
			name: "the client closes first: left to the next dump", told: 2,
			do: func() string {
				c, s := h.pair("10.77.0.1:0", "10.77.0.2:8080", web)
				h.close(c, s)
				return ""
			},
			count: DestroyedStats{Lingering: 1, Others: 1},
		},
		{
			name: "the client closes, the server does not", told: 1,
			do: func() string {
				c, _ := h.pair("10.77.0.1:0", "10.77.0.2:8080", web)
				h.close(c)
				return ""
			},
			count: DestroyedStats{Lingering: 1},
		},
		{
			name: "the server resets", told: 2,
			do: func() string {
				c, s := h.pair("10.77.0.1:0", "10.77.0.2:8080", web)
				local := fmt.Sprintf("10.77.0.1:%d", localPort(t, c))
				h.reset(s, c)
				h.close(c)
				return local
			},
			want:  &end{Protocol: collector.TCP, To: "10.77.0.2:8080", HasID: true},
			count: DestroyedStats{Closed: 1, Others: 1},
		},
		{
			name: "the client resets: its destination is unknown", told: 2,
			do: func() string {
				c, s := h.pair("10.77.0.1:0", "10.77.0.2:8080", web)
				local := fmt.Sprintf("10.77.0.1:%d", localPort(t, c))
				h.reset(c, s)
				h.close(s)
				return local
			},
			want:  &end{Protocol: collector.TCP, To: "invalid AddrPort", HasID: true},
			count: DestroyedStats{Closed: 1, Unknown: 1, Others: 1},
		},
		{
			name: "refused, by a connect that does not wait", told: 1,
			do: func() string {
				c := h.socket(unix.SOCK_STREAM|unix.SOCK_NONBLOCK, "10.77.0.1:0")
				h.connect(c, "10.77.0.2:1")
				local := fmt.Sprintf("10.77.0.1:%d", localPort(t, c))
				h.close(c)
				return local
			},
			want:  &end{Protocol: collector.TCP, Reason: collector.RST, To: "10.77.0.2:1", HasID: true, Refused: true},
			count: DestroyedStats{Closed: 1},
		},
		{
			name: "refused, by one that waits: its destination is unknown", told: 1,
			do: func() string {
				c := h.socket(unix.SOCK_STREAM, "10.77.0.1:0")
				local := fmt.Sprintf("10.77.0.1:%d", localPort(t, c))
				_, sa := sockaddr("10.77.0.2:1")
				if err := unix.Connect(c, sa); !errors.Is(err, unix.ECONNREFUSED) {
					t.Errorf("connect: %v, want %v", err, unix.ECONNREFUSED)
				}
				h.close(c)
				return local
			},
			want:  &end{Protocol: collector.TCP, To: "invalid AddrPort", HasID: true},
			count: DestroyedStats{Closed: 1, Unknown: 1},
		},
		{
			name: "nobody answers", told: 1,
			do: func() string {
				c := h.socket(unix.SOCK_STREAM|unix.SOCK_NONBLOCK, "10.77.0.1:0")
				h.connect(c, "10.77.0.2:8082")
				local := fmt.Sprintf("10.77.0.1:%d", localPort(t, c))
				h.drop(c)
				return local
			},
			want:  &end{Protocol: collector.TCP, Reason: collector.Timeout, To: "10.77.0.2:8082", HasID: true},
			count: DestroyedStats{Closed: 1},
		},
		{
			name: "a connected UDP socket", told: 1,
			do: func() string {
				c := h.socket(unix.SOCK_DGRAM, "10.77.0.1:0")
				h.connect(c, "10.77.0.2:53")
				local := fmt.Sprintf("10.77.0.1:%d", localPort(t, c))
				h.close(c)
				return local
			},
			want:  &end{Protocol: collector.UDP, To: "10.77.0.2:53"},
			count: DestroyedStats{Closed: 1},
		},
		{
			name: "no flows: loopback, bound, a listener, unconnected UDP", told: 5,
			do: func() string {
				c, s := h.pair("127.0.0.1:0", "127.0.0.1:8083", loop)
				h.close(c, s)
				h.close(h.socket(unix.SOCK_STREAM, "10.77.0.1:0"))
				h.close(h.listen("10.77.0.1:0", 1))
				h.close(h.socket(unix.SOCK_DGRAM, "10.77.0.1:0"))
				return ""
			},
			count: DestroyedStats{Others: 5},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec.take()
			before := sp.stats.Destroyed
			from := r.now()
			local := tt.do()
			ends(t, r, sp, before.Told+tt.told)
			to := r.now()
			after := sp.stats.Destroyed
			added := DestroyedStats{
				Closed: after.Closed - before.Closed, Unknown: after.Unknown - before.Unknown,
				Lingering: after.Lingering - before.Lingering, Others: after.Others - before.Others,
			}
			if diff := cmp.Diff(tt.count, added); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
			var want, got []end
			if tt.want != nil {
				tt.want.From = local
				want = append(want, *tt.want)
			}
			for _, e := range rec.take() {
				f := e.Flow
				got = append(got, end{
					Protocol: f.Protocol, Reason: f.Reason, From: f.Source.String(), To: f.Destination.String(), HasID: f.ID != 0,
					Refused: f.Refused,
				})
				if e.Kind != collector.Closed || e.Netns != h.ns.Inode() || f.Netns != e.Netns || f.State != collector.Done || f.VIP != f.Source {
					t.Errorf("event %+v", e)
				}
				if f.Ended.From > to || f.Ended.To < from || f.Ended.To > to || f.Ended.From > f.Ended.To {
					t.Errorf("ended in (%d, %d], the truth is in (%d, %d]", f.Ended.From, f.Ended.To, from, to)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("ends (-want +got):\n%s", diff)
			}
		})
	}
	_ = dns
	if sp.stats.Err != nil || sp.stats.Malformed != 0 || sp.stats.UnknownAttributes != 0 {
		t.Errorf("stats %+v", sp.stats)
	}
}

// What a message lacks stays unknown.
func TestClosedUnknown(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		source string
		count  DestroyedStats
		events int
	}{
		{"destroyed-tcp-refused", "invalid AddrPort", DestroyedStats{Closed: 1, Unknown: 1}, 1},
		{"destroyed-tcp-reset", "10.77.0.1:40024", DestroyedStats{Closed: 1, Unknown: 1}, 1},
		{"destroyed-tcp-never-connected", "", DestroyedStats{Others: 1}, 0},
		{"destroyed-udp-unconnected", "", DestroyedStats{Others: 1}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var rec recorder
			r := newReader(collector.Clock(), rec.sink)
			sp := &namespace{ns: netns.Netns{Inode: 7}}
			b := captured(t, kernels(t)[0], tt.name)
			if err := r.gone.parse(b); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(r.closed(t.Context(), sp, b), r.out.Flush(t.Context())); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.count, sp.stats.Destroyed); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
			events := rec.take()
			if len(events) != tt.events {
				t.Fatalf("%d events, want %d", len(events), tt.events)
			}
			for _, e := range events {
				f := e.Flow
				if f.Source.String() != tt.source || f.VIP != f.Source || f.Destination.IsValid() || f.ID == 0 || f.Reason != collector.ReasonUnknown {
					t.Errorf("got %+v, want source %s and no destination", f, tt.source)
				}
			}
		})
	}
}

// What the kernel drops is reported, and what comes after is read.
func TestKernelOverrun(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	var rec recorder
	r := newReader(collector.Clock(), rec.sink)
	sp := h.watch(r, 8<<10)
	const sockets = 2000
	for range sockets {
		fd := h.socket(unix.SOCK_DGRAM, "10.77.0.1:0")
		h.connect(fd, "10.77.0.2:53")
		h.close(fd)
	}
	for deadline := time.Now().Add(time.Minute); sp.stats.Destroyed.Overruns == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no overrun after %d of %d sockets", sp.stats.Destroyed.Told, sockets)
		}
		if err := r.drain(context.Background(), sp); err != nil {
			t.Fatal(err)
		}
	}
	if got := kinds(rec.take()); !slices.Contains(got, collector.Overrun) || sp.stats.Destroyed.Told >= sockets {
		t.Errorf("told of %d sockets, kinds %v", sp.stats.Destroyed.Told, got[:min(5, len(got))])
	}
	later := func(e collector.Event) bool {
		return e.Kind == collector.Closed && e.Flow.Destination == addrPort("10.77.0.2:54")
	}
	for deadline := time.Now().Add(time.Minute); !slices.ContainsFunc(rec.take(), later); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is told after the overrun")
		}
		// One more each time: the kernel may still be telling of the first 2,000, and drop this one among them.
		fd := h.socket(unix.SOCK_DGRAM, "10.77.0.1:0")
		h.connect(fd, "10.77.0.2:54")
		h.close(fd)
		if err := r.drain(context.Background(), sp); err != nil {
			t.Fatal(err)
		}
	}
}

// Another namespace is read from within, and reported empty when its last process ends.
func TestKernelNamespaceVanishes(t *testing.T) {
	t.Parallel()
	pid := kerneltest.Process(t)
	ns, err := netns.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ns.Close() }()
	inode := ns.Inode()
	h := &host{t: t, ns: ns, open: map[int]bool{}}
	kerneltest.Command(t, ns, "ip", "link", "set", "lo", "up")
	kerneltest.Command(t, ns, "ip", "route", "add", "local", "10.77.0.0/16", "dev", "lo")
	fd := h.socket(unix.SOCK_DGRAM, "10.77.0.1:0")
	h.connect(fd, "10.77.0.2:53")

	s := New(Config{Interval: 20 * time.Millisecond, Rescan: time.Hour})
	s.find = func() ([]netns.Netns, error) {
		n := netns.Netns{Inode: inode, Path: fmt.Sprintf("/proc/%d/ns/net", pid), PID: pid}
		if !n.Alive() {
			return nil, nil
		}
		return []netns.Netns{n}, nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var events []collector.Event
	killed := false
	err = s.Run(ctx, func(_ context.Context, batch []collector.Event) error {
		for _, e := range batch {
			if e.Netns == inode {
				events = append(events, e)
			}
		}
		switch n := len(events); {
		case !killed && n > 0 && events[n-1].Kind == collector.End:
			killed = true
			h.close(fd)
			return unix.Kill(pid, unix.SIGKILL)
		case killed && n > 1 && events[n-1].Kind == collector.End && events[n-2].Kind == collector.Begin && len(s.Stats().Netns) == 2:
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("ended by %v, events %v", err, kinds(events))
	}
	want := []collector.Kind{collector.Begin, collector.Seen, collector.End}
	if diff := cmp.Diff(want, kinds(events[:3])); diff != "" {
		t.Errorf("at first (-want +got):\n%s", diff)
	}
	if f := events[1].Flow; f.Destination != addrPort("10.77.0.2:53") || f.Protocol != collector.UDP {
		t.Errorf("flow %+v", f)
	}
}

// Without any right the own namespace is read, and what is not is said.
func TestKernelUnprivileged(t *testing.T) {
	t.Parallel()
	if !kerneltest.Unprivileged(t) {
		return
	}
	own, err := netns.Own()
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Interval: 10 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = s.Run(ctx, func(context.Context, []collector.Event) error {
		if st := s.Stats(); len(st.Netns) > 0 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	st := s.Stats()
	if len(st.Netns) != 1 || st.Netns[0].Netns != own || st.Netns[0].Dumps == 0 || !st.Netns[0].Destroyed.Listening {
		t.Errorf("stats %+v", st)
	}
	if !st.Netns[0].Destroyed.SmallBuffer {
		t.Error("a large receive buffer without CAP_NET_ADMIN")
	}
	// Namespaces that others mounted are refused too, for a reason of their own.
	unseen := netns.Capabilities(0).With(netns.SysPtrace)
	if !st.OwnOnly || !slices.ContainsFunc(st.Refused, func(e *netns.AccessError) bool { return e.Missing == unseen }) {
		t.Errorf("own only %v, refused %v", st.OwnOnly, st.Refused)
	}
}
