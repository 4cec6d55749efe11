package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"
)

// A 0 that was given is an impossible number, where none given means that the model or the log says it.
func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	numbers := []string{"--opens=33", "--lifetime=30s"}
	dropped := filepath.Join(t.TempDir(), "nat.json")
	const row = `{"jsonPayload":{"allocation_status":"OK","connection":{"dest_ip":"203.0.113.10","dest_port":443,` +
		`"protocol":6,"src_ip":"10.0.0.5","src_port":40001}},"timestamp":"2023-11-14T22:13:20Z"}` + "\n"
	if err := os.WriteFile(dropped, []byte(row), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name      string
		args      []string
		want, out string
	}{
		{"nodes", append(numbers, "--model=linux", "--nodes=0"), "nodes: 0, want 1 or more", ""},
		{"no nodes", append(numbers, "--model=azure-lb"), "nodes: missing, want 1 to 1000", ""},
		{
			"an end given twice",
			append(numbers, "--model=static", "--ports=64", "--ends=fin:0.9,fin:0.1"),
			"fin is given twice",
			"",
		},
		{"no nodes beside a log", []string{dropped}, "nodes: missing, want 1 to 1000", ""},
		{"VIPs", append(numbers, "--nodes=48", "--vips=0"), "vips: 0, want 1 or more", ""},
		{"ports", append(numbers, "--model=linux", "--ports=0"), "ports: 0, want 1 or more", ""},
		{"ports at most", append(numbers, "--model=gcp-nat-dynamic", "--max-ports=0"), "max-ports: 0, want", ""},
		{
			"a log of flows that hold nothing",
			[]string{"--model=static", "--ports=64", dropped},
			"nothing is held",
			"held none of 64 ports",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			app := kingpin.New("snatwatch", "")
			c := planCommand(app)
			if _, err := app.Parse(append([]string{"plan"}, tt.args...)); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			err := c.run(t.Context(), &env{stdout: &out}, slog.New(slog.NewTextHandler(io.Discard, nil)))
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(out.String(), tt.out) {
				t.Errorf("error %v, printed %q; want %q, %q", err, out.String(), tt.want, tt.out)
			}
		})
	}
}
