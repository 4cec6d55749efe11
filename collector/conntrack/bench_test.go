package conntrack

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	oracle "github.com/ti-mo/conntrack"
	"github.com/ti-mo/netfilter"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// benchRounds is how often each of the compared is run, in turns: only ratios within a round
// mean something on a machine that others use too. A million flows take too long for as many.
const (
	benchRounds    = 9
	benchRoundsBig = 5
	benchFlowsBig  = 500_000
)

// benchFlows is the size of the table: SNATWATCH_BENCH_FLOWS, default 100 000.
func benchFlows(b *testing.B) int {
	v := os.Getenv("SNATWATCH_BENCH_FLOWS")
	if v == "" {
		return 100_000
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		b.Fatalf("SNATWATCH_BENCH_FLOWS=%q: want a number of flows", v)
	}
	return n
}

// roomFor raises nf_conntrack_max, which all namespaces share, if n entries more would not fit, and
// puts it back.
func roomFor(b *testing.B, n int) {
	b.Helper()
	const file = "/proc/sys/net/netfilter/nf_conntrack_max"
	v, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(v)))
	if err != nil {
		b.Fatal(err)
	}
	want := n + n/4
	if limit >= want {
		return
	}
	if err := os.WriteFile(file, []byte(strconv.Itoa(want)), 0); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := os.WriteFile(file, v, 0); err != nil {
			b.Error(err)
		}
	})
}

// benchEntry is the i-th flow: 2 000 destinations, one VIP for each 30 000 ports.
func benchEntry(i int, translated bool) *tableEntry {
	group, n := i%2000, i/2000
	src := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	dst := netip.AddrFrom4([4]byte{203, 0, byte(group >> 8), byte(group)})
	vip := netip.AddrPort{}
	if translated {
		vip = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(n / 30000)}), uint16(1024+n%30000))
	}
	return established(netip.AddrPortFrom(src, uint16(10000+n%50000)), netip.AddrPortFrom(dst, 443), vip)
}

// fill puts n flows into ns, of which percent are translated.
func fill(b *testing.B, ns *netns.Handle, n, percent int) {
	b.Helper()
	c := newCreator(b, ns)
	for i := range n {
		c.add(benchEntry(i, i%100 < percent))
	}
	c.flush()
}

// used returns the CPU time that f takes.
func used(b *testing.B, who int, f func()) time.Duration {
	debug.FreeOSMemory() // nobody pays for another's garbage
	start := kerneltest.CPUTime(b, who)
	f()
	return kerneltest.CPUTime(b, who) - start
}

// peak returns how much memory f adds at most to what the process has.
func peak(b *testing.B, f func()) float64 {
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // resets VmHWM
		b.Fatal(err)
	}
	before := status(b, "VmRSS:")
	f()
	return float64(status(b, "VmHWM:")-before) / 1024
}

func status(b *testing.B, field string) int {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := bytes.Cut(text, []byte(field))
	kb, err := strconv.Atoi(string(bytes.Fields(rest)[0]))
	if err != nil {
		b.Fatal(err)
	}
	return kb
}

// ratio is the median of a[i]/b[i].
func ratio(a, b []time.Duration) float64 {
	r := make([]float64, len(a))
	for i := range a {
		r[i] = float64(a[i]) / float64(b[i])
	}
	slices.Sort(r)
	return r[len(r)/2]
}

func median(a []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(a))
	return s[len(s)/2]
}

// floor reads a dump of all entries on a socket of its own and discards it.
type floor struct {
	fd  int
	buf []byte
}

func newFloor(b *testing.B, ns *netns.Handle) *floor {
	f := &floor{buf: make([]byte, 64<<10)}
	err := ns.Do(func() (err error) {
		f.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = unix.Close(f.fd) })
	return f
}

// dump returns the number of entries. Of a filtered dump the kernel itself leaves out
// what is not translated.
func (f *floor) dump(b *testing.B, filtered bool) (messages int) {
	req := make([]byte, unix.NLMSG_HDRLEN, 64)
	req = append(req, (&table{translated: filtered}).request().Data...)
	binary.NativeEndian.PutUint32(req, uint32(len(req)))
	binary.NativeEndian.PutUint16(req[4:], msgGet)
	binary.NativeEndian.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	if err := unix.Sendto(f.fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		b.Fatal(err)
	}
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(f.fd), uintptr(unsafe.Pointer(&f.buf[0])), uintptr(len(f.buf)))
		if errno != 0 {
			b.Fatal(errno)
		}
		for d := f.buf[:n]; len(d) >= unix.NLMSG_HDRLEN; {
			if binary.NativeEndian.Uint16(d[4:]) == unix.NLMSG_DONE {
				return messages
			}
			messages++
			d = d[min((int(binary.NativeEndian.Uint32(d))+3)&^3, len(d)):]
		}
	}
}

// BenchmarkDump compares a dump into flows with what the kernel alone takes for it and with
// ti-mo/conntrack and conntrack -L, by CPU time.
func BenchmarkDump(b *testing.B) {
	for _, percent := range []int{100, 10} {
		b.Run(fmt.Sprintf("flows=%d/nat=%d%%", benchFlows(b), percent), func(b *testing.B) {
			flows := benchFlows(b)
			roomFor(b, flows)
			ns := kerneltest.Netns(b)
			fill(b, ns, flows, percent)
			raw, peer := newFloor(b, ns), dialOracle(b, ns)
			// Where all are translated the filter saves nothing; it costs the kernel some percent.
			src, err := New(Config{Netns: ns, OnlyTranslated: percent < 100})
			if err != nil {
				b.Fatal(err)
			}
			want := flows * percent / 100
			dump := func() {
				seen := 0
				err := src.Dump(b.Context(), func(_ context.Context, events []collector.Event) error {
					for i := range events {
						if events[i].Kind == collector.Seen && events[i].Flow.Translated {
							seen++
						}
					}
					return nil
				})
				if err != nil || seen != want {
					b.Fatalf("%d flows, want %d: %v", seen, want, err)
				}
			}
			timo := func() {
				if got, err := peer.Dump(nil); err != nil || len(got) != flows {
					b.Fatalf("ti-mo: %d flows, %v", len(got), err)
				}
				runtime.GC() // it pays for its own
			}
			discard := func(filtered bool, want int) time.Duration {
				return used(b, unix.RUSAGE_SELF, func() {
					if n := raw.dump(b, filtered); n != want {
						b.Fatalf("floor: %d flows, want %d", n, want)
					}
				})
			}
			rounds := benchRounds
			if flows >= benchFlowsBig {
				rounds = benchRoundsBig
			}
			var floors, filtered, ours, timos, tools []time.Duration
			for range b.N * rounds {
				floors = append(floors, discard(false, flows))
				filtered = append(filtered, discard(true, want))
				ours = append(ours, used(b, unix.RUSAGE_SELF, dump))
				timos = append(timos, used(b, unix.RUSAGE_SELF, timo))
				tools = append(tools, used(b, unix.RUSAGE_CHILDREN, func() { listByTool(b, ns) }))
			}
			each := func(d []time.Duration) float64 { return float64(median(d)) / float64(flows) }
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(each(ours), "ours-ns/flow")
			b.ReportMetric(each(floors), "floor-ns/flow")
			b.ReportMetric(ratio(ours, floors), "ours/floor")
			b.ReportMetric(ratio(filtered, floors), "filtered-floor/floor")
			b.ReportMetric(ratio(ours, filtered), "ours/filtered-floor")
			b.ReportMetric(ratio(ours, timos), "ours/ti-mo")
			b.ReportMetric(ratio(ours, tools), "ours/conntrack-L")
			b.ReportMetric(peak(b, dump), "ours-peak-MB")
			b.ReportMetric(peak(b, timo), "ti-mo-peak-MB")
		})
	}
}

// listByTool runs conntrack -L in ns; its -n would filter in user space, after the fact.
func listByTool(b *testing.B, ns *netns.Handle) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	var complaint bytes.Buffer
	err = ns.Do(func() error {
		cmd := exec.Command("conntrack", "-L")
		cmd.Stdout, cmd.Stderr = null, &complaint
		return cmd.Run()
	})
	if err != nil {
		b.Fatalf("conntrack -L: %v\n%s", err, &complaint)
	}
}

// BenchmarkEvents compares reading events that wait, NEW and DESTROY in equal number, with
// ti-mo/conntrack.
func BenchmarkEvents(b *testing.B) {
	const flows, buffer = 20_000, 256 << 20
	roomFor(b, 2*flows)
	ns := kerneltest.Netns(b)
	var events int
	sink := func(_ context.Context, batch []collector.Event) error {
		events += len(batch)
		return nil
	}
	out := &collector.Batch{}
	out.Start(sink, batchMax)
	tab := &table{netns: ns.Inode(), clock: newClock(nil), timeouts: &timeouts{}, out: out}
	l, err := listen(ns.FD(), buffer, tab)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.conn.Close() }()
	peer := dialOracle(b, ns)
	if err := peer.SetReadBuffer(buffer); err != nil {
		b.Fatal(err)
	}
	// Nobody receives from it until there are all, so that events wait in the socket.
	peerEvents := make(chan oracle.Event)
	peerErrors, err := peer.Listen(peerEvents, 1, []netfilter.NetlinkGroup{netfilter.GroupCTNew, netfilter.GroupCTDestroy})
	if err != nil {
		b.Fatal(err)
	}
	c := newCreator(b, ns)
	var ours, timos []time.Duration
	allocs := uint64(0)
	for range b.N {
		for range benchRounds {
			for i := range flows {
				c.add(benchEntry(i, true))
			}
			c.flush()
			for i := range flows {
				c.del(benchEntry(i, true))
			}
			c.flush()
			events = 0
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := kerneltest.CPUTime(b, unix.RUSAGE_SELF)
			if err := l.drain(b.Context()); err != nil {
				b.Fatal(err)
			}
			ours = append(ours, kerneltest.CPUTime(b, unix.RUSAGE_SELF)-start)
			runtime.ReadMemStats(&after)
			allocs += after.Mallocs - before.Mallocs
			if events != 2*flows {
				b.Fatalf("%d events, want %d", events, 2*flows)
			}
			timos = append(timos, used(b, unix.RUSAGE_SELF, func() {
				for range 2 * flows {
					select {
					case <-peerEvents:
					case err := <-peerErrors:
						b.Fatalf("ti-mo: %v", err)
					}
				}
			}))
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(median(ours))/(2*flows), "ours-ns/event")
	b.ReportMetric(float64(median(timos))/(2*flows), "ti-mo-ns/event")
	b.ReportMetric(ratio(ours, timos), "ours/ti-mo")
	b.ReportMetric(float64(allocs)/float64(b.N*benchRounds*2*flows), "allocs/event")
}
