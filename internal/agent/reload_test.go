package agent

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/config"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/kube"
)

// newQuietAgent is an agent whose ledger runs, without sources and without a server. The
// config is written to the path that it returns.
func newQuietAgent(t *testing.T, text string, metadata cloud.Client) (a *agent, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "snatwatch.yaml")
	write(t, path, text)
	load := func() (*config.Config, error) {
		c, err := config.Load(path)
		if err != nil {
			return nil, err
		}
		c.CompleteLimits(false, false)
		return c, c.Validate()
	}
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	outer, err := config.OpenNetns(c.Netns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = outer.Close() })
	nodes := kube.NewNodes(func() (*kube.Client, error) { return nil, kube.ErrNoCluster })
	o := Options{Load: load, Metadata: metadata, Nodes: nodes, Logger: slog.New(slog.DiscardHandler)}
	a, err = newAgent(t.Context(), o, c, outer)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		_ = a.loop.run(ctx)
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return a, path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The pool size in a watched file moves the budget; one that cannot be used leaves the last
// good one in place and says so.
func TestAgentFollowsNodesFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "nodes")
	write(t, file, "50\n")
	a, path := newQuietAgent(t, fmt.Sprintf(`
cloud_metadata: false
budgets:
  - {name: web, model: azure-lb-2018, nodes: 400, nodes_file: %s}
`, file), cloud.Client{})
	type shown struct {
		Ports  int
		Stale  bool
		Notice string // its end
	}
	now := func() shown {
		a.setup.mu.Lock()
		defer a.setup.mu.Unlock()
		s := shown{Ports: a.setup.seen.budgets[0].TCP.Ports, Stale: a.setup.seen.stale["web"]}
		for _, n := range a.notices.list() {
			if strings.HasPrefix(n, "budget web: the last good pool size stays in use: ") {
				s.Notice = n[strings.LastIndex(n, " ")+1:]
			}
		}
		return s
	}
	check := func(step string, want shown) {
		t.Helper()
		if diff := cmp.Diff(want, now()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step, diff)
		}
	}
	check("at the start", shown{Ports: 1024})
	for _, step := range []struct {
		name, content string
		want          shown
	}{
		{"over the edge of the table", "51", shown{Ports: 512}},
		{"more than the table has", "1001", shown{Ports: 512, Stale: true, Notice: "sizes"}},
		{"not a number", "many", shown{Ports: 512, Stale: true, Notice: "more"}},
		{"none", "0", shown{Ports: 512, Stale: true, Notice: "more"}},
		{"good again", " 101\n", shown{Ports: 256}},
		{"removed", "", shown{Ports: 256, Stale: true, Notice: "directory"}},
	} {
		if step.content == "" {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		} else {
			write(t, file, step.content)
		}
		if err := a.setup.lookAgain(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(step.name, step.want)
	}

	if err := a.setup.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("reloaded without the file", shown{Ports: 256, Stale: true, Notice: "directory"})
	write(t, path, "cloud_metadata: false\nbudgets: [{name: web, model: azure-lb-2018, nodes: 0}]\n")
	if err := a.setup.reload(t.Context()); err == nil {
		t.Error("a pool of 0 nodes was not refused")
	}
	write(t, file, "50")
	if err := a.setup.lookAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("there again", shown{Ports: 1024})
}

// What takes a restart is said for as long as the config asks for it.
func TestAgentTellsWhatTakesARestart(t *testing.T) {
	t.Parallel()
	const before = "cloud_metadata: false\nbudgets: [{name: web, model: azure-lb-2018, nodes: 40}]\n"
	a, path := newQuietAgent(t, before, cloud.Client{})
	for _, step := range []struct{ name, text, want string }{
		{"another strategy", before + "strategy: events\n", "restart the agent for the new strategy in its config"},
		{"the same again", before + "strategy: events\n", "restart the agent for the new strategy in its config"},
		{"as at the start", before, ""},
		{"two at once", before + "listen: ':1'\nsource: sockets\n", "restart the agent for the new listen, source in its config"},
		{"other destinations", before + "shared_destinations: [203.0.113.7:443]\n", "restart the agent for the new shared_destinations in its config"},
	} {
		write(t, path, step.text)
		if err := a.setup.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, n := range a.notices.list() {
			if strings.HasPrefix(n, "restart") {
				got = n
			}
		}
		if got != step.want {
			t.Errorf("%s: notice %q, want %q", step.name, got, step.want)
		}
	}
	if got := a.started.Strategy; got != config.StrategyAuto {
		t.Errorf("the agent runs with strategy %s, want that of the start", got)
	}
}

// What a pool that crossed an edge of its table has cost stands in the log.
func TestAgentTellsHowBudgetsChanged(t *testing.T) {
	t.Parallel()
	web := func(nodes int) *budget.Budget {
		return resolved(t, budget.Params{Name: "web", Model: "azure-lb-2018", Nodes: nodes})
	}
	local := resolved(t, budget.Params{Name: "local", Model: "local"})
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}))
	all := [][]*budget.Budget{nil, {web(50)}, {web(50), local}, {web(51), local}, {local}}
	for i := range all[1:] {
		tellChanges(logger, all[i], all[i+1])
	}
	want := `msg="budget added" budget=web model=azure-lb-2018 tcp_ports=1024 udp_ports=1024 nodes=50 vips=1
msg="budget added" budget=local model=local tcp_ports=28232 udp_ports=28232 nodes=0 vips=1
msg="budget changed" budget=web model=azure-lb-2018 tcp_ports=512 udp_ports=512 nodes=51 vips=1 tcp_ports_before=1024 udp_ports_before=1024
msg="budget removed" budget=web
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// A namespace that was made anew under its name is another: its budget follows the name. One that is gone is none, because the
// kernel gives its inode number to the next: no other namespace's flows may count under its budget.
func TestKernelAgentFollowsNetns(t *testing.T) {
	t.Parallel()
	first, second := kerneltest.Netns(t), kerneltest.Netns(t)
	dir := t.TempDir()
	leadTo := func(name string, ns *netns.Handle) {
		t.Helper()
		path := filepath.Join(dir, name)
		_ = os.Remove(path)
		if ns == nil {
			return
		}
		if err := os.Symlink(fmt.Sprintf("/proc/self/fd/%d", ns.FD()), path); err != nil {
			t.Fatal(err)
		}
	}
	leadTo("blue", first)
	leadTo("green", second)
	text := fmt.Sprintf("cloud_metadata: false\nbudgets: [{name: pod, model: static, ports: 100, netns: %[1]s/blue}, {name: other, model: static, ports: 100, netns: %[1]s/green}]\n", dir)
	a, path := newQuietAgent(t, text, cloud.Client{})
	where := func(b *budget.Budget) string {
		for name, inode := range map[string]uint64{"first": first.Inode(), "second": second.Inode(), "any": 0} {
			if b.Netns == inode {
				return name
			}
		}
		return "none"
	}
	for _, step := range []struct {
		name        string
		blue, green *netns.Handle
		reload      bool
		want        [2]string
		notices     int
	}{
		{"as it was", first, second, false, [2]string{"first", "second"}, 0},
		{"gone", nil, second, false, [2]string{"none", "second"}, 1},
		{"both gone", nil, nil, false, [2]string{"none", "none"}, 2},
		{"a reload meanwhile", nil, nil, true, [2]string{"none", "none"}, 2},
		{"there again, another", second, first, false, [2]string{"second", "first"}, 0},
	} {
		leadTo("blue", step.blue)
		leadTo("green", step.green)
		look := a.setup.lookAgain
		if step.reload {
			write(t, path, text+"poll_interval: 3s\n")
			look = a.setup.reload
		}
		if err := look(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := a.setup.current()
		notices := slices.DeleteFunc(a.notices.list(), func(n string) bool { return !strings.HasPrefix(n, "the budgets of network namespace ") })
		if got := [2]string{where(b[0]), where(b[1])}; got != step.want || len(notices) != step.notices || b[0].Netns == b[1].Netns {
			t.Errorf("%s: namespaces %v, want %v; %d and %d; notices %q", step.name, got, step.want, b[0].Netns, b[1].Netns, notices)
		}
	}
}

// Reloads that end alike are logged once a minute, with how many were not; another end is logged at once.
func TestRepeatedReloadsAreLoggedOnce(t *testing.T) {
	t.Parallel()
	var r reloadLog
	type line struct {
		unsaid int
		ok     bool
	}
	for i, tt := range []struct {
		at   time.Duration
		end  string
		want line
	}{
		{1 * time.Second, "", line{0, true}},
		{2 * time.Second, "", line{0, false}},
		{3 * time.Second, "", line{0, false}},
		{4 * time.Second, "bad", line{2, true}},
		{5 * time.Second, "bad", line{0, false}},
		{6 * time.Second, "worse", line{1, true}},
		{67 * time.Second, "worse", line{0, true}},
	} {
		n, ok := r.log(collector.Time(tt.at), tt.end)
		if got := (line{n, ok}); got != tt.want {
			t.Errorf("reload %d: %+v, want %+v", i, got, tt.want)
		}
	}
}
