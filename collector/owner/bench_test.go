package owner

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/sockdiag"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// podSockets makes n TCP sockets, held by processes that are each in the cgroup of a pod's container.
func podSockets(b *testing.B, n int) *netns.Handle {
	root := tree(b)
	return kerneltest.Sockets(b, n, func(job int) *unix.SysProcAttr {
		dir, err := os.Open(cgroup(b, root, fmt.Sprintf("kubepods/pod0b6c7f5e-3f6e-4a0e-9d5c-1c2f3a4b5c%02x/%s", job, digits(fmt.Sprintf("%02x", job)))))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = dir.Close() })
		return &unix.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	})
}

// A dump of real sockets without attribution, with it, and what ss(8) takes to name their processes: in turn in the same
// rounds, in CPU time, the kernel's part included; medians. A look is what the watcher does beside, every 5 s or less
// often.
func BenchmarkAttribute(b *testing.B) {
	const sockets = 100_000
	h := podSockets(b, sockets)
	ss := kerneltest.Program(b, "ss", "iproute2")
	w := New(Config{Outer: h})
	w.Look(b.Context())
	t := NewTable(w)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	flows, named := 0, 0
	dump := func(attribute bool) float64 {
		flows, named = 0, 0
		start := kerneltest.ThreadTime(b)
		err := sockdiag.Dump(b.Context(), h, collector.Clock(), func(_ context.Context, events []collector.Event) error {
			if attribute {
				t.Attribute(events, true)
			}
			for i := range events {
				if events[i].Kind == collector.Seen {
					flows++
					if events[i].Flow.Owner != collector.OwnerUnknown {
						named++
					}
				}
			}
			return nil
		})
		took := kerneltest.ThreadTime(b) - start
		if err != nil || flows != sockets || attribute != (named == sockets) {
			b.Fatalf("%d flows, %d owners: %v", flows, named, err)
		}
		return float64(took.Nanoseconds()) / sockets
	}
	peer := func() float64 {
		before := kerneltest.CPUTime(b, unix.RUSAGE_CHILDREN)
		if err := h.Do(exec.Command(ss, "-tanp").Run); err != nil {
			b.Fatal(err)
		}
		return float64((kerneltest.CPUTime(b, unix.RUSAGE_CHILDREN) - before).Nanoseconds()) / sockets
	}
	look := func() float64 {
		start := kerneltest.ThreadTime(b)
		w.whole = time.Time{} // read all anew, as once a minute
		w.want(wantCgroups | wantSockets | wantInodes)
		w.Look(b.Context())
		return float64(kerneltest.ThreadTime(b)-start) / 1e6
	}
	dump(true)
	var plain, with, peers, looks, ratio, less []float64
	for b.Loop() {
		plain, with = append(plain, dump(false)), append(with, dump(true))
		peers, looks = append(peers, peer()), append(looks, look())
		ratio, less = append(ratio, with[len(with)-1]/plain[len(plain)-1]), append(less, peers[len(peers)-1]/with[len(with)-1])
	}
	median := func(v []float64) float64 { return slices.Sorted(slices.Values(v))[len(v)/2] }
	b.ReportMetric(median(plain), "plain-ns/socket")
	b.ReportMetric(median(with), "owners-ns/socket")
	b.ReportMetric(median(peers), "ss-ns/socket")
	b.ReportMetric(median(looks), "look-ms")
	b.ReportMetric(median(ratio), "x-plain")
	b.ReportMetric(median(less), "x-less-than-ss")
}

// BenchmarkAttributeOwn attributes the flows of a dump of conntrack that are of this machine's own address: of 100,000,
// half have a socket.
func BenchmarkAttributeOwn(b *testing.B) {
	const flows = 100_000
	a := addr("10.0.0.1")
	sockets := map[uint64]Identity{}
	events := make([]collector.Event, flows)
	for i := range events {
		f := flow("10.0.0.1:1", func(f *collector.Flow) {
			f.Source = netip.AddrPortFrom(a, uint16(i%50_000+10_000))
			f.Destination = netip.AddrPortFrom(addr("203.0.113.7"), uint16(i/50_000+1))
		})
		events[i] = collector.Event{Kind: collector.Seen, Flow: f}
		if i%2 == 0 {
			sockets[keyOf(&f).bits()] = Identity{Kind: collector.KindUnit, ID: "nginx.service"}
		}
	}
	table := tableOf(b, &View{Own: map[netip.Addr]bool{a: true}, Sockets: indexOf(sockets)})
	for b.Loop() {
		for chunk := range slices.Chunk(events, 64) {
			table.Attribute(chunk, false)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/flows, "ns/flow")
}
