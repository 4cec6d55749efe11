package record

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/ledger"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// BenchmarkKernelRecordBesideDump compares a dump into a record with one into nothing, in turns; times are CPU time.
func BenchmarkKernelRecordBesideDump(b *testing.B) {
	ns := kerneltest.Netns(b)
	kerneltest.Command(b, ns, "nft",
		"table ip t { chain post { type nat hook postrouting priority 100; ip daddr 127.0.0.0/8 snat to 127.0.0.9; }; }")
	const destinations, ports = 200, 250
	var sockets []net.PacketConn
	err := ns.Do(func() error {
		for range ports {
			c, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				return err
			}
			sockets = append(sockets, c)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range sockets {
		for i := range destinations {
			if _, err := c.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(127, 0, 1, byte(i+1)), Port: 9}); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
				b.Fatal(err)
			}
		}
		_ = c.Close()
	}
	src, err := conntrack.New(conntrack.Config{Netns: ns})
	if err != nil {
		b.Fatal(err)
	}
	w, err := openFiles(b.TempDir(), time.Hour, 1<<30, []byte("head\n"))
	if err != nil {
		b.Fatal(err)
	}
	t := newTable(w, nil)
	dump := func(sink collector.Sink) time.Duration {
		before := kerneltest.CPUTime(b, unix.RUSAGE_SELF)
		if err := src.Dump(context.Background(), sink); err != nil {
			b.Fatal(err)
		}
		return kerneltest.CPUTime(b, unix.RUSAGE_SELF) - before
	}
	nothing := func(context.Context, []collector.Event) error { return nil }
	dump(nothing)
	dump(t.take)
	var plain, recorded, ratios []float64
	for b.Loop() {
		p, r := dump(nothing), dump(t.take)
		plain, recorded = append(plain, p.Seconds()), append(recorded, r.Seconds())
		ratios = append(ratios, r.Seconds()/p.Seconds())
	}
	for _, all := range [][]float64{plain, recorded, ratios} {
		slices.Sort(all)
	}
	b.ReportMetric(float64(src.Stats().Flows), "flows")
	b.ReportMetric(plain[len(plain)/2]*1e3, "plain-ms")
	b.ReportMetric(recorded[len(recorded)/2]*1e3, "record-ms")
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	if len(t.index) == 0 {
		b.Error("the record has no flows")
	}
}

// steadyDumps are dumps of the table that BenchmarkAgent of internal/truth makes: flows that stay, flows that ended within
// two minutes, and each time some that opened and ended since the dump before.
type steadyDumps struct {
	live, ended, fresh int
	number             int
	events             []collector.Event
}

func (s *steadyDumps) flow(i int, e *collector.Event) {
	f := &e.Flow
	*f = collector.Flow{Protocol: collector.TCP, State: collector.Established, ID: uint32(i)*2_654_435_761 + 1, Netns: 1, Translated: true}
	f.Source = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 81, byte(i >> 24), byte(i >> 16)}), uint16(i))
	f.VIP = f.Source
	f.Destination = netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(i % 2000 >> 8), byte(i % 2000)}), 443)
	f.Opened.To = e.At
}

// next hands the next dump to sink in batches as large as those of conntrack.
func (s *steadyDumps) next(b *testing.B, sink collector.Sink) {
	b.Helper()
	const batch = 64
	now := base.Add(time.Duration(s.number) * 2 * time.Second)
	send := func() {
		if err := sink(b.Context(), s.events); err != nil {
			b.Fatal(err)
		}
		s.events = s.events[:0]
	}
	add := func(e *collector.Event) {
		if s.events = append(s.events, *e); len(s.events) == batch {
			send()
		}
	}
	mark := func(k collector.Kind) {
		s.events = append(s.events, collector.Event{Kind: k, At: now, Netns: 1})
		send()
	}
	mark(collector.Begin)
	e := collector.Event{Kind: collector.Seen, At: now, Netns: 1}
	for i := range s.live {
		s.flow(i, &e)
		add(&e)
	}
	first := s.live + s.number*s.fresh
	for i := first - s.ended; i < first+s.fresh; i++ {
		if i < s.live {
			continue
		}
		s.flow(i, &e)
		e.Flow.State, e.Flow.Reason = collector.Done, collector.FIN
		end := base.Add(time.Duration((i-s.live)/s.fresh)*2*time.Second - time.Second)
		e.Flow.Ended, e.Flow.Opened.To = collector.Interval{From: end.Add(-time.Second), To: end}, end
		add(&e)
	}
	mark(collector.End)
	s.number++
}

// BenchmarkRecordBesideLedger compares what a dump costs the record with what it costs the ledger, in turns.
func BenchmarkRecordBesideLedger(b *testing.B) {
	dumps := func() *steadyDumps { return &steadyDumps{live: 100_000, ended: 120_000, fresh: 2000} }
	w, err := openFiles(b.TempDir(), time.Hour, 1<<30, []byte("head\n"))
	if err != nil {
		b.Fatal(err)
	}
	t := newTable(w, nil)
	resolved, err := budget.Resolve(budget.Params{Name: "nat", Model: "static", Ports: 64_000})
	if err != nil {
		b.Fatal(err)
	}
	l := ledger.New(ledger.Config{Budgets: []*budget.Budget{resolved}, Start: base, Owners: true})
	discard, recorded, counted := dumps(), dumps(), dumps()
	took := func(d *steadyDumps, sink collector.Sink) time.Duration {
		before := kerneltest.CPUTime(b, unix.RUSAGE_SELF)
		d.next(b, sink)
		return kerneltest.CPUTime(b, unix.RUSAGE_SELF) - before
	}
	nothing := func(context.Context, []collector.Event) error { return nil }
	ledgers := func(_ context.Context, events []collector.Event) error { ledger.ApplyAll(events, l); return nil }
	for range 60 { // until as many have ended as there are
		took(recorded, t.take)
		took(counted, ledgers)
		discard.number++
	}
	var floor, record, ledger time.Duration
	for b.Loop() {
		floor += took(discard, nothing)
		record += took(recorded, t.take)
		ledger += took(counted, ledgers)
	}
	flows := float64(len(t.index) * b.N)
	b.ReportMetric(float64((record-floor).Nanoseconds())/flows, "record-ns/flow")
	b.ReportMetric(float64((ledger-floor).Nanoseconds())/flows, "ledger-ns/flow")
	b.ReportMetric((record-floor).Seconds()/(ledger-floor).Seconds(), "of-ledger")
	b.ReportMetric(0, "ns/op")
}
