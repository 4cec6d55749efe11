package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/internal/config"
	"github.com/snatwatch/snatwatch/internal/logtest"
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
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
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
		{name: "a flag of zero", args: []string{"--limits.exported=0"}, status: statusError, stderr: "limits.exported: 0: want 1 to limits.tracked"},
		{name: "an interval of zero", args: []string{"--poll-interval=0s"}, status: statusError, stderr: "poll_interval: 0s: want 100ms"},
		{name: "a flag that the file does not have", args: []string{"--config", good, "--cpu-budget=5"}, status: statusError, stderr: "snatwatch: --cpu-budget: cpu_budget: 5: want"},
		{name: "a flag and the file together", args: []string{"--config", good, "--limits.tracked=20", "--limits.forecast=30"}, status: statusError, stderr: "--limits.forecast: limits.forecast: 30: want 0 to limits.tracked"},
		{name: "a far end without a port", args: []string{"verify", "--serve", "--listen=x"}, status: statusError, stderr: "--listen: x: want an address such as :9960"},
		{name: "help of a mistake", args: []string{"top", "--agnet=x"}, status: statusUsage, stderr: "unknown long flag '--agnet', perhaps --agent; see snatwatch top --help"},
		{name: "top without an agent", args: []string{"top", "--agent=127.0.0.1:1"}, status: statusError, stderr: "agent at 127.0.0.1:1: nothing listens there"},
		{name: "no share of a core", args: []string{"--cpu-budget=0"}, status: statusError, stderr: "cpu_budget: 0: want"},
		{
			name: "a port that is taken", args: []string{"--web.listen-address=" + taken.Addr().String()}, status: statusError,
			stderr: "another program listens there; take another port with --web.listen-address",
		},
		{name: "no address", args: []string{"--web.listen-address=nothing"}, status: statusError, stderr: "--web.listen-address: nothing: want an address such as :9959"},
		{name: "no port", args: []string{"--web.listen-address=:80000"}, status: statusError, stderr: "--web.listen-address: :80000: want"},
		{name: "no web config", args: []string{"--web.config.file=" + good + "x"}, status: statusError, stderr: "--web.config.file: " + good + "x: "},
		{name: "another file as web config", args: []string{"--web.config.file=" + good}, status: statusError, stderr: "--web.config.file: " + good + ": "},
		{name: "a record without rotation", args: []string{"--record.out=" + dir, "--record.rotate=0s"}, status: statusError, stderr: "--record.rotate: 0s: want at least 1s"},
		{name: "record without rotation", args: []string{"record", "--out=" + dir, "--rotate=0s"}, status: statusError, stderr: "--rotate: 0s: want at least 1s"},
		{name: "plan of another end", args: []string{"plan", "--nodes=1", "--opens=1", "--lifetime=1s", "--ends=fon:1"}, status: statusError, stderr: `flows end by "fon": want one of unknown, fin, rst`},
		{name: "verify without a target", args: []string{"verify", "--limit=10"}, status: statusError, stderr: "--target HOST:PORT --limit N"},
		{name: "verify without a limit", args: []string{"verify", "--target=127.0.0.1:1"}, status: statusError, stderr: "--target HOST:PORT --limit N"},
		{name: "verify of nobody", args: []string{"verify", "--target=127.0.0.1:1", "--limit=3"}, status: statusError, stdout: "3 ECONNREFUSED", stderr: "no flow opened"},
		{name: "verify against an agent that is not there", args: []string{"verify", "--target=127.0.0.1:1", "--limit=3", "--agent=127.0.0.1:1"}, status: statusError, stderr: "agent at 127.0.0.1:1"},
		{name: "plan", args: []string{"plan", "--model=azure-lb-2018", "--nodes=48", "--opens=4.2", "--lifetime=50ms:0.8,30s:0.2"}, stdout: "times today's"},
		{name: "plan of nothing", args: []string{"plan"}, status: statusError, stderr: "no demand"},
		{name: "plan without arrivals", args: []string{"plan", "--nodes=1", "--opens=0", "--lifetime=1s"}, status: statusError, stderr: "no arrivals"},
		{name: "plan for no nodes", args: []string{"plan", "--nodes=0", "--opens=1", "--lifetime=1s"}, status: statusError, stderr: "nodes: 0"},
		{name: "plan for certainty", args: []string{"plan", "--nodes=1", "--opens=1", "--lifetime=1s", "--target=0"}, status: statusError, stderr: "target probability 0"},
		{name: "the far end with a target", args: []string{"verify", "--serve", "--target=127.0.0.1:1"}, status: statusError, stderr: "--serve is the far end"},
		{name: "backtest of nothing", args: []string{"backtest"}, status: statusError, stderr: "name files to replay"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr := &logtest.Lines{}, &logtest.Lines{}
			e := &env{
				stdout: stdout, stderr: stderr, confine: func([]string) ([]string, error) { return nil, nil },
				hangup:   func() (<-chan os.Signal, func()) { return nil, func() {} },
				metadata: cloud.Client{URL: "http://127.0.0.1:1"},
			}
			status := e.run(context.Background(), tt.args)
			out, errs := strings.Join(stdout.All(), ""), strings.Join(stderr.All(), "")
			if status != tt.status || !strings.Contains(out, tt.stdout) || !strings.Contains(errs, tt.stderr) {
				t.Errorf("status %d, want %d; want %q in stdout and %q in stderr\nstdout: %s\nstderr: %s",
					status, tt.status, tt.stdout, tt.stderr, out, errs)
			}
		})
	}
}

// A flag that says "none" takes back what the config says.
func TestFlagsWinOverTheConfig(t *testing.T) {
	t.Parallel()
	path := writeFile(t, "f.yaml", "state_file: kept\nnetns: blue\npoll_interval: 5s\nlimits: {forecast: 7}\n")
	app := kingpin.New("snatwatch", "")
	var o options
	o.register(app.Command("run", "").Default())
	if _, err := app.Parse([]string{"--config", path, "--state-file=", "--netns=", "--limits.forecast=0", "--source=sockets"}); err != nil {
		t.Fatal(err)
	}
	c, err := o.load()
	if err != nil {
		t.Fatal(err)
	}
	type settings struct {
		StateFile, Netns string
		Forecast         int
		Source           config.Source
		Poll             time.Duration
	}
	want := settings{Source: config.SourceSockets, Poll: 5 * time.Second}
	if diff := cmp.Diff(want, settings{c.StateFile, c.Netns, c.Limits.Forecast, c.Source, c.PollInterval}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Limits that nobody gave follow limits.tracked; those that somebody gave are kept, or refused.
func TestLimitsFollowTracked(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, yaml string
		args       []string
		want       config.Limits
		err        string
	}{
		{"none given", "", nil, config.Limits{Tracked: 10_000, Forecast: 1_000, Exported: 50}, ""},
		{"by flag", "", []string{"--limits.tracked=500"}, config.Limits{Tracked: 500, Forecast: 500, Exported: 50}, ""},
		{"by flag over the config", "limits: {tracked: 10}", []string{"--limits.tracked=800"}, config.Limits{Tracked: 800, Forecast: 800, Exported: 50}, ""},
		{"others in the config", "limits: {forecast: 7, exported: 3}", []string{"--limits.tracked=10"}, config.Limits{Tracked: 10, Forecast: 7, Exported: 3}, ""},
		{"others by flag", "", []string{"--limits.tracked=10", "--limits.forecast=0", "--limits.exported=10"}, config.Limits{Tracked: 10, Exported: 10}, ""},
		{"one in the config above it", "limits: {forecast: 700}", []string{"--limits.tracked=500"}, config.Limits{}, "limits.forecast: 700: want 0 to limits.tracked"},
		{"one by flag above it", "", []string{"--limits.tracked=5", "--limits.exported=6"}, config.Limits{}, "limits.exported: 6: want 1 to limits.tracked"},
		{"none tracked", "", []string{"--limits.tracked=0"}, config.Limits{}, "limits.tracked: 0: want 1 to 10000000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := writeFile(t, "f.yaml", "netns: ''\n"+tt.yaml)
			app := kingpin.New("snatwatch", "")
			var o options
			o.register(app.Command("run", "").Default())
			if _, err := app.Parse(append(tt.args, "--config", path)); err != nil {
				t.Fatal(err)
			}
			c, err := o.load()
			if tt.err != "" {
				if err == nil || !strings.HasSuffix(err.Error(), tt.err) || strings.Contains(err.Error(), "\n") {
					t.Errorf("error %v, want %q alone", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, c.Limits); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The flags that README and reference name are there.
func TestFlagsNamedAreThere(t *testing.T) {
	t.Parallel()
	app := kingpin.New("snatwatch", "")
	all := []*kingpin.CmdClause{}
	for _, c := range commands(app) {
		all = append(all, c.clause)
	}
	for _, file := range []string{"../../README.md", "../../deploy/snatwatch.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`--([a-z][a-z.-]*[a-z])`).FindAllSubmatch(text, -1) {
			flag := strings.TrimPrefix(string(name[1]), "no-")
			if flag != "help" && !slices.ContainsFunc(all, func(c *kingpin.CmdClause) bool { return c.GetFlag(flag) != nil }) {
				t.Errorf("%s names --%s, which no command has", file, flag)
			}
		}
	}
}
