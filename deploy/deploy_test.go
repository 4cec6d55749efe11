// Package deploy holds what surrounds the agent: samples for Prometheus and Alertmanager,
// generated rules for an operator and for Grafana. Its tests ask the real programs.
package deploy

import (
	"os"
	"os/exec"
	"strings"
	"testing"
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
