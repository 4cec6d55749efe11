package agent

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
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
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/record"
	"github.com/snatwatch/snatwatch/internal/web"
)

// stepFar is far more than what a test takes, so that no time can be taken for one before or after a step.
const stepFar = time.Hour

// near is how far two times may lie apart that are not an hour apart.
const near = stepFar / 4

// When somebody sets the wall clock, all that the agent shows has the new time at once, and nothing that it counts or
// forecasts takes the step for time that went by: no port is let go, no lifetime is an hour, no record ends early.
func TestKernelClockSteps(t *testing.T) {
	kerneltest.Guest(t)
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	for _, strategy := range []string{"poll", "events"} {
		t.Run(strategy, func(t *testing.T) { clockSteps(t, strategy) })
	}
}

func clockSteps(t *testing.T, strategy string) {
	client, ns, far := kerneltest.Gateway(t, `table ip n { chain post { type nat hook postrouting priority 100; oifname "s0" masquerade; }; }`)
	for name, value := range map[string]string{
		"events": "1", "timestamp": "1", // stamps are of the wall clock
		"tcp_timeout_time_wait": "5", // seconds, after which events tell of an end
	} {
		path := "/proc/sys/net/netfilter/nf_conntrack_" + name
		if err := ns.Do(func() error { return os.WriteFile(path, []byte(value), 0) }); err != nil {
			t.Fatal(err)
		}
	}
	a, _ := newQuietAgent(t, fmt.Sprintf("cloud_metadata: false\nnetns: /proc/self/fd/%d\nstrategy: %s\npoll_interval: 1s\ncpu_budget: 1\n"+
		"budgets: [{name: far, model: static, ports: 60000, tcp: {cool_down: {fin: 45m}}, "+
		"destinations: {include: [10.82.0.2/32], exclude: []}}]\n", ns.FD(), strategy), cloud.Client{})
	flows := t.TempDir()
	a.sensors.record = &record.Options{Dir: flows}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.sensors.run(ctx) }()
	stop := func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("sources ended: %v", err)
		}
		ended <- context.Canceled
	}
	t.Cleanup(stop)
	s := &sourcesAgent{a, t}
	s.eventually("conntrack is read", func(s seen) bool { return s.Source == "conntrack" && s.Exact })

	const (
		opens, ends = 12, 8 // at each step
		few         = 0.01  // probability: nothing is about to run out
	)
	server := acceptAll(t, far)
	at := a.now()
	var learned []byte
	steps := []time.Duration{0, stepFar, -2 * stepFar} // the last leads to before the agent started
	for i, step := range steps {
		if step != 0 {
			setClock(t, step)
		}
		var pairs [opens][2]net.Conn
		for i := range pairs {
			pairs[i] = server.connect(t, client)
		}
		opened, closed := uint64(opens*(i+1)), uint64(ends*(i+1))
		s.eventually("opens count", func(got seen) bool { return got.Opened == opened })
		for _, p := range pairs[:ends] {
			_, _ = p[0].Close(), p[1].Close()
		}
		// The kernel may take a minute to clean up, and dumps beside events are as rare.
		s.within(5*time.Minute, "ends count, and all is exact", func(got seen) bool {
			return got.Opened == opened && got.Closed == closed && got.Live == int(opened-closed) && got.Exact
		})
		st := a.publisher.state.Load()
		snap := st.View.Snapshot
		if d := snap.At.Sub(at); d < 0 || d > near {
			t.Errorf("step %d by %v: the agent's clock went by %v", i, step, d)
		}
		at = snap.At
		p := &snap.Budgets[0].Protocols[0]
		if p.Held != int(opened) || p.Lifetime.Sum > near.Seconds() {
			t.Errorf("step %d by %v: %d held of %d, lifetimes of %v s together", i, step, p.Held, opened, p.Lifetime.Sum)
		}
		soon := func(what string, p *detector.AccountSnapshot) { // within five minutes
			t.Helper()
			for h, x := range p.Forecast.Probability[:2] {
				if math.IsNaN(x) || x > few {
					t.Errorf("step %d by %v: %s: %v for an exhaustion of 60,000 ports at horizon %d", i, step, what, x, h)
				}
			}
		}
		soon("now", p)
		shownNow(t, a)
		b, err := a.loop.state(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range [][]byte{learned, b} { // by an agent that starts now, also what was saved before the step
			next := newLoop(collector.Clock(), a.setup.current(), func(*detector.Snapshot) {}, a.loop.ledger)
			if err := next.restore(b, next.now()); len(b) > 0 && err != nil {
				t.Errorf("step %d by %v: restored: %v", i, step, err)
			}
			soon("restored", &next.snapshot().Budgets[0].Protocols[0])
		}
		learned = b
	}
	stop()
	recordedNow(t, flows, len(steps)*opens)
}

// setClock steps the machine's wall clock; the end of the test puts it back.
func setClock(t *testing.T, by time.Duration) {
	t.Helper()
	step := func(by time.Duration) error {
		to := unix.NsecToTimespec(time.Now().Add(by).UnixNano())
		return unix.ClockSettime(unix.CLOCK_REALTIME, &to)
	}
	if err := step(by); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := step(-by); err != nil {
			t.Error(err)
		}
	})
}

// shownNow checks that metrics, API and page have the wall clock's time.
func shownNow(t *testing.T, a *agent) {
	t.Helper()
	server, err := web.New(web.Config{
		State: a.publisher.state.Load, Age: a.publisher.age, History: &a.publisher.history, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	shown := func(path, pattern string) string {
		t.Helper()
		w := httptest.NewRecorder()
		server.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		m := regexp.MustCompile(pattern).FindStringSubmatch(w.Body.String())
		if m == nil {
			t.Fatalf("%s has no %s:\n%s", path, pattern, w.Body)
		}
		return m[1]
	}
	number := func(text string) float64 {
		t.Helper()
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	moment := func(layout, text string) time.Time {
		t.Helper()
		at, err := time.Parse(layout, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	if age := number(shown("/metrics", `(?m)^snat_snapshot_age_seconds (\S+)`)); age < 0 || age > near.Seconds() {
		t.Errorf("the snapshot is %v s old", age)
	}
	for what, at := range map[string]time.Time{
		"metrics": time.UnixMilli(int64(1e3 * number(shown("/metrics", `(?m)^snat_snapshot_timestamp_seconds (\S+)`)))),
		"the API": moment(time.RFC3339, shown("/api/v1/snapshot", `"at": ?"([^"]+)"`)),
		"page":    moment(time.DateTime, shown("/", `(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC`)),
	} {
		if d := time.Since(at); d < -near || d > near {
			t.Errorf("%s: the snapshot is of %v, now it is %v", what, at, time.Now())
		}
	}
}

// recordedNow checks that the record in a folder has so many flows, none of them an hour from another.
func recordedNow(t *testing.T, dir string, want int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.csv.gz"))
	if err != nil || len(names) != 1 {
		t.Fatalf("records %q, %v, want one", names, err)
	}
	f, err := os.Open(names[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	rows, first, last := 0, math.Inf(1), 0.0
	for line := range strings.Lines(string(b)) {
		fields := strings.Split(line, ",")
		if !strings.HasPrefix(fields[0], "1") && !strings.HasPrefix(fields[0], "2") {
			continue // a comment, or the names
		}
		rows++
		for _, text := range fields[:2] { // when it began and ended
			if x, err := strconv.ParseFloat(text, 64); err == nil {
				first, last = min(first, x), max(last, x)
			}
		}
	}
	if rows != want || last-first > near.Seconds() {
		t.Errorf("%d rows of %.0f s, want %d of one moment:\n%s", rows, last-first, want, b)
	}
}

// accepting is a server of 10.82.0.2.
type accepting struct {
	address  string
	accepted chan net.Conn
}

func acceptAll(t *testing.T, ns *netns.Handle) *accepting {
	t.Helper()
	var l net.Listener
	if err := ns.Do(func() (err error) { l, err = net.Listen("tcp4", "10.82.0.2:0"); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := &accepting{address: l.Addr().String(), accepted: make(chan net.Conn, 1)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.accepted <- c
		}
	}()
	return s
}

// connect returns the client's end and the server's, which last as long as the test.
func (s *accepting) connect(t *testing.T, ns *netns.Handle) (ends [2]net.Conn) {
	t.Helper()
	err := ns.Do(func() (err error) { ends[0], err = net.Dial("tcp4", s.address); return err })
	if err != nil {
		t.Fatal(err)
	}
	ends[1] = <-s.accepted
	t.Cleanup(func() { _, _ = ends[0].Close(), ends[1].Close() })
	return ends
}
