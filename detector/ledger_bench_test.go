package detector

import (
	"fmt"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// fill sets what tells flow i from others: its destination is one of 1000, and every
// fourth is IPv6. The rest of e stays, as a source decodes in place.
func fill(e *collector.Event, i int) {
	f := &e.Flow
	port := uint16(i)
	if i%4 == 0 {
		f.Destination = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i % 1000 >> 8), 15: byte(i % 1000)}), 443)
		f.VIP = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb9, 13: byte(i >> 16), 15: 1}), port)
	} else {
		f.Destination = netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(i % 1000 >> 8), byte(i % 1000)}), 443)
		f.VIP = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i >> 16)}), port)
	}
	f.Source = f.VIP
	f.ID = uint32(i)*2 + 1
}

func benchEvent(k collector.Kind, t collector.Time) collector.Event {
	return collector.Event{Kind: k, At: t, Netns: 1, Flow: collector.Flow{
		Protocol: collector.TCP, State: collector.Established, Netns: 1, Translated: true,
		Opened: exactly(1), Active: at(1),
	}}
}

func benchBudget() *Budget {
	b := azure()
	b.TCP.Ports, b.TCP.Effective = 64000, 64000
	return b
}

// full is a ledger with n flows live, dumped once.
func full(n, forecast int) *Ledger {
	l := NewLedger(LedgerConfig{Budgets: []*Budget{benchBudget()}, Start: at(0), ForecastMax: forecast})
	l.Apply(&collector.Event{Kind: collector.Begin, At: at(1), Netns: 1})
	e := benchEvent(collector.Seen, at(1))
	for i := range n {
		fill(&e, i)
		l.Apply(&e)
	}
	l.Apply(&collector.Event{Kind: collector.End, At: at(1), Netns: 1})
	return l
}

const million = 1_000_000

// An event of each kind with a million flows live. What it takes to write the flow into the
// event is measured alone, to be subtracted.
func BenchmarkLedgerApply(b *testing.B) {
	b.Run("fill", func(b *testing.B) {
		e := benchEvent(collector.Seen, at(2))
		defer reportCPU(b)()
		for i := range b.N {
			fill(&e, i%million)
		}
	})
	// One look-up in Go's map of as many flows: what the machine's memory costs right now.
	b.Run("map", func(b *testing.B) {
		flows := map[netip.AddrPort]uint32{}
		e := benchEvent(collector.Seen, at(2))
		for i := range million {
			fill(&e, i)
			flows[e.Flow.VIP] = e.Flow.ID
		}
		b.ResetTimer()
		defer reportCPU(b)()
		for i := range b.N {
			fill(&e, i%million)
			if flows[e.Flow.VIP] == 0 {
				b.Fatal("lost")
			}
		}
	})
	for _, forecast := range []int{1, 1000} {
		name := fmt.Sprintf("forecast=%d/", forecast)
		b.Run(name+"seen", func(b *testing.B) {
			l := full(million, forecast)
			l.Apply(&collector.Event{Kind: collector.Begin, At: at(2), Netns: 1})
			e := benchEvent(collector.Seen, at(2))
			b.ReportAllocs()
			b.ResetTimer()
			defer reportCPU(b)()
			for i := range b.N {
				fill(&e, i%million)
				l.Apply(&e)
			}
		})
		b.Run(name+"open-close", func(b *testing.B) {
			const live, churn, lag = million * 9 / 10, million / 10, 1000
			l := full(live, forecast)
			now := at(2)
			// Ten thousand events a second of the ledger's clock: a port comes round after 20 s, which
			// is 5 s after it was released, so that each open makes an entry and each release frees one.
			var e collector.Event
			step := func(i int) {
				now += collector.Time(100 * time.Microsecond)
				opens := i/2 + lag
				if i%2 == 1 {
					opens = i / 2
				}
				if i%2 == 0 {
					e = benchEvent(collector.Opened, now)
					fill(&e, live+opens%churn)
					e.Flow.Active = now
				} else {
					e = benchEvent(collector.Closed, now)
					fill(&e, live+opens%churn)
					e.Flow.State, e.Flow.Reason = collector.Done, collector.RST
					e.Flow.Ended = collector.Interval{From: now, To: now}
				}
				e.Flow.ID += uint32(2 * million * (opens / churn))
				e.Flow.Opened = collector.Interval{From: now, To: now}
				l.Apply(&e)
			}
			for i := range 4 * churn {
				step(i)
			}
			b.ReportAllocs()
			b.ResetTimer()
			defer reportCPU(b)()
			for i := range b.N {
				step(i + 4*churn)
			}
		})
	}
}

// reportCPU reports CPU time, which other processes disturb less than the time on the wall.
func reportCPU(b *testing.B) func() {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Memory for each live flow, all that the ledger has included.
func BenchmarkLedgerMemory(b *testing.B) {
	for _, n := range []int{million, 700_000} {
		b.Run(fmt.Sprintf("flows=%d", n), func(b *testing.B) {
			for range b.N {
				before := heap()
				l := full(n, 1)
				b.ReportMetric(float64(heap()-before)/float64(n), "B/flow")
				runtime.KeepAlive(l)
			}
		})
	}
}

// A snapshot at a million flows against one at ten thousand, to the same destinations.
func BenchmarkLedgerSnapshot(b *testing.B) {
	for _, n := range []int{10_000, million} {
		b.Run(fmt.Sprintf("flows=%d", n), func(b *testing.B) {
			l := full(n, 1)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				l.Snapshot(l.now)
			}
		})
	}
}

// The sweep at a dump's end, and a whole dump into the ledger.
func BenchmarkLedgerSweep(b *testing.B) {
	l := full(million, 1)
	for b.Loop() {
		n := l.netnsOf(1)
		n.dumping = true
		l.endDump(n, l.now)
	}
}
