package detector

import (
	"fmt"
	"math"
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

// A flow of it has packets all day, so that it does not go idle.
func benchEvent(k collector.Kind, t collector.Time) collector.Event {
	return collector.Event{Kind: k, At: t, Netns: 1, Flow: collector.Flow{
		Protocol: collector.TCP, State: collector.Established, Netns: 1, Translated: true,
		Opened: exactly(1), Active: at(86400),
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

const (
	million = 1_000_000
	// benchBatch is how many events conntrack's source hands over at once.
	benchBatch = 256
)

// feeder hands events to a ledger in batches, as a source does.
type feeder struct {
	ledger *Ledger
	events []collector.Event
}

// next is the event to fill.
func (f *feeder) next() *collector.Event {
	if len(f.events) == cap(f.events) {
		f.flush()
	}
	f.events = f.events[:len(f.events)+1]
	return &f.events[len(f.events)-1]
}

func (f *feeder) flush() {
	if f.ledger != nil {
		f.ledger.ApplyAll(f.events)
	}
	f.events = f.events[:0]
}

func newFeeder(l *Ledger) *feeder { return &feeder{l, make([]collector.Event, 0, benchBatch)} }

// churn makes flows come and go beside those that stay: ten thousand events a second of the
// ledger's clock. A port comes round after 20 s, which is 5 s after it was released, so that
// each open makes an entry and each release frees one.
type churn struct {
	*feeder
	step int
	now  collector.Time
}

const (
	staying = million * 9 / 10
	coming  = million / 10
	lag     = 1000
)

func (c *churn) event() {
	e := c.next()
	c.now += collector.Time(100 * time.Microsecond)
	opens := c.step/2 + lag
	if c.step%2 == 1 {
		opens = c.step / 2
	}
	if c.step%2 == 0 {
		*e = benchEvent(collector.Opened, c.now)
		e.Flow.Active = c.now
	} else {
		*e = benchEvent(collector.Closed, c.now)
		e.Flow.State, e.Flow.Reason = collector.Done, collector.RST
		e.Flow.Ended = collector.Interval{From: c.now, To: c.now}
	}
	fill(e, staying+opens%coming)
	e.Flow.ID += uint32(2 * million * (opens / coming))
	e.Flow.Opened = collector.Interval{From: c.now, To: c.now}
	c.step++
}

// An event of each kind with a million flows live, without the ticks of the forecasts, which
// are a thing of each second and not of each event: BenchmarkForecast has them. apply-ns is
// CPU time without what it takes to make the events. The ratio is to one look-up in Go's
// map of as many flows right after, which says what the machine's memory costs at the time.
func BenchmarkLedgerApply(b *testing.B) {
	flows := map[netip.AddrPort]uint32{}
	e := benchEvent(collector.Seen, at(2))
	for i := range million {
		fill(&e, i)
		flows[e.Flow.VIP] = e.Flow.ID
	}
	perEvent := func(b *testing.B, n int, event func(i int)) float64 {
		before := cpuTime(b)
		for i := range n {
			event(i)
		}
		return float64(cpuTime(b)-before) / float64(n)
	}
	run := func(b *testing.B, apply, prepare func(i int)) {
		b.ReportAllocs()
		b.ResetTimer()
		ns := perEvent(b, b.N, apply)
		b.StopTimer()
		ns -= perEvent(b, million, prepare)
		lookUp := perEvent(b, million, func(i int) {
			fill(&e, i)
			if flows[e.Flow.VIP] == 0 {
				b.Fatal("lost")
			}
		}) - perEvent(b, million, func(i int) { fill(&e, i) })
		b.ReportMetric(ns, "apply-ns")
		b.ReportMetric(lookUp, "map-ns")
		b.ReportMetric(ns/lookUp, "×map")
	}
	for _, forecast := range []int{1, 1000} {
		name := fmt.Sprintf("forecast=%d/", forecast)
		b.Run(name+"seen", func(b *testing.B) {
			l := full(million, forecast)
			l.Apply(&collector.Event{Kind: collector.Begin, At: at(2), Netns: 1})
			show := func(f *feeder) func(int) {
				return func(i int) {
					n := f.next()
					*n = e
					n.Kind = collector.Seen
					fill(n, i%million)
				}
			}
			run(b, show(newFeeder(l)), show(newFeeder(nil)))
		})
		b.Run(name+"open-close", func(b *testing.B) {
			l := full(staying, forecast)
			l.forecastAt = math.MaxInt64
			c := &churn{feeder: newFeeder(l), now: at(2)}
			for range 4 * coming {
				c.event()
			}
			idle := &churn{feeder: newFeeder(nil), now: at(2)}
			run(b, func(int) { c.event() }, func(int) { idle.event() })
		})
	}
}

// cpuTime is the CPU time of this process, which others disturb less than the time on the wall.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
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

// The pause when a million flows outgrow the slots they are found by.
func BenchmarkLedgerGrow(b *testing.B) {
	l := full(million, 1)
	slots := l.table.slots
	b.ResetTimer()
	before := cpuTime(b)
	for range b.N {
		l.table.slots = slots
		l.table.grow()
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N)/1e6, "cpu-ms")
}
