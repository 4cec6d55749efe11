package main

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/lab"
)

// runProgram runs snatwatch in the namespace of h and returns what it printed and its status.
func runProgram(t *testing.T, h *lab.Host, args ...string) (out string, status int) {
	t.Helper()
	var printed, logs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stdout, cmd.Stderr = &printed, &logs
	if err := h.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	t.Logf("snatwatch %s: status %d\n%s%s", strings.Join(args, " "), cmd.ProcessState.ExitCode(), &printed, &logs)
	return printed.String(), cmd.ProcessState.ExitCode()
}

// The stress test of the incident, by the command, with the budget of the agent that watches the same machine: one VIP
// has 1024 ports, which confirms the budget; behind two it is really 2048. The agent counts what one test released as
// cooling when the next begins, and the kernel gives it away: that contradicts nothing.
func TestKernelVerifyInTheIncident(t *testing.T) {
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	l, err := lab.New(t.Context(), lab.IncidentTopology())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	node, far := l.Node(0), l.Server(0)
	startProgram(t, far, nil, "verify", "--serve", "--listen", far.At(9960).String())
	config := filepath.Join(t.TempDir(), "snatwatch.yaml")
	text := "budgets:\n  - name: lab\n    model: linux\n    vips: [198.51.100.11]\n    port_range: 1024-2047\n" +
		"    tcp: {cool_down: {fin: 4m, rst: 4m, timeout: 4m, idle: 4m, unknown: 4m}}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	const api = "127.0.0.1:9959" // of the node's own loopback
	startProgram(t, node, nil, "--config", config, "--netns", l.Router().Path(), "--poll-interval=500ms", "--strategy=poll",
		"--cpu-budget=1", "--web.listen-address="+api)
	verified := func(limit string) (string, int) {
		return runProgram(t, node, "verify", "--target", far.At(9960).String(), "--limit", limit, "--agent", api, "--rate=500",
			"--timeout=8s", "--hold=1s")
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		if out, status := runProgram(t, node, "verify", "--target", far.At(9960).String(), "--limit=1", "--agent", api,
			"--hold=100ms"); strings.Contains(out, "ask for a limit of") && status != statusOK {
			break
		}
		if time.Now().After(end) {
			t.Fatal("a minute has passed, and neither agent nor far end answers")
		}
	}
	in := lab.DefaultIncident()
	for _, tt := range []struct {
		name   string
		vips   []netip.Addr
		limit  string
		status int
		want   []string
	}{
		{
			"one VIP", in.VIPs[:1], "1100", statusOK,
			[]string{"1024 at the same time", ", 1024 flows, ports 1024 to 2047", "verdict       the budget of 1024 is confirmed"},
		},
		{
			"again at once", in.VIPs[:1], "1100", statusOK,
			[]string{"1024 at the same time, and ", " of them cooling down", "verdict       the budget of 1024 is confirmed"},
		},
		{
			"two VIPs", in.VIPs[:2], "2150", statusError,
			[]string{"2048 at the same time", "verdict       the budget of 1024 is wrong: it is really 2048"},
		},
	} {
		rule := lab.NAT{Nodes: []int{in.Node}, Form: lab.Numgen, VIPs: tt.vips, Ports: lab.IncidentTopology().NAT[0].Ports}
		if err := l.SetNAT(rule); err != nil {
			t.Fatal(err)
		}
		out, status := verified(tt.limit)
		if status != tt.status {
			t.Errorf("%s: status %d, want %d", tt.name, status, tt.status)
		}
		for _, want := range tt.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: it does not say %q", tt.name, want)
			}
		}
	}
}
