package truth

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/mdlayher/netlink"
	oracle "github.com/ti-mo/conntrack"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

const (
	dumpEvery   = 2 * time.Second // of the tools that agents are compared with
	scrapeEvery = 5 * time.Second
)

// BenchmarkAgent runs the program SNATWATCH_AGENT beside SNATWATCH_BEFORE, an older build of it, and beside what people
// use today, over a table of 100,000 live flows while 1,000 open in each second, for as long as SNATWATCH_MEASURE says.
// All of them run at the same time. It prints what each took, and fails if the agent has not counted every flow.
func BenchmarkAgent(b *testing.B) {
	length, err := time.ParseDuration(environment(b, "SNATWATCH_MEASURE"))
	if err != nil {
		b.Fatal(err)
	}
	program, before := environment(b, "SNATWATCH_AGENT"), environment(b, "SNATWATCH_BEFORE")
	const live, rate, servers = 100_000, 1_000, 20
	m := newMachine(b, servers)
	m.ports = 28_001 // which 20 does not divide: no five-tuple comes twice before 560,020 flows
	m.fill(live)
	ours := m.watch("agent", 9961, program, "--strategy=poll")
	often := m.watch("agent, each 2 s", 9962, program, "--strategy=poll", "--cpu-budget=1")
	oldChooses := m.watch("older agent that chooses", 9969, before)
	old := m.watch("older agent", 9963, before, "--strategy=poll")
	oldOften := m.watch("older agent, each 2 s", 9964, before, "--strategy=poll", "--cpu-budget=1")
	frugal := m.watch("agent, half its CPU budget", 9967, program, "--strategy=poll", "--cpu-budget=0.01")
	chooses := m.watch("agent that chooses", 9968, program) // as users start it
	recording := m.watch("agent that records", 9966, program, "--strategy=poll", "--cpu-budget=1", "--record.out="+b.TempDir())
	exporter := m.start("node_exporter", 9965, kerneltest.Program(b, "prometheus-node-exporter", "prometheus-node-exporter"),
		"--collector.disable-defaults", "--collector.conntrack", "--collector.tcpstat", "--web.listen-address=127.0.0.1:9965")
	peer := m.start("ti-mo/conntrack, each 2 s", 0, "/proc/self/exe", "-test.run=^$", "-test.bench=^BenchmarkOracle$", "-test.benchtime=1x")
	exporter.scrape()

	ctx, cancel := context.WithTimeout(b.Context(), length)
	defer cancel()
	agents := []*agent{chooses, ours, frugal, often, recording, oldChooses, old, oldOften}
	running := append(slices.Clone(agents), exporter, peer)
	begun := make([]usage, len(running))
	for i, a := range running {
		begun[i] = a.usage()
	}
	start := time.Now()
	var group sync.WaitGroup
	group.Go(func() { m.generate(ctx, rate) })
	for _, a := range append(slices.Clone(agents), exporter) {
		group.Go(func() {
			for ; ctx.Err() == nil; time.Sleep(scrapeEvery) {
				a.scrape()
			}
		})
	}
	var tool usage
	lists := 0
	group.Go(func() { tool, lists = m.list(ctx) })
	group.Wait()
	took := time.Since(start)

	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintf(table, "\t%% of a core\tof conntrack -L\tMB at most\t\n")
	line := func(name string, cpu time.Duration, peak int) {
		_, _ = fmt.Fprintf(table, "%s\t%.2f\t%.2f\t%.0f\t\n", name, 100*cpu.Seconds()/took.Seconds(), cpu.Seconds()/tool.cpu.Seconds(), float64(peak)/1e6)
	}
	// Where the machine is too busy for one each two seconds, they count as if they had been.
	wanted := int(took / dumpEvery)
	tool.cpu = tool.cpu * time.Duration(wanted) / time.Duration(lists)
	line("conntrack -L, each 2 s", tool.cpu, tool.peak)
	used := map[*agent]usage{}
	for i, a := range running {
		u := a.usage()
		u.cpu -= begun[i].cpu
		used[a] = u
		line(a.name, u.cpu, u.peak)
	}
	if err := table.Flush(); err != nil {
		b.Fatal(err)
	}
	// A benchmark's own log is cut after ten lines.
	fmt.Printf("%d flows live, %d opened in %v; conntrack -L ran %d times of %d\n%s", live, m.opened.Load(),
		took.Round(time.Second), lists, wanted, &text)
	b.ReportMetric(used[chooses].cpu.Seconds()/tool.cpu.Seconds(), "chooses-of-conntrack-L")
	b.ReportMetric(used[chooses].cpu.Seconds()/used[oldChooses].cpu.Seconds(), "chooses-of-older-chooses")
	b.ReportMetric(used[chooses].cpu.Seconds()/used[oldOften].cpu.Seconds(), "chooses-of-older-each-2s")
	b.ReportMetric(used[ours].cpu.Seconds()/tool.cpu.Seconds(), "of-conntrack-L")
	b.ReportMetric(used[often].cpu.Seconds()/tool.cpu.Seconds(), "of-conntrack-L-each-2s")
	b.ReportMetric(used[ours].cpu.Seconds()/used[old].cpu.Seconds(), "of-older")
	b.ReportMetric(used[often].cpu.Seconds()/used[oldOften].cpu.Seconds(), "of-older-each-2s")
	b.ReportMetric(used[recording].cpu.Seconds()/used[often].cpu.Seconds(), "recording-of-agent")
	b.ReportMetric(0, "ns/op")

	n := m.opened.Load()
	for _, a := range []*agent{chooses, ours, frugal, often, recording} {
		want := counted{n, n, live}
		if got := a.settles(want); got != want {
			b.Errorf("%s: opened, closed, live %v, want %v", a.name, got, want)
		}
	}
	fmt.Printf("older agent: opened, closed, live %v, %v and %v of %d\n", oldChooses.scrape().counted(), old.scrape().counted(),
		oldOften.scrape().counted(), n)
}

// fill puts established flows to 2,000 destinations into the kernel's table.
func (m *machine) fill(flows int) {
	m.b.Helper()
	c, err := oracle.Dial(&netlink.Config{NetNS: m.ns.FD()})
	if err != nil {
		m.b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for i := range flows {
		far := netip.AddrFrom4([4]byte{203, 0, byte(i % 2000 >> 8), byte(i % 2000)})
		f := oracle.NewFlow(uint8(collector.TCP), oracle.StatusConfirmed|oracle.StatusAssured|oracle.StatusSeenReply,
			netip.MustParseAddr("10.81.0.1"), far, uint16(10_000+i/2000), 443, 86_400, 0)
		f.ProtoInfo.TCP = &oracle.ProtoInfoTCP{State: 3}
		if err := c.Create(f); err != nil {
			m.b.Fatal(err)
		}
	}
}

// list runs conntrack -L every two seconds until ctx ends, and returns what all runs took, and their number.
func (m *machine) list(ctx context.Context) (all usage, runs int) {
	program := kerneltest.Program(m.b, "conntrack", "conntrack")
	next := time.NewTicker(dumpEvery)
	defer next.Stop()
	for ctx.Err() == nil {
		cmd := exec.Command(program, "-L") // into nothing
		if err := m.ns.Do(cmd.Run); err != nil {
			m.b.Errorf("conntrack -L: %v", err)
			return all, runs
		}
		runs++
		all.cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			all.peak = max(all.peak, int(r.Maxrss)<<10)
		}
		select {
		case <-next.C:
		case <-ctx.Done():
		}
	}
	return all, runs
}

// BenchmarkOracle is the process that BenchmarkAgent starts to dump the table with ti-mo/conntrack every two seconds.
func BenchmarkOracle(b *testing.B) {
	environment(b, "SNATWATCH_MEASURE")
	c, err := oracle.Dial(nil)
	if err != nil {
		b.Fatal(err)
	}
	for parent := os.Getppid(); os.Getppid() == parent; {
		next := time.After(dumpEvery)
		if _, err := c.Dump(nil); err != nil {
			b.Fatal(err)
		}
		<-next
	}
}
