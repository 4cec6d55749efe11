package ledger

import (
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
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

func benchBudget() *budget.Budget {
	b := azure()
	b.TCP.Ports, b.TCP.Effective = 64000, 64000
	return b
}

// full is a ledger with n flows live, dumped once.
func full(n, forecast int) *Ledger {
	l := New(Config{Budgets: []*budget.Budget{benchBudget()}, Start: at(0), ForecastMax: forecast})
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

// churn makes flows come and go, ten thousand events of the ledger's clock a second: open number n is
// of flow n + ahead, close number n of flow ends(n). A port comes round after ring flows, when it was
// released for seconds, so that each open makes an entry and each release frees one.
type churn struct {
	first, ring, ahead int
	ends               func(n int) int
	step               int
	now                collector.Time
}

// shortChurn is beside 900 000 flows that stay: each flow lives for 0.2 s, and all that an event is
// about was in the caches then.
func shortChurn() *churn {
	return &churn{first: million * 9 / 10, ring: million / 10, ahead: 1000, ends: func(n int) int { return n }, now: at(2)}
}

// anyChurn ends any of a million flows, which are 200 s old on average: nothing that an event
// is about is in the caches.
func anyChurn() *churn {
	const prime = 611_953
	return &churn{ring: 3 * million, ahead: million, now: at(2), ends: func(n int) int {
		return n - n%million + n%million*prime%million
	}}
}

func (c *churn) next(e *collector.Event) {
	c.now += collector.Time(100 * time.Microsecond)
	n := c.step / 2
	if c.step%2 == 0 {
		*e = benchEvent(collector.Opened, c.now)
		n += c.ahead
	} else {
		*e = benchEvent(collector.Closed, c.now)
		e.Flow.State, e.Flow.Reason = collector.Done, collector.RST
		e.Flow.Ended = collector.Interval{From: c.now, To: c.now}
		n = c.ends(n)
	}
	e.Flow.Opened = collector.Interval{From: c.now, To: c.now}
	fill(e, c.first+n%c.ring)
	e.Flow.ID += uint32(n / c.ring * 8 * million)
	c.step++
}

// An event of each kind with a million flows live. One event is one that a source hands over: an open, a
// close or a flow that a dump shows. apply-ns is the CPU time of ApplyAll: the timers and releases that come due
// are in it, and what forecasts take in of each event. The making of events, which is the work of sources, and the
// ticks of forecasts, which BenchmarkForecast measures, are not. The ratio is to one look-up in a Go map of as many
// flows right after, which says what memory costs on the machine at the time.
func BenchmarkLedgerApply(b *testing.B) {
	flows := map[netip.AddrPort]uint32{}
	for i := range million {
		e := benchEvent(collector.Seen, at(2))
		fill(&e, i)
		flows[e.Flow.VIP] = e.Flow.ID
	}
	batch := make([]collector.Event, benchBatch)
	run := func(b *testing.B, l *Ledger, next func(e *collector.Event)) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		l.forecasts.madeAt = math.MaxInt64
		ticked := forecast.Second(l.clock.now)
		apply := func(n int) (spent time.Duration) {
			for ; n > 0; n -= benchBatch {
				events := batch[:min(n, benchBatch)]
				for i := range events {
					next(&events[i])
				}
				start := kerneltest.ThreadTime(b)
				ApplyAll(events, l)
				spent += kerneltest.ThreadTime(b) - start
				if forecast.Second(l.clock.now) > ticked {
					ticked, l.forecasts.madeAt = forecast.Second(l.clock.now), 0
					l.forecasts.make()
					l.forecasts.madeAt = math.MaxInt64
				}
			}
			return spent
		}
		apply(400_000) // ports cool down by then
		b.ReportAllocs()
		b.ResetTimer()
		spent := apply(b.N)
		b.StopTimer()
		ns := float64(spent) / float64(b.N)
		var lookUp time.Duration
		for i := 0; i < million; i += benchBatch {
			for k := range batch {
				fill(&batch[k], (i+k)*7919%million)
			}
			start := kerneltest.ThreadTime(b)
			for k := range batch {
				if flows[batch[k].Flow.VIP] == 0 {
					b.Fatal("lost")
				}
			}
			lookUp += kerneltest.ThreadTime(b) - start
		}
		b.ReportMetric(ns, "apply-ns")
		b.ReportMetric(float64(lookUp)/million, "map-ns")
		b.ReportMetric(ns*million/float64(lookUp), "×map")
	}
	for _, forecast := range []int{1, 1000} {
		name := fmt.Sprintf("forecast=%d/", forecast)
		b.Run(name+"seen", func(b *testing.B) {
			l := full(million, forecast)
			l.Apply(&collector.Event{Kind: collector.Begin, At: at(2), Netns: 1})
			i := 0
			run(b, l, func(e *collector.Event) {
				*e = benchEvent(collector.Seen, at(2))
				fill(e, i%million)
				i++
			})
		})
		open := func(c *churn, live int) func(*testing.B) {
			return func(b *testing.B) {
				run(b, full(live, forecast), c.next)
			}
		}
		b.Run(name+"open-close-short", open(shortChurn(), million*9/10))
		b.Run(name+"open-close-any", open(anyChurn(), million))
	}
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
				l.Snapshot(l.clock.now)
			}
		})
	}
}

// The sweep at a dump's end, and a whole dump into the ledger.
func BenchmarkLedgerSweep(b *testing.B) {
	l := full(million, 1)
	for b.Loop() {
		n := l.namespaces.of(1)
		n.dumping = true
		l.flows.endDump(n, l.clock.now, false, false)
	}
}

// The pause when a million flows outgrow the slots they are found by.
func BenchmarkLedgerGrow(b *testing.B) {
	l := full(million, 1)
	buckets := l.flows.table.buckets
	b.ResetTimer()
	before := kerneltest.CPUTime(b, unix.RUSAGE_SELF)
	for range b.N {
		l.flows.table.buckets = buckets
		l.flows.table.grow()
	}
	b.ReportMetric(float64(kerneltest.CPUTime(b, unix.RUSAGE_SELF)-before)/float64(b.N)/1e6, "cpu-ms")
}

// What the flow table's reading ahead is worth on the dump path: the same events one by one, with the lines read ahead by
// reads that wait for them, and as ApplyAll does, in turns.
func BenchmarkLedgerReadAhead(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l := full(million, 1)
	l.forecasts.madeAt = math.MaxInt64
	l.Apply(&collector.Event{Kind: collector.Begin, At: at(2), Netns: 1})
	warmed := uint64(0)
	ways := []struct {
		name  string
		apply func(events []collector.Event)
		spent time.Duration
	}{
		{name: "one-by-one", apply: func(events []collector.Event) {
			for i := range events {
				l.Apply(&events[i])
			}
		}},
		{name: "by-reads", apply: func(events []collector.Event) {
			t, a := &l.flows.table, &l.ahead
			a.lookUp(&l.matcher.keyer, events)
			for i := range events {
				warmed += t.buckets[t.home(a.lookups[i].key.hi)].tags
			}
			for i := range events {
				a.entries[i] = t.candidate(a.lookups[i].key)
			}
			for i := range events {
				warmed += uint64(t.at(a.entries[i]).span)
			}
			for i := range events {
				l.apply(&events[i], &a.lookups[i], a.entries[i])
			}
		}},
		{name: "prefetched", apply: func(events []collector.Event) { ApplyAll(events, l) }},
	}
	batch := make([]collector.Event, readAhead)
	n := 0
	for b.Loop() {
		for range 1000 {
			for w := range ways {
				for i := range batch {
					batch[i] = benchEvent(collector.Seen, at(2))
					fill(&batch[i], n%million)
					n++
				}
				start := kerneltest.ThreadTime(b)
				ways[w].apply(batch)
				ways[w].spent += kerneltest.ThreadTime(b) - start
			}
		}
	}
	if warmed == 0 {
		b.Fatal("nothing was read")
	}
	for _, w := range ways {
		b.ReportMetric(float64(w.spent)/float64(b.N*1000*readAhead), w.name+"-ns")
	}
}

// What reading ahead is worth where timers come due: open and close of any of a million flows in two ledgers in turns, one
// of which handles its timers one by one.
func BenchmarkLedgerTimersReadAhead(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	type way struct {
		ledger *Ledger
		churn  *churn
		spent  time.Duration
	}
	ways := [2]way{}
	for w := range ways {
		ways[w] = way{ledger: full(million, 1), churn: anyChurn()}
		ways[w].ledger.forecasts.madeAt = math.MaxInt64
	}
	alone := &ways[0].ledger.flows
	alone.expire = func(timers []timer) {
		for i := range timers {
			if t := timers[i]; t.of&chunkTimer != 0 {
				alone.chunkExpired(t.of&^chunkTimer, t.due)
			} else {
				alone.flowExpired(t.of, t.due)
			}
		}
	}
	batch := make([]collector.Event, benchBatch)
	apply := func(n int) {
		for ; n > 0; n -= benchBatch {
			for w := range ways {
				for i := range batch {
					ways[w].churn.next(&batch[i])
				}
				start := kerneltest.ThreadTime(b)
				ApplyAll(batch, ways[w].ledger)
				ways[w].spent += kerneltest.ThreadTime(b) - start
			}
		}
	}
	apply(400_000) // ports cool down by then
	ways[0].spent, ways[1].spent = 0, 0
	b.ResetTimer()
	apply(b.N)
	b.ReportMetric(float64(ways[0].spent)/float64(b.N), "one-by-one-ns")
	b.ReportMetric(float64(ways[1].spent)/float64(b.N), "prefetched-ns")
	b.ReportMetric(float64(ways[1].spent)/float64(ways[0].spent), "prefetched-of-one-by-one")
}
