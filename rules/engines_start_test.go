package rules_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/rules"
	"github.com/snatwatch/snatwatch/rules/options"
)

// startEngines starts every engine that is to be had, the reference first.
func startEngines(t *testing.T, programs, target string) []*engine {
	t.Helper()
	dir := t.TempDir()
	put := func(name, body string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, e := range options.Engines() {
		o := rules.Default()
		o.Engine, o.FleetInterval, o.PageInterval = e, engineFleet, enginePage
		files, err := o.Files()
		if err != nil {
			t.Fatal(err)
		}
		for name, body := range files {
			put(filepath.Join("rules-"+string(e), name), string(body))
		}
	}
	var jobs strings.Builder
	for n := range engineNodes {
		fmt.Fprintf(&jobs, "  - {targets: [%q], labels: {__metrics_path__: /node/%d, cluster: c1, instance: 'node-%d:9959'}}\n", target, n+1, n+1)
	}
	config := func(ruleFiles, alertmanager string) string {
		c := fmt.Sprintf("global: {scrape_interval: %s, scrape_timeout: %s, evaluation_interval: %s}\n", engineScrape, engineScrape, enginePage)
		if ruleFiles != "" {
			c += fmt.Sprintf("rule_files: [%q]\n", ruleFiles)
		}
		if alertmanager != "" {
			c += fmt.Sprintf("alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}\n", strings.TrimPrefix(alertmanager, "http://"))
		}
		return c + "scrape_configs:\n- job_name: snatwatch\n  static_configs:\n" + jobs.String()
	}
	start := func(program, healthy string, args ...string) {
		t.Helper()
		path := program
		if p := filepath.Join(programs, program); exists(p) {
			path = p
		}
		ctx, cancel := context.WithCancel(t.Context())
		log, err := os.Create(filepath.Join(dir, filepath.Base(program)+".log"))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(ctx, path, args...)
		cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, dir
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cancel()
			_ = cmd.Wait()
			_ = log.Close()
		})
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
			resp, err := http.Get(healthy) //nolint:noctx // loopback, and the deadline ends it
			if err == nil {
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					return
				}
			}
			if time.Now().After(deadline) {
				body, _ := os.ReadFile(log.Name())
				t.Fatalf("%s is not up after a minute: %v\n%s", program, err, body)
			}
		}
	}
	prometheus := func(name, program, ruleFiles string, more ...string) *engine {
		address, sink := free(t), newSink(t)
		alertmanager := sink.URL
		if ruleFiles == "" {
			alertmanager = ""
		}
		file := put(name+"/prometheus.yml", config(ruleFiles, alertmanager))
		start(program, "http://"+address+"/-/ready", append([]string{
			"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, name, "data"),
			"--web.listen-address=" + address,
		}, more...)...)
		return &engine{name, "http://" + address, sink}
	}
	own := filepath.Join(dir, "rules-prometheus", "*.yaml")
	out := []*engine{prometheus("Prometheus 3", "prometheus", own)}
	if old, err := exec.LookPath("prometheus"); err == nil {
		out = append(out, prometheus("Prometheus of Debian", old, own))
	}
	out = append(out, startVictoria(t, dir, put("victoria/scrape.yml", config("", "")), start))
	return append(out, startThanos(t, dir, put, prometheus("Prometheus for Thanos", "prometheus", "", "--web.enable-remote-write-receiver"), start))
}

type starter func(program, healthy string, args ...string)

// startVictoria starts a single VictoriaMetrics, a vmagent that scrapes for it and a vmalert that stamps a label on all
// that it records, as one of a pair does.
func startVictoria(t *testing.T, dir, scrape string, start starter) *engine {
	t.Helper()
	store, agent, alert, sink := free(t), free(t), free(t), newSink(t)
	start("victoria-metrics", "http://"+store+"/health", "-httpListenAddr="+store, "-storageDataPath="+filepath.Join(dir, "victoria", "data"),
		"-search.latencyOffset=0s", "-retentionPeriod=1d", "-memory.allowedBytes=256MB")
	start("vmagent", "http://"+agent+"/health", "-httpListenAddr="+agent, "-promscrape.config="+scrape, "-promscrape.config.strictParse=false",
		"-remoteWrite.url=http://"+store+"/api/v1/write", "-remoteWrite.tmpDataPath="+filepath.Join(dir, "victoria", "agent"))
	start("vmalert", "http://"+alert+"/health", "-httpListenAddr="+alert, "-rule="+filepath.Join(dir, "rules-victoriametrics", "*.yaml"),
		"-datasource.url=http://"+store, "-remoteWrite.url=http://"+store, "-remoteRead.url=http://"+store, "-notifier.url="+sink.URL,
		"-external.label=replica=a", "-rule.evalDelay=0s", "-remoteWrite.flushInterval=1s")
	return &engine{"VictoriaMetrics", "http://" + store, sink}
}

// startThanos starts a stateless ruler that reads from and writes to a Prometheus without rules.
func startThanos(t *testing.T, dir string, put func(name, body string) string, store *engine, start starter) *engine {
	t.Helper()
	address, sink := free(t), newSink(t)
	write := put("thanos/write.yml", fmt.Sprintf("remote_write: [{url: %q, name: store}]\n", store.query+"/api/v1/write"))
	start("thanos", "http://"+address+"/-/ready", "rule", "--data-dir="+filepath.Join(dir, "thanos", "data"), "--rule-file="+filepath.Join(dir, "rules-thanos", "*.yaml"),
		"--eval-interval="+enginePage.String(), "--query="+store.query, "--remote-write.config-file="+write, "--alertmanagers.url="+sink.URL,
		"--label=replica=\"a\"", "--http-address="+address, "--grpc-address="+free(t))
	return &engine{"Thanos ruler", store.query, sink}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// free returns an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
