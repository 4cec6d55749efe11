// Package prom runs a real Prometheus or Alertmanager on loopback: the lab's timeline and tests ask it questions.
package prom

import (
	"bytes"
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

	"github.com/snatwatch/snatwatch/internal/child"
)

// Server is a child process that serves HTTP. It ends with the context that it was started with.
type Server struct {
	// URL is where it serves, without a slash at the end.
	URL string

	cmd   *exec.Cmd
	log   bytes.Buffer
	ended chan struct{}
	err   error // set before ended is closed
}

// Prometheus starts program, a Prometheus, and returns when it is ready. Its config and data are kept in dir.
func Prometheus(ctx context.Context, program, dir, config string) (*Server, error) {
	return start(ctx, program, filepath.Join(dir, "prometheus.yml"), config,
		"--storage.tsdb.path="+filepath.Join(dir, "data"))
}

// Alertmanager does the same for an Alertmanager, which has no peers.
func Alertmanager(ctx context.Context, program, dir, config string) (*Server, error) {
	return start(ctx, program, filepath.Join(dir, "alertmanager.yml"), config, "--storage.path="+filepath.Join(dir,
		"alertmanager"),
		"--cluster.listen-address=")
}

// Find returns the path of the first of names that is a program.
func Find(names ...string) (string, error) {
	for _, n := range names {
		if path, err := exec.LookPath(n); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no program %s: apt-get install prometheus prometheus-alertmanager", strings.Join(names, " or "))
}

func start(ctx context.Context, program, file, config string, args ...string) (*Server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s := &Server{URL: "http://" + address, ended: make(chan struct{})}
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	s.cmd = exec.CommandContext(ctx, program, append(args, "--config.file="+file, "--web.listen-address="+address)...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = 10 * time.Second
	if err := child.Start(s.cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		select {
		case <-s.ended:
			return nil, fmt.Errorf("%s ended: %w\n%s", program, s.err, s.log.String())
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
			if _, err := s.Get(ctx, "/-/ready"); err == nil {
				return s, nil
			}
		}
	}
	return nil, fmt.Errorf("%s does not answer at %s/-/ready within a minute", program, s.URL)
}

// freeAddress returns a loopback address with a port that was free a moment ago.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// Wait returns when the process has ended.
func (s *Server) Wait() { <-s.ended }

// Get returns what the server answers to GET at path, which begins with a slash.
func (s *Server) Get(ctx context.Context, path string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s%s: %s: %s", s.URL, path, resp.Status, body)
	}
	return body, err
}

// API decodes the field data of what Prometheus answers at path.
func (s *Server) API(ctx context.Context, path string, data any) error {
	body, err := s.Get(ctx, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, &struct{ Data any }{data}); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Sample is one series of an instant vector: its labels, and its value as Prometheus writes it.
type Sample struct {
	Labels map[string]string
	Value  string
}

// Query returns what an instant query returns, which is to be a vector.
func (s *Server) Query(ctx context.Context, expr string) ([]Sample, error) {
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any // when, and the value
		}
	}
	if err := s.API(ctx, "/api/v1/query?query="+url.QueryEscape(expr), &data); err != nil {
		return nil, err
	}
	var out []Sample
	for _, r := range data.Result {
		out = append(out, Sample{r.Metric, fmt.Sprint(r.Value[1])})
	}
	return out, nil
}
