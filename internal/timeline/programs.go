// Package timeline plays the lab's incident before a real Prometheus and a real
// Alertmanager with the repository's own rules, and tells what happened when: forecast, page,
// first failed call, relief, all clear.
package timeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// program is a child process that ends with its context.
type program struct {
	cmd *exec.Cmd
	log bytes.Buffer
	// URL is where it serves.
	URL string
}

// start runs a program that serves on address and waits until path answers.
func start(ctx context.Context, address, path, name string, args ...string) (*program, error) {
	p := &program{URL: "http://" + address}
	p.cmd = exec.CommandContext(ctx, name, args...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = 10 * time.Second
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		select {
		case err := <-ended:
			return nil, fmt.Errorf("%s ended: %w\n%s", name, err, p.log.String())
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
			if _, err := get(ctx, p.URL+path); err == nil {
				return p, nil
			}
		}
	}
	return nil, fmt.Errorf("%s does not answer at %s%s within a minute", name, p.URL, path)
}

// freeAddress returns a loopback address with a port that was free a moment ago.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// look finds the first of names that is a program.
func look(names ...string) (string, error) {
	for _, n := range names {
		if path, err := exec.LookPath(n); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no program %s: apt-get install prometheus prometheus-alertmanager", strings.Join(names, " or "))
}

func get(ctx context.Context, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
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
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return body, err
}

// prometheus starts a server that scrapes target and evaluates the rules every interval.
func (o *Options) prometheus(ctx context.Context, dir string, interval time.Duration, alertmanager string) (*program, error) {
	name, err := look(o.Prometheus)
	if err != nil {
		return nil, err
	}
	rules, err := filepath.Abs(o.Rules)
	if err != nil {
		return nil, err
	}
	if files, err := filepath.Glob(filepath.Join(rules, "*.yaml")); err != nil || len(files) == 0 {
		return nil, errors.Join(fmt.Errorf("--rules=%s: no rule files there; want the folder rules of the repository", o.Rules), err)
	}
	alerting := ""
	if alertmanager != "" {
		alerting = fmt.Sprintf("alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}\n", strings.TrimPrefix(alertmanager, "http://"))
	}
	config := fmt.Sprintf(`global: {scrape_interval: %[1]s, scrape_timeout: %[1]s, evaluation_interval: %[1]s}
rule_files: [%[2]q]
%[3]sscrape_configs: [{job_name: snatwatch, static_configs: [{targets: [%[4]q]}]}]
`, interval, filepath.Join(rules, "*.yaml"), alerting, o.Agent)
	folder := filepath.Join(dir, "prometheus-"+interval.String())
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(folder, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return start(ctx, address, "/-/ready", name, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(folder, "data"), "--web.listen-address="+address)
}

// alertmanager starts one with the sample configuration, its receivers turned to webhook.
func (o *Options) alertmanager(ctx context.Context, dir, webhook string) (*program, error) {
	name, err := look(o.Alertmanager, "prometheus-alertmanager", "alertmanager")
	if err != nil {
		return nil, err
	}
	sample, err := os.ReadFile(o.Routing)
	if err != nil {
		return nil, fmt.Errorf("--routing: %w; want deploy/alertmanager/alertmanager.yml of the repository", err)
	}
	const receiver = "127.0.0.1:9099"
	if !bytes.Contains(sample, []byte(receiver)) {
		return nil, fmt.Errorf("--routing=%s: no receiver at %s in it, whose place this program takes", o.Routing, receiver)
	}
	file := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(file, bytes.ReplaceAll(sample, []byte(receiver), []byte(webhook)), 0o600); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return start(ctx, address, "/-/ready", name, "--config.file="+file, "--storage.path="+filepath.Join(dir, "alertmanager"),
		"--web.listen-address="+address, "--cluster.listen-address=")
}
