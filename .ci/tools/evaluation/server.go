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

// serve starts program over the database in dir and returns when it has read it. stop ends it.
func serve(program, dir string, end time.Time) (s *server, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, nil, err
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		return nil, nil, err
	}
	// All of it stays in memory, as the latest hours do: to make blocks would take CPU while questions are asked.
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+dir, "--web.listen-address="+address,
		"--log.level=error", "--storage.tsdb.min-block-duration=48h", "--storage.tsdb.max-block-duration=48h")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
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

// open asks for the variables of a board one after the other, as each is narrowed by those before it, for those that
// nobody sees at once, and then for all panels. It returns what the reader waits for all and for variables, and how
// many bytes the answers have.
func (s *server) open(b board) (waited, first time.Duration, size int, err error) {
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
	bodies, err := s.all([][]query{b.hidden}, strings.NewReplacer())
	if err != nil {
		return 0, 0, 0, err
	}
	var names []string
	for i, q := range b.hidden {
		var answer struct {
			Data struct {
				Result []struct{ Metric map[string]string }
			}
		}
		if err := json.Unmarshal(bodies[0][i], &answer); err != nil {
			return 0, 0, 0, err
		}
		var of []map[string]string
		for _, r := range answer.Data.Result {
			of = append(of, r.Metric)
		}
		names = append(names, q.names(of)...)
		size += len(bodies[0][i])
	}
	first = time.Since(begin)
	bodies, err = s.all(b.panels, strings.NewReplacer(names...))
	for _, of := range bodies {
		for _, body := range of {
			size += len(body)
		}
	}
	return time.Since(begin), first, size, err
}

// all asks the queries of panels and returns what is answered.
func (s *server) all(panels [][]query, fill *strings.Replacer) ([][][]byte, error) {
	g, ctx := errgroup.WithContext(context.Background())
	g.SetLimit(atOnce)
	out := make([][][]byte, len(panels))
	for i, queries := range panels {
		out[i] = make([][]byte, len(queries))
		g.Go(func() error {
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
