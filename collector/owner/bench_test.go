package owner

import (
	"context"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/sockdiag"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// benchSockets is how many sockets are dumped: what one process may have open.
const benchSockets = 15_000

// connected makes a namespace with connected UDP sockets, which need no server.
func connected(b *testing.B) *netns.Handle {
	b.Helper()
	h := kerneltest.Netns(b)
	kerneltest.Command(b, h, "ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1")
	kerneltest.Command(b, h, "ip", "address", "add", "10.78.0.1/24", "dev", "d0")
	kerneltest.Command(b, h, "ip", "link", "set", "d0", "up")
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	limit.Cur = min(limit.Max, benchSockets+500)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	err := h.Do(func() error {
		for i := range benchSockets {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			b.Cleanup(func() { _ = unix.Close(fd) })
			if err := unix.Connect(fd, &unix.SockaddrInet4{Port: 53 + i%1000, Addr: [4]byte{10, 78, 0, byte(2 + i%200)}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return h
}

// A dump of real sockets with and without attribution, in turn. The ratio is of CPU time, the kernel's part included.
func BenchmarkAttribute(b *testing.B) {
	h := connected(b)
	w := New(Config{Outer: h})
	w.Look(b.Context())
	t := NewTable(w)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cpu := func() time.Duration {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
			b.Fatal(err)
		}
		return time.Duration(ts.Nano())
	}
	flows, named := 0, 0
	dump := func(sink collector.Sink) time.Duration {
		start := cpu()
		if err := sockdiag.Dump(b.Context(), h, collector.Clock(), sink); err != nil {
			b.Fatal(err)
		}
		return cpu() - start
	}
	plain := func(context.Context, []collector.Event) error { return nil }
	attributed := func(_ context.Context, events []collector.Event) error {
		t.Attribute(events, true)
		for i := range events {
			if events[i].Kind == collector.Seen {
				flows++
				if events[i].Flow.Owner != collector.OwnerUnknown {
					named++
				}
			}
		}
		return nil
	}
	dump(plain)
	dump(attributed)
	flows, named = 0, 0
	var without, with time.Duration
	for b.Loop() {
		without += dump(plain)
		with += dump(attributed)
	}
	if flows != benchSockets*b.N || named != flows {
		b.Errorf("%d flows with %d owners in %d dumps of %d sockets", flows, named, b.N, benchSockets)
	}
	b.ReportMetric(float64(without.Nanoseconds())/float64(flows), "plain-ns/socket")
	b.ReportMetric(float64(with.Nanoseconds())/float64(flows), "owners-ns/socket")
	b.ReportMetric(float64(with)/float64(without), "×")
}
