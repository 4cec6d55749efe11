package truth

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"
)

// BenchmarkMissed prints how many flows agents miss whose five-tuples open again before the next dump: of each kind of
// traffic for as long as SNATWATCH_MISSED says, beside the program SNATWATCH_AGENT in three processes, which poll each
// 2 s, poll as rarely as the kernel's timeouts allow, and read events. It fails if an agent misses more than one flow in
// a hundred and has called itself exact each time that it was looked at.
func BenchmarkMissed(b *testing.B) {
	length, err := time.ParseDuration(environment(b, "SNATWATCH_MISSED"))
	if err != nil {
		b.Fatal(err)
	}
	program := environment(b, "SNATWATCH_AGENT")
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "traffic\topened\tback within 2 s\twithin 8 s\tagent\tmissed\tlooks, exact")
	for _, traffic := range []struct {
		name           string
		servers, ports int // as in machine
		rate           int // flows a second
	}{
		{"one destination, 200 a second from 8,000 ports", 1, 8_000, 200},
		{"one destination, 200 a second from 1,000 ports", 1, 1_000, 200},
		{"20 destinations, 1,000 a second, ports by the kernel", 20, 0, 1_000},
		{"the same rate, no five-tuple twice", 20, 28_001, 1_000},
	} {
		b.Run(traffic.name, func(b *testing.B) {
			m := newMachine(b, traffic.servers)
			m.ports = traffic.ports
			if m.ports > 0 {
				sysctl(b, m.ns, "ipv4/tcp_tw_reuse", "1")
			}
			m.again = newAgain(traffic.servers)
			agents := []*agent{
				m.watch("poll, each 2 s", 9961, program, "--strategy=poll", "--cpu-budget=1"),
				m.watch("poll, each 8 s", 9962, program, "--strategy=poll", "--cpu-budget=0.00001"),
				m.watch("events", 9963, program, "--strategy=events"),
			}
			exact := make([]int, len(agents))
			looks := 0
			look := func() {
				for i, a := range agents {
					exact[i] += int(a.scrape()["snat_ledger_exact"])
				}
				looks++
			}
			ctx, cancel := context.WithTimeout(b.Context(), length)
			defer cancel()
			var group sync.WaitGroup
			group.Go(func() { m.generate(ctx, traffic.rate) })
			for ctx.Err() == nil {
				time.Sleep(time.Second)
				look()
			}
			group.Wait()
			n := m.opened.Load()
			for i, a := range agents {
				got := a.rests(look)
				_, _ = fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\t%d\t%d, %d\n", traffic.name, n, m.again.soon.Load(),
					m.again.later.Load(), a.name, int64(n)-int64(got.opened), looks, exact[i])
				if missed := int64(n) - int64(got.opened); missed*100 > int64(n) && exact[i] == looks {
					b.Errorf("%s: %d of %d missed, and exact all the time", a.name, missed, n)
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
	if err := table.Flush(); err != nil {
		b.Fatal(err)
	}
	fmt.Print(&text)
}

// rests waits until a counts no flow as live and no more as opened for longer than dumps are apart, and looks meanwhile.
func (a *agent) rests(look func()) counted {
	a.m.b.Helper()
	const apart = 12 * time.Second
	var last counted
	since := time.Now()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		look()
		if got := a.scrape().counted(); got != last || got.live != 0 {
			last, since = got, time.Now()
		}
		if time.Since(since) > apart {
			return last
		}
	}
	a.m.b.Errorf("%s: does not come to rest: opened, closed, live %v", a.name, last)
	return last
}

// again counts the five-tuples that opened again soon after the time before.
type again struct {
	opened      []atomic.Int64 // when each five-tuple opened last, in ns, by server and port
	soon, later atomic.Int64   // within 2 s, and within 8 s
}

func newAgain(servers int) *again { return &again{opened: make([]atomic.Int64, servers<<16)} }

// open notes that the port opened to that server.
func (a *again) open(server int, port uint16) {
	now := time.Now().UnixNano()
	before := a.opened[server<<16|int(port)].Swap(now)
	if before == 0 {
		return
	}
	if apart := time.Duration(now - before); apart < 8*time.Second {
		a.later.Add(1)
		if apart < 2*time.Second {
			a.soon.Add(1)
		}
	}
}
