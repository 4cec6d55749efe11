package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/snatwatch/snatwatch/collector/cloud"
)

func TestCommandLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	for path, text := range map[string]string{
		good: "budgets:\n  - name: web\n    model: azure-lb-2018\n    nodes: 48\n",
		bad:  "budgets:\n  - name: web\n    model: azure-lb-2018\n    nodes: 1001\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name           string
		args           []string
		status         int
		stdout, stderr string
	}{
		{name: "help", args: []string{"--help"}, stdout: "backtest"},
		{name: "help of the agent", args: []string{"run", "--help"}, stdout: "--web.listen-address"},
		{name: "version", args: []string{"--version"}, stdout: "snatwatch "},
		{name: "no such flag", args: []string{"--nothing"}, status: statusUsage, stderr: "unknown long flag"},
		{name: "no such command", args: []string{"nothing"}, status: statusUsage, stderr: "unexpected nothing"},
		{name: "no such source", args: []string{"--source=ebpf"}, status: statusUsage, stderr: "ebpf"},
		{name: "check", args: []string{"check", "--config", good}, stdout: "1024"},
		{name: "check a bad config", args: []string{"check", "--config", bad}, status: statusError, stderr: "budgets[0].nodes: 1001"},
		{name: "agent with a bad config", args: []string{"--config", bad}, status: statusError, stderr: "budgets[0].nodes: 1001"},
		{name: "agent with a config that is not there", args: []string{"--config", good + "x"}, status: statusError, stderr: "no such file"},
		{name: "agent in a namespace that is not there", args: []string{"--netns", "/nothing"}, status: statusError, stderr: "/nothing"},
		{name: "agent with a bad flag", args: []string{"--config", good, "--poll-interval=1h"}, status: statusError, stderr: "poll_interval"},
		{name: "backtest of nothing", args: []string{"backtest"}, status: statusError, stderr: "name files to replay"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr := &lines{}, &lines{}
			e := &env{
				stdout: stdout, stderr: stderr, confine: func() error { return nil },
				hangup:   func() (<-chan os.Signal, func()) { return nil, func() {} },
				metadata: cloud.Client{URL: "http://127.0.0.1:1"},
			}
			status := e.run(context.Background(), tt.args)
			out, errs := strings.Join(stdout.all(), ""), strings.Join(stderr.all(), "")
			if status != tt.status || !strings.Contains(out, tt.stdout) || !strings.Contains(errs, tt.stderr) {
				t.Errorf("status %d, want %d; want %q in stdout and %q in stderr\nstdout: %s\nstderr: %s",
					status, tt.status, tt.stdout, tt.stderr, out, errs)
			}
		})
	}
}
