package sockdiag

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
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

// A process may hold so many descriptors that ten thousands of sockets take several.
const (
	holdEnv    = "SOCKDIAG_TEST_HOLD" // "LOCAL REMOTE COUNT"
	holdPerJob = 18_000
)

func TestMain(m *testing.M) {
	if job := os.Getenv(holdEnv); job != "" {
		if err := hold(job); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// hold keeps connections open until its standard input ends.
func hold(job string) error {
	f := strings.Fields(job)
	n, err := strconv.Atoi(f[2])
	if err != nil {
		return err
	}
	family, local := sockaddr(f[0])
	_, remote := sockaddr(f[1])
	limit := unix.Rlimit{Cur: uint64(n + 100), Max: 20_000}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	for range n {
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		// The port is chosen by connect, which knows the destination.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return err
		}
		if err := unix.Bind(fd, local); err != nil {
			return err
		}
		if err := unix.Connect(fd, remote); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// clients makes a namespace with n connected sockets and nothing else: their servers are
// in another one, in the queue of a listener, where they need no descriptor.
func clients(b *testing.B, n int) *host {
	b.Helper()
	c := &host{t: b, ns: kerneltest.Netns(b), open: map[int]bool{}}
	s := &host{t: b, ns: kerneltest.Netns(b), open: map[int]bool{}}
	b.Cleanup(func() {
		for fd := range s.open {
			_ = unix.Close(fd)
		}
	})
	kerneltest.Command(b, c.ns, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns",
		fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.ns.FD()))
	for i, h := range []*host{c, s} {
		kerneltest.Command(b, h.ns, "ip", "address", "add", fmt.Sprintf("10.77.0.%d/24", i+1), "dev", fmt.Sprintf("v%d", i))
		kerneltest.Command(b, h.ns, "ip", "link", "set", fmt.Sprintf("v%d", i), "up")
	}
	write := func(h *host, name, value string) {
		if err := h.ns.Do(func() error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0) }); err != nil {
			b.Fatal(err)
		}
	}
	write(s, "core/somaxconn", "65535")
	write(s, "ipv4/tcp_max_syn_backlog", "65535")
	write(c, "ipv4/ip_local_port_range", "10000 65000")

	for job := 0; n > 0; job++ {
		k := min(n, holdPerJob)
		n -= k
		server := fmt.Sprintf("10.77.0.2:%d", 8000+job)
		s.listen(server, 65535)
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=10.77.0.1:0 %s %d", holdEnv, server, k))
		in, err := cmd.StdinPipe()
		if err != nil {
			b.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := c.ns.Do(cmd.Start); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			_ = in.Close()
			_ = cmd.Wait()
		})
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
			b.Fatalf("connect: %q, %v", line, err)
		}
	}
	return c
}

// cpu returns the time that this process, or its children, have used so far.
func cpu(b *testing.B, who int) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
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
			sp := &space{ns: netns.Netns{Inode: h.ns.Inode()}}
			h.dial(sp)
			defer sp.close()
			ss := kerneltest.Program(b, "ss", "iproute2")
			buf := make([]byte, nlraw.BufferSize)
			var ours, floor, peer []float64
			per := func(who int, f func()) float64 {
				start := cpu(b, who)
				f()
				return float64(cpu(b, who)-start) / float64(n)
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
		start := cpu(b, unix.RUSAGE_SELF)
		if err := r.drain(context.Background(), sp); err != nil {
			b.Fatal(err)
		}
		used = append(used, float64(cpu(b, unix.RUSAGE_SELF)-start)/float64(sp.stats.Destroyed.Told-told))
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
				if err := r.flow(b.Context(), m, &space{ns: netns.Netns{Inode: 1}}, collector.TCP); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
