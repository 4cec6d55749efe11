package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is committed is what snatgen writes without flags.
func TestCommittedFilesAreFresh(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	readme, err := os.ReadFile(filepath.Join("..", "..", metricsReadme))
	if err != nil {
		t.Fatal(err)
	}
	writeReadme(t, dir, readme)
	if err := run([]string{"--out", dir}, new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	n := 0
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil || !bytes.Equal(want, got) {
			t.Errorf("%s is stale (%v): run go run ./cmd/snatgen", name, err)
		}
		return nil
	})
	if err != nil || n < 10 {
		t.Errorf("%d files written, %v; want at least 10", n, err)
	}
}

// A bad flag writes nothing and says which, what and what would be right.
func TestBadFlagsWriteNothing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"unknown flag", []string{"--thresholds"}, "unknown long flag '--thresholds'"},
		{"selector", []string{"--selector", "job="}, `--selector=job=: no matcher at "job="; want label matchers`},
		{"number", []string{"--threshold.page", "high"}, "--threshold.page: high: want a number"},
		{"a number below 0", []string{"--threshold.page", "-1"}, "--threshold.page=-1: want above 0 and at most 1"},
		{"duration", []string{"--fleet-interval=5"}, "--fleet-interval: 5: want a duration such as 10s or 4m"},
		{"range", []string{"--threshold.page=1.5"}, "--threshold.page=1.5: want above 0 and at most 1"},
		{"horizon", []string{"--page-horizon=30m"}, "--page-horizon=30m: want one of 1m, 5m, 15m, 1h"},
		{"label", []string{"--cluster-label=a b"}, "--cluster-label=a b: not a label name"},
		{"release", []string{"--release=my release"}, "--release=my release: want at most 63 letters"},
		{"boards' label's prefix", []string{"--dashboard-label=Example/board"}, "--dashboard-label=Example/board: want at most 63 letters"},
		{"boards' label", []string{"--dashboard-label="}, "--dashboard-label=: want at most 63 letters"},
		{"argument", []string{"rules"}, "unexpected rules"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "out")
			err := run(append([]string{"--out", dir}, tt.args...), new(bytes.Buffer))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("something was written: %v", err)
			}
		})
	}
}

// Where one file cannot be written none is, and nothing is left behind.
func TestUnwritableFolderIsLeftAsItWas(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		make func(dir string) error
		want string
	}{
		{"a file where a folder belongs", func(dir string) error { return os.WriteFile(filepath.Join(dir, "rules"), nil, 0o600) }, "rules: not a directory"},
		{"a folder where a file belongs", func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, "rules", "snatwatch-records.yaml"), 0o700)
		}, "snatwatch-records.yaml: it is a folder"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := tt.make(dir); err != nil {
				t.Fatal(err)
			}
			before := tree(t, dir)
			err := run([]string{"--out", dir}, new(bytes.Buffer))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
			if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
				t.Errorf("the folder (-before +after):\n%s", diff)
			}
		})
	}
}

// tree lists all that is below dir.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		out = append(out, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// writeReadme puts the README of the metrics below dir.
func writeReadme(t *testing.T, dir string, body []byte) {
	t.Helper()
	path := filepath.Join(dir, metricsReadme)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A README without a place for the table is refused before anything is written.
func TestReadmeNeedsAPlaceForTheTable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeReadme(t, dir, []byte("# mine\n"))
	err := run([]string{"--out", dir}, new(bytes.Buffer))
	if err == nil || !strings.Contains(err.Error(), "between which the table of metrics stands") {
		t.Errorf("error %v, want one that names the lines", err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("%d files in the folder, want the README alone", len(files))
	}
}

// A set of one's own: selector, severity and runbooks go through to every file.
func TestOwnSet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	err := run([]string{
		"--out", dir, `--selector=job="edge"`, "--severity-critical=sev1", "--runbook-url=https://wiki.example/snat/",
		"--grafana-url=https://grafana.example/", "--threshold.page=0.5", "--page-horizon=15m", "--cluster-label=k8s",
	}, new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	alerts, err := os.ReadFile(filepath.Join(dir, "rules", "snatwatch-alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`snat_likely_exhaustion_probability{job="edge", horizon="15m"} >= 0.1`, "severity: sev1",
		`(snat_page_urgency{job="edge", horizon="15m"} or snat_likely_exhaustion_probability{job="edge", horizon="15m"}) >= 0.5`,
		"dashboard: https://grafana.example/d/snatwatch-node?viewPanel=102{{ with $labels.k8s }}&var-cluster={{ . | urlquery }}{{ end }}{{ with $labels.instance }}&var-instance={{ . | urlquery }}{{ end }}",
		"runbook_url: https://wiki.example/snat/SnatExhaustionPredicted.md", "on (k8s, job, instance, budget)",
	} {
		if !strings.Contains(string(alerts), want) {
			t.Errorf("no %q in the alerts", want)
		}
	}
}
