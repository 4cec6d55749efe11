// Package deploy holds what surrounds the agent: samples for Prometheus and Alertmanager,
// generated rules for an operator and for Grafana. Its tests ask the real programs.
package deploy

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tool finds a program or skips; KERNEL_TESTS=require makes its absence an error.
func tool(t *testing.T, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("KERNEL_TESTS") == "require" {
		t.Fatal(err)
	}
	t.Skipf("no %s: apt-get install %s (KERNEL_TESTS=require makes this an error)", name, debian)
	return ""
}

func TestSamplesAreAccepted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, tool, debian string
		args               []string
	}{
		{"alertmanager", "amtool", "prometheus-alertmanager", []string{"check-config", "alertmanager/alertmanager.yml"}},
		{"prometheus", "promtool", "prometheus", []string{"check", "config", "--syntax-only", "prometheus/prometheus.yml"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, err := exec.CommandContext(t.Context(), tool(t, tt.tool, tt.debian), tt.args...).CombinedOutput()
			if err != nil {
				t.Errorf("%s %s: %v\n%s", tt.tool, strings.Join(tt.args, " "), err, out)
			}
		})
	}
}

func TestRouting(t *testing.T) {
	t.Parallel()
	amtool := tool(t, "amtool", "prometheus-alertmanager")
	for _, tt := range []struct{ severity, want string }{
		{"critical", "page"},
		{"warning", "ticket"},
		{"info", "note"},
	} {
		t.Run(tt.severity, func(t *testing.T) {
			t.Parallel()
			out, err := exec.CommandContext(t.Context(), amtool, "config", "routes", "test", "--config.file=alertmanager/alertmanager.yml",
				"severity="+tt.severity, "alertname=SnatExhaustionPredicted", "pool=web").Output()
			if got := strings.TrimSpace(string(out)); err != nil || got != tt.want {
				t.Errorf("severity %s goes to %q (%v), want %s", tt.severity, got, err, tt.want)
			}
		})
	}
}

// A real Alertmanager holds back what something worse says already, for the same node or gateway only.
func TestInhibition(t *testing.T) {
	t.Parallel()
	run, _ := startAlertmanager(t)
	add(t, run,
		"SnatPortsExhausted instance=n1 budget=lb protocol=tcp severity=critical",
		"SnatPortsExhausted instance=n1 budget=lb protocol=tcp evidence=ceiling severity=critical",
		"SnatPortsExhausted instance=n4 budget=lb protocol=tcp evidence=ceiling severity=critical",
		"SnatPortsExhausted instance=n5 budget=lb protocol=tcp evidence=ceiling severity=critical",
		"SnatPortsExhausted instance=n5 budget=lb protocol=tcp evidence=gateway severity=critical",
		"SnatExhaustionPredicted instance=n1 budget=lb protocol=tcp destination=a severity=critical",
		"SnatExhaustionExpected instance=n1 budget=lb protocol=tcp severity=warning",
		"SnatDestinationDominates instance=n1 budget=lb protocol=tcp destination=a severity=info",
		"SnatOpenFailures instance=n1 budget=lb protocol=tcp cause=unanswered severity=warning",
		"SnatOpenFailures instance=n1 budget=lb protocol=tcp cause=refused severity=warning",
		"SnatExhaustionPredicted instance=n1 budget=lb protocol=udp destination=b severity=critical",
		"SnatExhaustionPredicted instance=n2 budget=lb protocol=tcp destination=a severity=critical",
		"SnatExhaustionExpected instance=n2 budget=lb protocol=tcp severity=warning",
		"SnatPortsExhausted instance=n3 budget=nat gateway=g1 protocol=tcp severity=critical",
		"SnatGatewayExhaustionPredicted budget=nat gateway=g1 protocol=tcp destination=a severity=critical",
		"SnatGatewayExhaustionPredicted budget=nat gateway=g2 protocol=tcp destination=a severity=critical",
		"SnatAgentBlind instance=n1 severity=warning",
		"SnatAgentDown instance=n2 severity=warning",
	)
	want := []string{
		"SnatDestinationDominates n1", "SnatExhaustionExpected n1", "SnatExhaustionExpected n2", "SnatExhaustionPredicted n1",
		"SnatGatewayExhaustionPredicted g1", "SnatOpenFailures n1", "SnatPortsExhausted n1", "SnatPortsExhausted n5",
	}
	var got []string
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		out, err := run("alert", "query", "--inhibited", "--output=json")
		if err != nil {
			t.Fatalf("amtool alert query: %v\n%s", err, out)
		}
		if got = inhibited(t, out); slices.Equal(want, got) || time.Now().After(deadline) {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("held back (-want +got):\n%s", diff)
	}
}

// startAlertmanager runs the sample in a real Alertmanager; run is amtool asked of it.
func startAlertmanager(t *testing.T) (run func(args ...string) (string, error), address string) {
	t.Helper()
	amtool := tool(t, "amtool", "prometheus-alertmanager")
	program, err := exec.LookPath("prometheus-alertmanager") // Debian's name
	if err != nil {
		program = tool(t, "alertmanager", "prometheus-alertmanager")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "--config.file=alertmanager/alertmanager.yml", "--storage.path="+t.TempDir(),
		"--web.listen-address="+address, "--cluster.listen-address=")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	run = func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), amtool, append([]string{"--alertmanager.url=http://" + address}, args...)...).CombinedOutput()
		return string(out), err
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if _, err := run("alert", "query"); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("Alertmanager does not answer: %v", err)
		}
	}
	return run, address
}

// add gives Alertmanager alerts, each its name and labels.
func add(t *testing.T, run func(args ...string) (string, error), alerts ...string) {
	t.Helper()
	for _, alert := range alerts {
		if out, err := run(append([]string{"alert", "add"}, strings.Fields(alert)...)...); err != nil {
			t.Fatalf("amtool alert add %s: %v\n%s", alert, err, out)
		}
	}
}

// A page is one for a pool and budget, however many of its nodes and destinations are in trouble.
func TestGrouping(t *testing.T) {
	t.Parallel()
	run, address := startAlertmanager(t)
	add(t, run,
		"SnatExhaustionPredicted cluster=eu pool=web instance=n1 budget=lb protocol=tcp destination=a severity=critical",
		"SnatExhaustionPredicted cluster=eu pool=web instance=n1 budget=lb protocol=tcp destination=b severity=critical",
		"SnatExhaustionPredicted cluster=eu pool=web instance=n2 budget=lb protocol=tcp destination=a severity=critical",
		"SnatPortsExhausted cluster=eu pool=web instance=n3 budget=lb protocol=tcp severity=critical",
		"SnatExhaustionPredicted cluster=eu pool=batch instance=n4 budget=lb protocol=tcp destination=a severity=critical",
		"SnatExhaustionPredicted cluster=us pool=web instance=n1 budget=lb protocol=tcp destination=a severity=critical",
		"SnatExhaustionExpected cluster=eu pool=web instance=n5 budget=lb protocol=tcp severity=warning",
		"SnatPortsLeaking cluster=eu pool=web instance=n5 budget=lb protocol=tcp severity=warning",
	)
	want := []string{
		"page batch eu lb: 1", "page eu lb web: 4", "page lb us web: 1",
		"ticket SnatExhaustionExpected eu web: 1", "ticket SnatPortsLeaking eu web: 1",
	}
	var got []string
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		if got = groups(t, address); slices.Equal(want, got) || time.Now().After(deadline) {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

// groups lists Alertmanager's groups: receiver, values of the labels it groups by, and how many alerts.
func groups(t *testing.T, address string) []string {
	t.Helper()
	resp, err := http.Get("http://" + address + "/api/v2/alerts/groups")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var answer []struct {
		Labels   map[string]string
		Receiver struct{ Name string }
		Alerts   []any
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, g := range answer {
		out = append(out, fmt.Sprintf("%s %s: %d", g.Receiver.Name, strings.Join(slices.Sorted(maps.Values(g.Labels)), " "), len(g.Alerts)))
	}
	slices.Sort(out)
	return out
}

// inhibited lists the alerts held back in amtool's answer, each by name and node or gateway.
func inhibited(t *testing.T, answer string) []string {
	t.Helper()
	var alerts []struct {
		Labels map[string]string
		Status struct{ InhibitedBy []string }
	}
	if err := json.Unmarshal([]byte(answer), &alerts); err != nil {
		t.Fatalf("amtool's answer: %v\n%s", err, answer)
	}
	var out []string
	for _, a := range alerts {
		if len(a.Status.InhibitedBy) > 0 {
			out = append(out, a.Labels["alertname"]+" "+a.Labels["instance"]+a.Labels["gateway"])
		}
	}
	slices.Sort(out)
	return out
}
