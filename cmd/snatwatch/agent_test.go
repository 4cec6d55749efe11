package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/lab"
	"github.com/snatwatch/snatwatch/internal/logtest"
)

// runningAgent is an agent in this process that serves on loopback.
type runningAgent struct {
	t      *testing.T
	url    string
	logs   *logtest.Lines
	hangup chan os.Signal
	stop   func() int
}

// startAgent runs the agent with args until the test ends.
func startAgent(t *testing.T, args ...string) *runningAgent {
	t.Helper()
	a := &runningAgent{t: t, logs: &logtest.Lines{}, hangup: make(chan os.Signal, 1)}
	e := &env{
		stdout: io.Discard, stderr: a.logs,
		hangup:   func() (<-chan os.Signal, func()) { return a.hangup, func() {} },
		confine:  func([]string) ([]string, error) { return nil, nil }, // the test goes on with its rights
		metadata: cloud.Client{URL: "http://127.0.0.1:1"},
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() { ended <- e.run(ctx, append(args, "--web.listen-address=127.0.0.1:0")) }()
	stopped := false
	a.stop = func() int {
		cancel()
		if stopped {
			return 0
		}
		stopped = true
		select {
		case status := <-ended:
			return status
		case <-time.After(10 * time.Second):
			t.Error("the agent does not end")
			return -1
		}
	}
	t.Cleanup(func() {
		a.stop()
		if t.Failed() {
			t.Logf("log of the agent:\n%s", strings.Join(a.logs.All(), ""))
		}
	})
	listening := regexp.MustCompile(`msg="Listening on" address=(\S+)`)
	a.eventually("it listens", func() bool {
		m := listening.FindStringSubmatch(strings.Join(a.logs.All(), ""))
		if m != nil {
			a.url = "http://" + m[1]
		}
		return m != nil
	})
	return a
}

// eventually waits for up to 45 seconds until ok holds.
func (a *runningAgent) eventually(what string, ok func() bool) {
	a.t.Helper()
	a.within(45*time.Second, what, ok)
}

// within waits for so long until ok holds.
func (a *runningAgent) within(most time.Duration, what string, ok func() bool) {
	a.t.Helper()
	for deadline := time.Now().Add(most); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			a.t.Fatalf("not within %v: %s\n%s", most, what, a.metrics())
		}
	}
}

// get returns status and body, 0 where nothing answers.
func (a *runningAgent) get(method, path string) (int, string) {
	a.t.Helper()
	req, err := http.NewRequest(method, a.url+path, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// metrics returns the agent's own series, without those of the Go runtime.
func (a *runningAgent) metrics() string {
	a.t.Helper()
	_, body := a.get(http.MethodGet, "/metrics")
	var out strings.Builder
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "snat_") && !strings.Contains(line, "_bucket") {
			out.WriteString(line)
		}
	}
	return out.String()
}

// value returns one series' value, written as in the exposition, -1 where it is absent.
func (a *runningAgent) value(series string) float64 {
	a.t.Helper()
	for line := range strings.Lines(a.metrics()) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				a.t.Fatal(err)
			}
			return f
		}
	}
	return -1
}

func writeConfig(t *testing.T, path, ports string) {
	t.Helper()
	text := fmt.Sprintf(`budgets:
  - name: lab
    model: linux
    vips: [198.51.100.1]
    port_range: %s
`, ports)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Real flows through real source NAT become the numbers of /metrics: they open, run out of ports,
// and go.
func TestKernelAgent(t *testing.T) {
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	ctx := t.Context()
	l, err := lab.New(ctx, lab.Topology{NAT: []lab.NAT{{VIPs: []netip.Addr{lab.VIP(0)}, Ports: collector.PortRange{First: 2000, Last: 2063}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	server, err := l.Server(0).Hold(ctx, l.Server(0).At(9000))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	config := filepath.Join(t.TempDir(), "snatwatch.yaml")
	writeConfig(t, config, "2000-2063")
	a := startAgent(t, "--config", config, "--netns", l.Router().Path(), "--poll-interval=500ms", "--strategy=poll", "--web.enable-lifecycle", "--cpu-budget=1")
	a.eventually("it is ready", func() bool { status, _ := a.get(http.MethodGet, "/-/ready"); return status == http.StatusOK })

	router := fmt.Sprintf(`netns="%d"`, l.Router().Netns())
	space := fmt.Sprintf(`{budget="lab",destination="%s",gateway="",protocol="tcp",vip=""}`, l.Server(0).At(9000))
	for series, want := range map[string]float64{
		`snat_budget_ports{budget="lab",protocol="tcp"}`:                      64,
		`snat_source_info{` + router + `,source="conntrack",strategy="poll"}`: 1,
		`snat_ledger_exact{` + router + `}`:                                   1,
	} {
		if got := a.value(series); got != want {
			t.Errorf("%s = %v, want %v", series, got, want)
		}
	}

	first, err := l.Node(0).OpenTCP(l.Server(0).At(9000), 40)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	a.eventually("40 ports are live", func() bool { return a.value("snat_ports_live"+space) == 40 })
	if got := a.value(`snat_flows_opened_total{budget="lab",protocol="tcp"}`); got != 40 {
		t.Errorf("flows opened: %v, want 40", got)
	}

	more, err := l.Node(0).OpenTCP(l.Server(0).At(9000), 30)
	if err != nil {
		t.Fatal(err)
	}
	a.eventually("64 ports are live and 6 flows stall", func() bool {
		return a.value("snat_ports_live"+space) == 64 && a.value(`snat_opening_stalled{budget="lab",protocol="tcp"}`) == 6 &&
			a.value(`snat_open_failures_total{budget="lab",cause="ports",protocol="tcp"}`) >= 6
	})
	a.eventually("the kernel's own counter shows", func() bool { return a.value(`snat_conntrack_insert_failed_total{`+router+`}`) >= 6 })
	if _, page := a.get(http.MethodGet, "/"); !strings.Contains(page, "Exhausted: "+l.Server(0).At(9000).String()) {
		t.Error("the page does not say that ports are exhausted")
	}
	t.Run("promtool", func(t *testing.T) { checkMetrics(t, a) })
	t.Run("reload", func(t *testing.T) { checkReload(t, a, config, space) })

	more.Close()
	a.eventually("the reset flows let their ports go", func() bool { return a.value("snat_ports_live"+space) == 40 })
	if status := a.stop(); status != statusOK {
		t.Errorf("exit status %d, want %d", status, statusOK)
	}
}

// checkMetrics runs promtool over a live scrape.
func checkMetrics(t *testing.T, a *runningAgent) {
	promtool := kerneltest.Program(t, "promtool", "prometheus")
	_, body := a.get(http.MethodGet, "/metrics")
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(body)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// checkReload reloads with 64 flows in the ledger.
func checkReload(t *testing.T, a *runningAgent, config, space string) {
	const (
		ports   = `snat_budget_ports{budget="lab",protocol="tcp"}`
		success = "snat_config_last_reload_success"
	)
	held := func() float64 { return a.value("snat_ports_held" + space) }
	writeConfig(t, config, "2000-2127")
	if status, body := a.get(http.MethodPost, "/-/reload"); status != http.StatusOK {
		t.Fatalf("reload: %d: %s", status, body)
	}
	a.eventually("the new budget is there with the old flows", func() bool { return a.value(ports) == 128 && held() == 64 })

	writeConfig(t, config, "2127-2000")
	status, body := a.get(http.MethodPost, "/-/reload")
	if status != http.StatusUnprocessableEntity || !strings.Contains(body, "port_range") || !strings.Contains(body, "2127-2000") {
		t.Errorf("a bad config: %d: %s", status, body)
	}
	a.eventually("the refusal shows", func() bool { return a.value(success) == 0 && a.value(ports) == 128 && held() == 64 })

	writeConfig(t, config, "2000-2063")
	a.hangup <- os.Interrupt
	a.eventually("SIGHUP reloads", func() bool { return a.value(success) == 1 && a.value(ports) == 64 && held() == 64 })

	var snapshot struct {
		Budgets []struct {
			Protocols []struct{ Held int }
		}
	}
	if _, body := a.get(http.MethodGet, "/api/v1/snapshot"); json.Unmarshal([]byte(body), &snapshot) != nil || len(snapshot.Budgets) != 1 || snapshot.Budgets[0].Protocols[0].Held < 64 {
		t.Errorf("snapshot:\n%s", body)
	}
}

// Every way to see flows shows the same number of them.
func TestKernelAgentSources(t *testing.T) {
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	tests := []struct {
		name, budget string
		args         []string
		node         bool // the agent runs where the sockets are, not where they are translated
		source       string
	}{
		{
			name: "events", args: []string{"--strategy=events"}, source: `source="conntrack",strategy="events"`,
			budget: "{name: lab, model: linux, vips: [198.51.100.1], port_range: 2000-2063}",
		},
		{
			name: "sockets", args: []string{"--source=sockets"}, node: true, source: `source="sockets",strategy=""`,
			budget: "{name: lab, model: local}",
		},
		{
			name: "conntrack beside sockets", source: `source="conntrack",strategy="poll"`, args: []string{"--strategy=poll", "--source=conntrack"}, node: true,
			budget: "{name: far, model: azure-lb-2018, nodes: 10}, {name: lab, model: local}",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.name == "events" && os.Getenv("KERNEL_TESTS") != "require" {
				t.Skip("takes half a minute, until the next dump: KERNEL_TESTS=require runs it")
			}
			l, to := oneVIP(t, 2063)
			path := filepath.Join(t.TempDir(), "snatwatch.yaml")
			if err := os.WriteFile(path, []byte("budgets: ["+tt.budget+"]\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			where := l.Router()
			if tt.node {
				where = l.Node(0)
			}
			a := startAgent(t, append(tt.args, "--config", path, "--netns", where.Path())...)
			a.eventually("it is ready", func() bool { status, _ := a.get(http.MethodGet, "/-/ready"); return status == http.StatusOK })
			if got := a.value(fmt.Sprintf(`snat_source_info{netns="%d",%s}`, where.Netns(), tt.source)); got != 1 {
				t.Errorf("source %s: %v, want 1", tt.source, got)
			}
			vip := "" // a local port excludes others at the same address of the node
			if tt.node {
				vip = l.Node(0).Addr.String()
				// Flows that the first dump shows are not known to have opened since.
				sockets := fmt.Sprintf(`snat_source_info{netns="%d",source="sockets",strategy=""}`, where.Netns())
				a.eventually("sockets are read", func() bool { return a.value(sockets) == 1 })
			}
			live := fmt.Sprintf(`snat_ports_live{budget="lab",destination="%s",gateway="",protocol="tcp",vip="%s"}`, to, vip)
			flows, err := l.Node(0).OpenTCP(to, 25)
			if err != nil {
				t.Fatal(err)
			}
			a.eventually("25 ports are live", func() bool { return a.value(live) == 25 })
			flows.Close()
			a.eventually("none is live", func() bool { return a.value(live) == 0 })
			if got := a.value(`snat_flows_opened_total{budget="lab",protocol="tcp"}`); got != 25 {
				t.Errorf("flows opened: %v, want 25", got)
			}
			a.stop() // before the lab is gone
		})
	}
}

// A namespace that was deleted is let go: an agent that held on to it would report zeros for ever.
func TestKernelAgentEndsWithItsNamespace(t *testing.T) {
	t.Parallel()
	const machineEvery = 10 * time.Second // the agent looks at its namespace this often
	ns := kerneltest.Netns(t)
	path := writeFile(t, "blue", "")
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", ns.FD()), path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) }) // done already, but for a failure
	ended := make(chan struct{})
	var status int
	logs := &logtest.Lines{}
	go func() {
		defer close(ended)
		e := &env{
			stdout: io.Discard, stderr: logs, confine: func([]string) ([]string, error) { return nil, nil },
			hangup:   func() (<-chan os.Signal, func()) { return nil, func() {} },
			metadata: cloud.Client{URL: "http://127.0.0.1:1"},
		}
		status = e.run(t.Context(), []string{"--netns", path, "--web.listen-address=127.0.0.1:0"})
	}()
	time.Sleep(machineEvery + time.Second) // it has looked once
	select {
	case <-ended:
		t.Fatalf("it ended at once:\n%s", strings.Join(logs.All(), ""))
	default:
	}
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(2 * machineEvery):
		t.Fatal("it holds on to the namespace")
	}
	if log := strings.Join(logs.All(), ""); status != statusError || !strings.Contains(log, "nobody uses network namespace "+path+" any more") {
		t.Errorf("status %d, log:\n%s", status, log)
	}
}
