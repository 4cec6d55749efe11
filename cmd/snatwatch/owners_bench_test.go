package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/child"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// besidePods starts an agent on a machine of its own, as far as processes and networks go: beside it run as many idle
// pods, each a process in a namespace of its own. It returns what tells the agent's CPU time.
func besidePods(b *testing.B, pods int) (used func() float64) {
	b.Helper()
	script := fmt.Sprintf("ip link set lo up; for i in $(seq %d); do unshare -n sleep 600 & done; "+
		"exec %s --source=sockets --web.listen-address=127.0.0.1:0", pods, os.Args[0])
	cmd := exec.Command("unshare", "--mount-proc", "--pid", "--net", "--fork", "--kill-child", "sh", "-c", script)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	if err := child.Start(cmd); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return func() float64 {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", cmd.Process.Pid))
		if err == nil {
			text, err = os.ReadFile("/proc/" + strings.TrimSpace(string(text)) + "/stat")
		}
		var user, system int // fields 14 and 15, in ticks of 10 ms
		if err == nil {
			fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')'):]))
			_, err = fmt.Sscan(fields[12]+" "+fields[13], &user, &system)
		}
		if err != nil {
			b.Fatal(err)
		}
		return float64(user+system) / 100
	}
}

// What the whole agent takes of a core beside 200 idle pods, where it reads sockets and looks for owners, and what beside
// none, at the same time: a minute of CPU time, after the start.
func BenchmarkIdlePods(b *testing.B) {
	kerneltest.Require(b, netns.SysAdmin, netns.NetAdmin)
	const start, measured = 30 * time.Second, time.Minute
	with, without := besidePods(b, 200), besidePods(b, 0)
	time.Sleep(start)
	for b.Loop() {
		before, beforeWithout := with(), without()
		time.Sleep(measured)
		share := func(spent float64) float64 { return 100 * spent / measured.Seconds() }
		b.ReportMetric(share(with()-before), "200-pods-%core")
		b.ReportMetric(share(without()-beforeWithout), "no-pods-%core")
		b.ReportMetric(share(with()-before-(without()-beforeWithout)), "more-%core")
	}
}
