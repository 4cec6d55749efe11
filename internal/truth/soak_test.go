package truth

import (
	"context"
	"net"
	"testing"
	"time"
)

// BenchmarkSoak opens 200 flows a second for as long as SNATWATCH_SOAK says, from 8,000 ports in turns, which come round
// every 40 s, and to one destination, beside the program SNATWATCH_AGENT in two processes: one polls, one reads events. Whenever it looks, what
// opened has closed or is live, and the ledgers are exact; in the end they have counted as many flows as were opened.
func BenchmarkSoak(b *testing.B) {
	length, err := time.ParseDuration(environment(b, "SNATWATCH_SOAK"))
	if err != nil {
		b.Fatal(err)
	}
	program := environment(b, "SNATWATCH_AGENT")
	const rate, held = 200, 20
	m := newMachine(b, 1)
	m.ports = 8000
	sysctl(b, m.ns, "ipv4/tcp_tw_reuse", "1")
	agents := []*agent{
		m.watch("poll", 9961, program, "--strategy=poll"),
		m.watch("events", 9962, program, "--strategy=events"),
	}
	begun := make([]usage, len(agents))
	for i, a := range agents {
		begun[i] = a.usage()
	}
	ctx, cancel := context.WithTimeout(b.Context(), length)
	defer cancel()
	ended := make(chan struct{})
	start := time.Now()
	go func() { defer close(ended); m.generate(ctx, rate) }()
	looks := 0
	for looking := true; looking; {
		select {
		case <-ended:
			looking = false
		case <-time.After(10 * time.Second):
		}
		for _, a := range agents {
			s := a.scrape()
			if c := s.counted(); c.opened != c.closed+c.live {
				b.Errorf("%s after %v: opened %d, closed %d, live %d", a.name, time.Since(start), c.opened, c.closed, c.live)
			}
			if s["snat_ledger_exact"] != 1 {
				b.Errorf("%s after %v: the ledger is not exact", a.name, time.Since(start))
			}
			looks++
		}
	}
	took := time.Since(start)
	var stay [held]*net.TCPConn
	err = m.ns.Do(func() (err error) {
		for i := range stay {
			if stay[i], err = m.connect(m.opened.Load()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	n := m.opened.Load()
	for i, a := range agents {
		u := a.usage()
		b.ReportMetric((u.cpu-begun[i].cpu).Seconds()/took.Seconds()*100, a.name+"-%-of-a-core")
		b.ReportMetric(float64(u.peak)/1e6, a.name+"-MB")
		want := counted{n, n - held, held}
		got := a.settles(want)
		b.ReportMetric(float64(got.opened), a.name+"-opened")
		b.ReportMetric(float64(got.closed), a.name+"-closed")
		b.ReportMetric(float64(got.live), a.name+"-live")
		if got != want {
			b.Errorf("%s: opened, closed, live %v, want %v", a.name, got, want)
		}
	}
	for _, c := range stay {
		_ = c.Close()
	}
	for _, a := range agents {
		if want, got := (counted{n, n, 0}), a.settles(counted{n, n, 0}); got != want {
			b.Errorf("%s in the end: opened, closed, live %v, want %v", a.name, got, want)
		}
	}
	b.ReportMetric(float64(n), "generated")
	b.ReportMetric(float64(looks), "looks")
	b.ReportMetric(0, "ns/op")
}
