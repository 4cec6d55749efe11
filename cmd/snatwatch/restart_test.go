package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/lab"
)

// A steady load holds 57 % of the budget. An agent that is ended by SIGTERM and started anew counts every flow that
// opens, even while no agent runs, and predicts no exhaustion. Nor does it with an old copy of the state file.
func TestKernelRestart(t *testing.T) {
	t.Parallel()
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	for _, tt := range []struct {
		name     string
		coolDown time.Duration
		port     int
		long     bool // SNATWATCH_LONG=1 runs it: a quarter of an hour
	}{
		{name: "a cool-down of 15 s", coolDown: 15 * time.Second, port: 9971},
		{name: "a cool-down of 240 s", coolDown: 240 * time.Second, port: 9972, long: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.long && os.Getenv("SNATWATCH_LONG") == "" {
				t.Skip("takes a quarter of an hour: SNATWATCH_LONG=1 runs it")
			}
			checkRestart(t, tt.coolDown, tt.port)
		})
	}
}

func checkRestart(t *testing.T, coolDown time.Duration, port int) {
	const ports, lifetime, gap = 1024, 3 * time.Second, 3 * time.Second
	const quiet = 0.3 // the probability stays below it: a page takes more
	l, to := oneVIP(t, 9999)
	config := filepath.Join(t.TempDir(), "snatwatch.yaml")
	text := fmt.Sprintf("budgets: [{name: cloud, model: static, vips: [%s], tcp: {ports: %d, cool_down: {fin: %s, rst: 15s, unknown: %s}}}]\n",
		lab.VIP(0), ports, coolDown, coolDown)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	between := time.Duration(float64(coolDown+lifetime) / (0.57 * ports))
	a := &restarted{
		t: t, where: l.Router(), address: fmt.Sprintf("127.0.0.1:%d", port),
		state: filepath.Join(filepath.Dir(config), "state"), config: config,
	}
	a.start()
	load := startLoad(t, l.Node(0), to, between, lifetime)
	a.load = load
	full := fmt.Sprintf(`snat_ports_held{budget="cloud",destination="%s",gateway="",protocol="tcp",vip=""}`, to)
	a.watch(coolDown + lifetime + 20*time.Second)
	if held := a.value(full); held < 0.45*ports || held > 0.7*ports {
		t.Fatalf("it holds %v of %d, want about 57 %%", held, ports)
	}
	before := a.peak
	for _, kind := range []string{"a restart", "another restart"} {
		a.peak = 0
		a.end()
		time.Sleep(gap)
		a.start()
		a.watch(max(coolDown, 20*time.Second))
		t.Logf("%s: P(5 min) at most %.3f (%.3f before), %v of %d ports held", kind, a.peak, before, a.value(full), ports)
		if a.peak >= quiet {
			t.Errorf("%s raises the page: P(5 min) %.3f, want below %v", kind, a.peak, quiet)
		}
	}
	load.stop()
	a.awaitCount("after the load ended")

	// A state file that is older than the time without an agent: the counts start at nothing, and nothing is predicted.
	old := a.read()
	a.end()
	load = startLoad(t, l.Node(0), to, between, lifetime)
	time.Sleep(gap)
	if err := os.WriteFile(a.state, old, 0o600); err != nil {
		t.Fatal(err)
	}
	a.peak = 0
	a.start()
	a.watch(20 * time.Second)
	if a.peak >= quiet {
		t.Errorf("an old state file raises the page: P(5 min) %.3f, want below %v", a.peak, quiet)
	}
	if opened := a.value(a.opened()); opened > float64(load.opened()) {
		t.Errorf("with an old state file %v flows opened, of %d that did: some count twice", opened, load.opened())
	}
	t.Logf("an old state file: P(5 min) at most %.3f", a.peak)
}

// restarted is an agent, a process of its own, that is ended and started anew.
type restarted struct {
	t             *testing.T
	where         *lab.Host
	address       string
	config, state string
	load          *load
	process       *os.Process
	wait          func() error
	peak          float64 // of P(5 min)
	client        http.Client
}

// connect makes the client, once where is known.
func (a *restarted) connect() {
	a.client = http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			err = a.where.Do(func() (err error) { c, err = new(net.Dialer).DialContext(ctx, network, address); return err })
			return c, err
		},
	}}
}

func (a *restarted) start() {
	a.t.Helper()
	a.connect()
	cmd, _ := startProgram(a.t, a.where, &syscall.SysProcAttr{}, "--config="+a.config, "--state-file="+a.state,
		"--web.listen-address="+a.address, "--source=conntrack", "--strategy=poll", "--poll-interval=1s", "--cpu-budget=1")
	a.process, a.wait = cmd.Process, cmd.Wait
	a.await("it is ready", func() bool { _, err := a.get("/-/ready"); return err == nil })
}

func (a *restarted) end() {
	a.t.Helper()
	if err := a.process.Signal(syscall.SIGTERM); err != nil {
		a.t.Fatal(err)
	}
	if err := a.wait(); err != nil {
		a.t.Fatalf("it ended with %v", err)
	}
}

func (a *restarted) read() []byte {
	a.t.Helper()
	b, err := os.ReadFile(a.state)
	if err != nil {
		a.t.Fatal(err)
	}
	return b
}

func (a *restarted) get(path string) (string, error) {
	res, err := a.client.Get("http://" + a.address + path)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", res.Status)
	}
	return string(b), err
}

// value is the last value of a series, or of the greatest of several that begin like it; -1 where there is none.
func (a *restarted) value(series string) float64 {
	most := -1.0
	body, _ := a.get("/metrics")
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, series) {
			f, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:]), 64)
			if err != nil {
				a.t.Fatal(err)
			}
			most = max(most, f)
		}
	}
	return most
}

func (a *restarted) opened() string { return `snat_flows_opened_total{budget="cloud",protocol="tcp"}` }

// watch notes the peak of P(5 min) for d.
func (a *restarted) watch(d time.Duration) {
	a.t.Helper()
	for deadline := time.Now().Add(d); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		a.peak = max(a.peak, a.value(`snat_exhaustion_probability_max{budget="cloud",horizon="5m"`))
	}
}

// awaitCount waits until the agent has counted every flow that opened, and no more; the load has ended.
func (a *restarted) awaitCount(when string) {
	a.t.Helper()
	a.await(when+": the agent counts what the load opened", func() bool { return a.value(a.opened()) == float64(a.load.opened()) })
}

func (a *restarted) await(what string, ok func() bool) {
	a.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			a.t.Fatalf("not within a minute: %s: opened %v, by the load %d", what, a.value(a.opened()), a.load.opened())
		}
	}
}

// load opens flows one after the other, at a steady pace, and closes each after its lifetime by FIN.
type load struct {
	count atomic.Int64
	end   context.CancelFunc
	done  chan struct{}
}

func startLoad(t *testing.T, from *lab.Host, to netip.AddrPort, between, lifetime time.Duration) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{end: cancel, done: make(chan struct{})}
	t.Cleanup(l.stop)
	go func() {
		defer close(l.done)
		var open, ending []*lab.Flows
		since := map[*lab.Flows]time.Time{}
		defer func() {
			time.Sleep(lifetime) // of the last flow
			for _, f := range slices.Concat(open, ending) {
				f.Close()
			}
		}()
		older := func(list []*lab.Flows, age time.Duration) bool {
			return len(list) > 0 && time.Since(since[list[0]]) > age
		}
		for next := time.Now(); ctx.Err() == nil; next = next.Add(between) {
			time.Sleep(time.Until(next))
			f, err := from.OpenTCP(to, 1)
			if err != nil {
				t.Errorf("the load ends: %v", err)
				return
			}
			l.count.Add(1)
			since[f] = time.Now()
			open = append(open, f)
			for older(open, lifetime) {
				open[0].Shutdown()
				open, ending = open[1:], append(ending, open[0])
			}
			for older(ending, lifetime+2*time.Second) { // the server's FIN has come
				ending[0].Close()
				delete(since, ending[0])
				ending = ending[1:]
			}
		}
	}()
	return l
}

// opened counts the flows that the load opened; nil opened none.
func (l *load) opened() int64 {
	if l == nil {
		return 0
	}
	return l.count.Load()
}

func (l *load) stop() {
	l.end()
	<-l.done
}
