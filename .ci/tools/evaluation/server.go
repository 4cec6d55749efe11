package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// server is a real Prometheus over a database that was written before.
type server struct {
	url string
	end time.Time
}

// configFile is a server's config, in the folder of its database.
const configFile = "prometheus.yml"

// serve starts program over the database in dir and returns when it has read it. stop ends it.
func serve(program, dir, config string, end time.Time) (s *server, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, nil, err
	}
	path := filepath.Join(dir, configFile)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, nil, err
	}
	// All of it stays in memory, as the latest hours do: to make blocks would take CPU while questions are asked.
	cmd := exec.Command(program, "--config.file="+path, "--storage.tsdb.path="+dir, "--web.listen-address="+address,
		"--log.level=error", "--web.enable-lifecycle",
		"--storage.tsdb.min-block-duration=48h", "--storage.tsdb.max-block-duration=48h")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // the kernel shares cores out among sessions first
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	hurry(cmd.Process.Pid)
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	}
	s = &server{url: "http://" + address, end: end}
	for deadline := time.Now().Add(10 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		select {
		case <-ended:
			return nil, nil, fmt.Errorf("%s ended: %s", program, cmd.ProcessState)
		default:
		}
		if _, err := s.get(context.Background(), "/-/ready", nil); err == nil {
			return s, stop, nil
		}
	}
	stop()
	return nil, nil, fmt.Errorf("%s was not ready within ten minutes", program)
}

// hurry lets a server, which leads a session, go before all else on a busy machine, where this process may do so: what
// it takes on the clock is then what it takes of the CPU.
func hurry(pid int) {
	const first = -20
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), fmt.Append(nil, first), 0) // not every kernel has groups
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, pid, first)
}

func (s *server) get(ctx context.Context, path string, form url.Values) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, strings.NewReader(form.Encode()))
	if form == nil {
		r, err = http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	}
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return body, err
}

// cpu is what the server has taken, in seconds.
func (s *server) cpu() (float64, error) {
	body, err := s.get(context.Background(), "/metrics", nil)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(body)) {
		var seconds float64
		if n, _ := fmt.Sscanf(line, "process_cpu_seconds_total %g", &seconds); n == 1 {
			return seconds, nil
		}
	}
	return 0, fmt.Errorf("%s does not tell its CPU time", s.url)
}

// rest returns when the server is idle.
func (s *server) rest() error {
	for before := 0.0; ; time.Sleep(5 * time.Second) {
		now, err := s.cpu()
		if err != nil || now-before < 0.1 {
			return err
		}
		before = now
	}
}

// atOnce is how many requests to one server a browser has open over HTTP/1.1. Grafana makes one of each panel, and asks
// the queries of a panel at once from release 12 on.
const atOnce = 6

// open opens board b as a browser does. It asks for the shown variables one after the other, as each narrows the next,
// then for all hidden variables at once, and then for the queries of panels. It returns how long the reader waits for
// everything, how long for the variables alone, and how many bytes the answers have.
func (s *server) open(b board, panels [][]query) (waited, first time.Duration, size int, err error) {
	begin := time.Now()
	from := s.end.Add(-back)
	for _, v := range b.variables {
		label, matcher, _ := strings.Cut(v, " ")
		form := url.Values{"match[]": {matcher}, "start": {fmt.Sprint(from.Unix())}, "end": {fmt.Sprint(s.end.Unix())}}
		body, err := s.get(context.Background(), "/api/v1/label/"+label+"/values?"+form.Encode(), nil)
		if err != nil {
			return 0, 0, 0, fmt.Errorf("%s: %w", v, err)
		}
		size += len(body)
	}
	// A panel whose variables are known does not wait for the others.
	var early, late [][]query
	for _, queries := range panels {
		if slices.ContainsFunc(queries, b.waits) {
			late = append(late, queries)
		} else {
			early = append(early, queries)
		}
	}
	connections := make(chan struct{}, atOnce)
	sizes := make([]int, 2)
	var g errgroup.Group
	g.Go(func() error {
		bodies, err := s.all(early, strings.NewReplacer(), connections)
		sizes[0] = length(bodies)
		return err
	})
	g.Go(func() error {
		var of [][]query
		for _, q := range b.hidden {
			of = append(of, []query{q})
		}
		bodies, err := s.all(of, strings.NewReplacer(), connections)
		if err != nil {
			return err
		}
		var names []string
		for i, q := range b.hidden {
			found, err := answered(bodies[i][0])
			if err != nil {
				return err
			}
			names = append(names, q.names(found)...)
		}
		first = time.Since(begin)
		sizes[1] = length(bodies)
		bodies, err = s.all(late, strings.NewReplacer(names...), connections)
		sizes[1] += length(bodies)
		return err
	})
	err = g.Wait()
	return time.Since(begin), first, size + sizes[0] + sizes[1], err
}

// answered are the labels of the series in an answer.
func answered(body []byte) (out []map[string]string, err error) {
	var answer struct {
		Data struct {
			Result []struct{ Metric map[string]string }
		}
	}
	err = json.Unmarshal(body, &answer)
	for _, r := range answer.Data.Result {
		out = append(out, r.Metric)
	}
	return out, err
}

// length is how many bytes answers have.
func length(bodies [][][]byte) (n int) {
	for _, body := range slices.Concat(bodies...) {
		n += len(body)
	}
	return n
}

// all asks the queries of panels and returns what is answered. A panel takes one of the connections.
func (s *server) all(panels [][]query, fill *strings.Replacer, connections chan struct{}) ([][][]byte, error) {
	g, ctx := errgroup.WithContext(context.Background())
	out := make([][][]byte, len(panels))
	for i, queries := range panels {
		out[i] = make([][]byte, len(queries))
		g.Go(func() error {
			connections <- struct{}{}
			defer func() { <-connections }()
			of, ctx := errgroup.WithContext(ctx)
			for j, q := range queries {
				q.expr = fill.Replace(q.expr)
				of.Go(func() (err error) { out[i][j], err = s.ask(ctx, q); return err })
			}
			return of.Wait()
		})
	}
	return out, g.Wait()
}

func (s *server) ask(ctx context.Context, q query) ([]byte, error) {
	path, form := "/api/v1/query", url.Values{"query": {q.expr}, "time": {fmt.Sprint(s.end.Unix())}}
	if !q.instant {
		path = "/api/v1/query_range"
		form = url.Values{
			"query": {q.expr}, "start": {fmt.Sprint(s.end.Add(-back).Unix())}, "end": {fmt.Sprint(s.end.Unix())},
			"step": {fmt.Sprint(q.step().Seconds())},
		}
	}
	body, err := s.get(ctx, path, form)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, q.expr)
	}
	return body, nil
}
