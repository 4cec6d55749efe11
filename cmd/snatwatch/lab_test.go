package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// With --serve the incident of the lab is seen in the agent's metrics: flows come, and then the second VIP. Each of the
// two labs stays for long in the stage that is looked at, so that a slow machine sees it.
func TestKernelLabServe(t *testing.T) {
	t.Parallel()
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	const (
		live = `snat_ports_live{budget="auto",destination="203.0.113.10:9000",gateway="",protocol="tcp",vip=""}`
		vips = `snat_vips{budget="auto"}`
		tcp  = `snat_budget_ports{budget="auto",protocol="tcp"}`
	)
	serve := func(exhausted, relief string) *runningAgent {
		return startAgent(
			t, "lab", "--serve", "--no-measure", "--incident.baseline=2s", "--incident.burst=3s",
			"--incident.exhausted="+exhausted, "--incident.relief="+relief, "--incident.slow=5s", "--incident.rate=50",
		)
	}
	stop := func(a *runningAgent) {
		t.Helper()
		if status := a.stop(); status != statusOK {
			t.Errorf("exit status %d when interrupted, want %d", status, statusOK)
		}
	}
	a := serve("30m", "1s")
	a.within(3*time.Minute, "one VIP with 1024 ports is watched", func() bool { return a.value(vips) == 1 && a.value(tcp) == 1024 })
	a.within(3*time.Minute, "flows to the slow store are live", func() bool { return a.value(live) > 100 })
	stop(a)
	a = serve("2s", "30m")
	a.within(3*time.Minute, "the second VIP has doubled the ports", func() bool { return a.value(vips) == 2 && a.value(tcp) == 2048 })
	if log := strings.Join(a.logs.All(), ""); !strings.Contains(log, "stage=burst") || !strings.Contains(log, "stage=relief") {
		t.Errorf("the log does not tell the stages:\n%s", log)
	}
	stop(a)
}

// A table that was not finished is no success.
func TestKernelLabInterrupted(t *testing.T) {
	t.Parallel()
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdout := &tripwire{text: "one-vip: ", trip: cancel}
	var stderr bytes.Buffer
	e := &env{stdout: stdout, stderr: &stderr}
	if status := e.run(ctx, []string{"lab", "--step=one-vip"}); status != statusError {
		t.Errorf("exit status %d, want %d", status, statusError)
	}
	if got, want := stderr.String(), "snatwatch: lab: interrupted before all steps had run\n"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	if !strings.Contains(stdout.String(), stdout.text) {
		t.Errorf("output does not tell the step under way:\n%s", stdout)
	}
}

// tripwire is a buffer that calls trip once text was written to it.
type tripwire struct {
	bytes.Buffer
	text string
	trip func()
}

func (w *tripwire) Write(b []byte) (int, error) {
	n, err := w.Buffer.Write(b)
	if bytes.Contains(w.Bytes(), []byte(w.text)) {
		w.trip()
	}
	return n, err
}

func TestLabRefusesAnUnknownStep(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	e := &env{stdout: &bytes.Buffer{}, stderr: &stderr}
	if status := e.run(t.Context(), []string{"lab", "--step=three-vips"}); status != statusUsage {
		t.Errorf("exit status %d, want %d", status, statusUsage)
	}
	if !strings.Contains(stderr.String(), "one-vip") || !strings.Contains(stderr.String(), "three-vips") {
		t.Errorf("it does not say which steps there are: %s", &stderr)
	}
}
