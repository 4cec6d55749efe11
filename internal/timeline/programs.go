// Package timeline plays the lab's incident while a real Prometheus and a real Alertmanager watch it with the
// repository's own rules. It prints what happened when: forecast, page, first failed call, relief, all clear.
package timeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/internal/prom"
)

// prometheus starts a server that scrapes the agent and evaluates the rules every interval. Its alerts go to
// the Alertmanager at that URL; to none if it is empty.
func (o *Options) prometheus(ctx context.Context, dir string, interval time.Duration,
	alertmanager string,
) (*prom.Server, error) {
	name, err := prom.Find(o.Prometheus)
	if err != nil {
		return nil, err
	}
	rules, err := filepath.Abs(o.Rules)
	if err != nil {
		return nil, err
	}
	if files, err := filepath.Glob(filepath.Join(rules, "*.yaml")); err != nil || len(files) == 0 {
		return nil, errors.Join(fmt.Errorf("--rules=%s: no rule files there; want the folder rules of the repository",
			o.Rules), err)
	}
	alerting := ""
	if alertmanager != "" {
		alerting = fmt.Sprintf("alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}\n",
			strings.TrimPrefix(alertmanager, "http://"))
	}
	config := fmt.Sprintf(`global: {scrape_interval: %[1]s, scrape_timeout: %[1]s, evaluation_interval: %[1]s}
rule_files: [%[2]q]
%[3]sscrape_configs: [{job_name: snatwatch, static_configs: [{targets: [%[4]q]}]}]
`, interval, filepath.Join(rules, "*.yaml"), alerting, o.Agent)
	folder := filepath.Join(dir, "prometheus-"+interval.String())
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	return prom.Prometheus(ctx, name, folder, config)
}

// alertmanager starts an Alertmanager with the sample configuration. Its receivers send to webhook.
func (o *Options) alertmanager(ctx context.Context, dir, webhook string) (*prom.Server, error) {
	name, err := prom.Find(o.Alertmanager, "prometheus-alertmanager", "alertmanager")
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
	return prom.Alertmanager(ctx, name, dir, string(bytes.ReplaceAll(sample, []byte(receiver), []byte(webhook))))
}
