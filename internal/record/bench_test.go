package record

import (
	"context"
	"errors"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// processTime is the CPU time of the process, user and system.
func processTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

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
		before := processTime(b)
		if err := src.Dump(context.Background(), sink); err != nil {
			b.Fatal(err)
		}
		return processTime(b) - before
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
