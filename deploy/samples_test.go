package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestReceiversAreAccepted(t *testing.T) {
	t.Parallel()
	amtool := tool(t, "amtool", "prometheus-alertmanager")
	if out, err := exec.CommandContext(t.Context(), amtool, "check-config", "receivers/alertmanager.yml").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// A group mixes alerts that have no annotation in common, and one that is over with one that fires: every text of a
// receiver says something still, and the page's title is the summary of what fires.
func TestReceiversSaySomething(t *testing.T) {
	t.Parallel()
	amtool := tool(t, "amtool", "prometheus-alertmanager")
	body, err := os.ReadFile("receivers/alertmanager.yml")
	if err != nil {
		t.Fatal(err)
	}
	var sample yaml.Node
	if err := yaml.Unmarshal(body, &sample); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "group.json")
	group := `{"groupLabels": {"alertname": "SnatAny", "pool": "web", "budget": "lb"}, "commonAnnotations": {}, "alerts": [
		{"status": "resolved", "annotations": {"summary": "It was exhausted.", "description": "was", "runbook_url": "r1"}},
		{"status": "firing", "annotations": {"summary": "It runs out.", "description": "runs out", "runbook_url": "r2"}}]}`
	if err := os.WriteFile(data, []byte(group), 0o600); err != nil {
		t.Fatal(err)
	}
	titles := 0
	var walk func(key string, n *yaml.Node)
	walk = func(key string, n *yaml.Node) {
		for i, child := range n.Content {
			if n.Kind == yaml.MappingNode {
				key = n.Content[i-i%2].Value
			}
			walk(key, child)
		}
		if n.Kind != yaml.ScalarNode || !strings.Contains(n.Value, "{{") {
			return
		}
		out, err := exec.CommandContext(t.Context(), amtool, "template", "render", "--template.glob="+data+".none", "--template.data="+data,
			"--template.text="+n.Value).CombinedOutput()
		text := strings.TrimSpace(string(out))
		if err != nil || text == "" {
			t.Errorf("line %d: %s says %q (%v)", n.Line, key, text, err)
		}
		if strings.Contains(n.Value, ".summary") {
			titles++
			if !strings.HasPrefix(text, "It runs out.") {
				t.Errorf("line %d: %s says %q, want the summary of what fires", n.Line, key, text)
			}
		}
	}
	walk("", &sample)
	if titles < 2 {
		t.Errorf("%d texts with a summary, want that of each pager", titles)
	}
}

// The receiver of the OpenTelemetry Collector takes a config of Prometheus: promtool judges that part.
func TestCollectorScrapes(t *testing.T) {
	t.Parallel()
	promtool := tool(t, "promtool", "prometheus")
	body, err := os.ReadFile("opentelemetry/collector.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var sample struct {
		Receivers struct {
			Prometheus struct{ Config map[string]any }
		}
	}
	if err := yaml.Unmarshal(body, &sample); err != nil {
		t.Fatal(err)
	}
	config, err := yaml.Marshal(sample.Receivers.Prometheus.Config)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "check", "config", path).CombinedOutput(); err != nil || len(sample.Receivers.Prometheus.Config) == 0 {
		t.Errorf("%v\n%s\n%s", err, out, config)
	}
}

// systemd's own score of the unit: 2.0 is asked for with CAP_NET_ADMIN alone, 2.5 with process inspection.
func TestUnitIsConfined(t *testing.T) {
	t.Parallel()
	analyze := tool(t, "systemd-analyze", "systemd")
	for _, tt := range []struct {
		name, threshold string
		dropins         []string
	}{
		{"CAP_NET_ADMIN alone", "20", nil},
		{"process inspection", "25", []string{"process-inspection.conf"}},
		{"other namespaces too", "27", []string{"process-inspection.conf", "other-namespaces.conf"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			units := filepath.Join(root, "etc/systemd/system")
			copyFile(t, "systemd/snatwatch.service", filepath.Join(units, "snatwatch.service"))
			for _, d := range tt.dropins {
				copyFile(t, "systemd/"+d, filepath.Join(units, "snatwatch.service.d", d))
			}
			out, err := exec.CommandContext(t.Context(), analyze, "security", "--no-pager", "--offline=true", "--root="+root, "--threshold="+tt.threshold, "snatwatch.service").CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	body, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, body, 0o600); err != nil {
		t.Fatal(err)
	}
}
