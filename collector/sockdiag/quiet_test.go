package sockdiag

import (
	"context"
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/nlraw"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

func TestCounts(t *testing.T) {
	t.Parallel()
	const v4 = "sockets: used 7\nTCP: inuse 3 orphan 1 tw 2 alloc 9 mem 4\nUDP: inuse 5 mem 6\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n"
	const v6 = "TCP6: inuse 4\nUDP6: inuse 1\nUDPLITE6: inuse 0\nRAW6: inuse 1\nFRAG6: inuse 0 memory 0\n"
	for _, tt := range []struct {
		name  string
		texts []string
		want  counts
		ok    bool
	}{
		{"both families", []string{v4, v6}, counts{tcp: 7, timeWait: 2, udp: 6, known: true}, true},
		{"IPv4 alone", []string{v4}, counts{tcp: 3, timeWait: 2, udp: 5, known: true}, true},
		{"no number", []string{"TCP: inuse x orphan 0 tw 0\n"}, counts{}, false},
		{"no number of TIME_WAIT", []string{"TCP: inuse 1 orphan 0 tw x alloc 1 mem 1\n"}, counts{tcp: 1}, false},
		{"nothing", []string{""}, counts{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got counts
			ok := true
			for _, text := range tt.texts {
				ok = got.add([]byte(text)) && ok
			}
			if got != tt.want || ok != tt.ok {
				t.Errorf("%+v %v, want %+v %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

// pollerOf returns what polls the namespaces of hosts, beside the test's own.
func pollerOf(t testing.TB, sink collector.Sink, hosts ...*netns.Handle) *runner {
	t.Helper()
	own, err := netns.Own()
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{})
	s.find = func() (list []netns.Netns, err error) {
		for _, h := range hosts {
			list = append(list, netns.Netns{Inode: h.Inode(), Path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), h.FD())})
		}
		slices.SortFunc(list, func(a, b netns.Netns) int { return int(a.Inode) - int(b.Inode) })
		return list, nil
	}
	r := &runner{source: s, own: own, buffer: make([]byte, nlraw.BufferSize), reader: newReader(s.cfg.Now, sink)}
	t.Cleanup(r.close)
	return r
}

// A namespace without a flow is not dumped again before something changes in it; the first poll after that shows the
// flow, whatever opened it, and until then each poll says that there is none.
func TestKernelQuietNamespace(t *testing.T) {
	for _, tt := range []struct {
		name string
		open func(h *host, listener int) (port uint16)
	}{
		{"TCP", func(h *host, listener int) uint16 {
			h.pair("10.1.0.1:4001", "10.1.0.2:8000", listener)
			return 4001
		}},
		{"TCP without an answer", func(h *host, _ int) uint16 {
			h.connect(h.socket(syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, "10.1.0.1:4002"), "10.2.0.77:8000")
			return 4002
		}},
		{"UDP", func(h *host, _ int) uint16 {
			h.connect(h.socket(syscall.SOCK_DGRAM, "10.1.0.1:4003"), "10.1.0.2:53")
			return 4003
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t)
			for _, a := range []string{"10.1.0.1/24", "10.1.0.2/24"} {
				kerneltest.Command(t, h.ns, "ip", "address", "add", a, "dev", "lo")
			}
			kerneltest.Command(t, h.ns, "ip", "route", "add", "10.2.0.0/24", "dev", "lo") // where nobody answers
			listener := h.listen("10.1.0.2:8000", 8)
			rec := &recorder{}
			r := pollerOf(t, rec.sink, h.ns)
			poll := func() (events []collector.Event, dumps uint64) {
				t.Helper()
				if err := r.poll(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, e := range rec.take() {
					if e.Netns == h.ns.Inode() {
						events = append(events, e)
					}
				}
				return events, r.namespace(h.ns.Inode()).stats.Dumps
			}
			_, first := poll()
			for range 3 {
				events, dumps := poll()
				if len(events) != 2 || events[0].Kind != collector.Begin || events[1].Kind != collector.End || dumps != first {
					t.Fatalf("%d dumps, and events %s of a quiet namespace", dumps-first, story(events))
				}
			}
			port := tt.open(h, listener)
			events, dumps := poll()
			shown := slices.ContainsFunc(events, func(e collector.Event) bool {
				return e.Kind == collector.Seen && e.Flow.Source.Port() == port
			})
			if !shown || dumps != first+1 {
				t.Errorf("%d dumps, and events %s once a flow has opened", dumps-first, story(events))
			}
			if _, again := poll(); again != dumps+1 {
				t.Errorf("%d dumps while there is a flow", again-dumps)
			}
		})
	}
}

// What 200 namespaces of idle pods cost: a poll and what comes until the next, of a core.
func BenchmarkIdleNamespaces(b *testing.B) {
	var hosts []*netns.Handle
	for range 200 {
		hosts = append(hosts, kerneltest.Netns(b))
	}
	r := pollerOf(b, func(context.Context, []collector.Event) error { return nil }, hosts...)
	if err := r.poll(b.Context()); err != nil {
		b.Fatal(err)
	}
	start := kerneltest.CPUTime(b, unix.RUSAGE_SELF)
	for b.Loop() {
		if err := r.poll(b.Context()); err != nil {
			b.Fatal(err)
		}
		for range r.source.cfg.Interval / drainEvery {
			r.drained = 0
			if err := r.drain(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	spent := (kerneltest.CPUTime(b, unix.RUSAGE_SELF) - start) / time.Duration(b.N)
	b.ReportMetric(100*spent.Seconds()/r.source.cfg.Interval.Seconds(), "%core")
}
