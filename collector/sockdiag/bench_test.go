package sockdiag

import (
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/nlraw"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

func TestMain(m *testing.M) {
	if kerneltest.Hold() {
		return
	}
	os.Exit(m.Run())
}

// clients makes a namespace with n connected sockets and nothing else.
func clients(b *testing.B, n int) *host {
	b.Helper()
	return &host{t: b, ns: kerneltest.Sockets(b, n, nil), open: map[int]bool{}}
}

// floor is what no reader can do without: one walk over all TCP sockets that are flows, thrown away.
func (h *host) floor(b *testing.B, buf []byte) {
	fd := -1
	err := h.ns.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	m := requestTCP(statesFlows, 0, nil)
	m.Header.Flags = netlink.Request | netlink.Dump
	m.Header.Length = uint32(unix.NLMSG_HDRLEN + len(m.Data))
	req, err := m.MarshalBinary()
	if err != nil {
		b.Fatal(err)
	}
	if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		b.Fatal(err)
	}
	for {
		n, err := rawRead(fd, buf)
		if err != nil || n < unix.NLMSG_HDRLEN {
			b.Fatalf("read %d bytes: %v", n, err)
		}
		if binary.NativeEndian.Uint16(buf[4:]) == unix.NLMSG_DONE {
			return
		}
	}
}

func rawRead(fd int, buf []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// BenchmarkDump dumps a namespace to a Sink that throws the events away, beside the kernel's
// floor and ss(8) in the same rounds, all in CPU time. It reports medians over the rounds.
func BenchmarkDump(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			h := clients(b, n)
			flows := 0
			r := newReader(collector.Clock(), func(_ context.Context, events []collector.Event) error {
				for i := range events {
					if events[i].Kind == collector.Seen {
						flows++
					}
				}
				return nil
			})
			sp := &namespace{ns: netns.Netns{Inode: h.ns.Inode()}}
			h.dial(sp)
			defer sp.close()
			ss := kerneltest.Program(b, "ss", "iproute2")
			buf := make([]byte, nlraw.BufferSize)
			var ours, floor, peer []float64
			per := func(who int, f func()) float64 {
				start := kerneltest.CPUTime(b, who)
				f()
				return float64(kerneltest.CPUTime(b, who)-start) / float64(n)
			}
			dump := func() {
				flows = 0
				if err := r.dump(context.Background(), sp); err != nil || flows != n {
					b.Fatalf("%d flows, want %d; %v", flows, n, err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				floor = append(floor, per(unix.RUSAGE_SELF, func() { h.floor(b, buf) }))
				peer = append(peer, per(unix.RUSAGE_CHILDREN, func() {
					cmd := exec.Command(ss, "-tan")
					if err := h.ns.Do(cmd.Run); err != nil {
						b.Fatal(err)
					}
				}))
				b.StartTimer()
				ours = append(ours, per(unix.RUSAGE_SELF, dump))
			}
			b.ReportMetric(median(ours), "cpu-ns/socket")
			b.ReportMetric(median(floor), "floor-ns/socket")
			b.ReportMetric(median(peer), "ss-ns/socket")
			b.ReportMetric(median(ratios(ours, floor)), "x-floor")
			b.ReportMetric(median(ratios(ours, peer)), "x-ss")
		})
	}
}

func ratios(a, b []float64) []float64 {
	r := make([]float64, len(a))
	for i := range a {
		r[i] = a[i] / b[i]
	}
	return r
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// BenchmarkDestroyed reads the ends of UDP sockets from a queue that is full of them.
func BenchmarkDestroyed(b *testing.B) {
	h := newHost(b)
	r := newReader(collector.Clock(), func(context.Context, []collector.Event) error { return nil })
	sp := h.watch(r, 0)
	const queued = 10_000
	var used []float64
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for range queued {
			fd := h.socket(unix.SOCK_DGRAM, "10.77.0.1:0")
			h.connect(fd, "10.77.0.2:53")
			h.close(fd)
		}
		time.Sleep(300 * time.Millisecond) // a grace period, then a work queue
		told := sp.stats.Destroyed.Told
		b.StartTimer()
		start := kerneltest.CPUTime(b, unix.RUSAGE_SELF)
		if err := r.drain(context.Background(), sp); err != nil {
			b.Fatal(err)
		}
		used = append(used, float64(kerneltest.CPUTime(b, unix.RUSAGE_SELF)-start)/float64(sp.stats.Destroyed.Told-told))
	}
	b.ReportMetric(median(used), "cpu-ns/event")
	if sp.stats.Destroyed.Overruns > 0 {
		b.Errorf("%d overruns", sp.stats.Destroyed.Overruns)
	}
}

// BenchmarkDecode is our own part of a dump: from one message to one event.
func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"tcp-established", "tcp6-established", "tcp-timewait"} {
		b.Run(name, func(b *testing.B) {
			r := newReader(collector.Clock(), func(context.Context, []collector.Event) error { return nil })
			m := nlraw.Message{Data: captured(b, kernels(b)[0], name)}
			b.ReportAllocs()
			for b.Loop() {
				if err := r.flow(b.Context(), m, &namespace{ns: netns.Netns{Inode: 1}}, collector.TCP); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
