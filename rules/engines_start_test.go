package rules_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/snatwatch/snatwatch/internal/engines"
	"github.com/snatwatch/snatwatch/rules"
	"github.com/snatwatch/snatwatch/rules/options"
)

// engine is one that evaluates the rules: where it is asked, the pages that it sent, and what is started again in the middle.
type engine struct {
	name string
	// query is the address below which Prometheus' API answers.
	query   string
	alert   *alertSink
	restart []*engines.Program
}

// fleetOfEngines starts engines that scrape the nodes of one address.
type fleetOfEngines struct {
	*engines.Lab
	t    *testing.T
	jobs string
}

// startEngines starts every engine that is to be had, the reference first.
func startEngines(t *testing.T, programs, target string) []*engine {
	t.Helper()
	s := &fleetOfEngines{Lab: engines.New(t, programs), t: t}
	for _, e := range options.Engines() {
		o := rules.Default()
		o.Engine, o.FleetInterval, o.PageInterval = e, engineFleet, enginePage
		files, err := o.Files()
		if err != nil {
			t.Fatal(err)
		}
		for name, body := range files {
			s.Put(filepath.Join("rules-"+string(e), name), string(body))
			if e == options.Thanos { // Cortex wants an interval for each group, too, and a folder for each tenant
				s.Put(filepath.Join("rules-cortex", "fake", name), string(body))
			}
		}
	}
	for n := range engineNodes {
		s.jobs += fmt.Sprintf("  - {targets: [%q], labels: {__metrics_path__: /node/%d, cluster: %s, instance: 'node-%d:9959'}}\n",
			target, n+1, clusterOf(n+1), n+1)
	}
	sink := newSink(t)
	own := s.Path("rules-prometheus", "*.yaml")
	url, _ := s.Prometheus("prometheus", "prometheus", s.config(own, sink.URL, ""))
	all := []*engine{{name: "Prometheus 3", query: url, alert: sink}}
	if old := debianPrometheus(); old != "" {
		sink := newSink(t)
		url, p := s.Prometheus("prometheus-2.42", old, s.config(own, sink.URL, ""))
		all = append(all, &engine{"Prometheus 2.42", url, sink, []*engines.Program{p}})
	}
	all = append(all, s.victoria(false), s.thanos(), s.cortex())
	if !s.Has("vminsert") {
		t.Log("not run: the cluster of VictoriaMetrics, whose programs are not in the folder")
		return all
	}
	return append(all, s.victoria(true))
}

// config is that of a Prometheus that scrapes the fleet; without rules and alerts where none are given.
func (s *fleetOfEngines) config(ruleFiles, alertmanager, replica string) string {
	c := fmt.Sprintf("global: {scrape_interval: %s, scrape_timeout: %s, evaluation_interval: %s", engineScrape, engineScrape, enginePage)
	if replica != "" {
		c += ", external_labels: {replica: " + replica + "}"
	}
	c += "}\n"
	if ruleFiles != "" {
		c += fmt.Sprintf("rule_files: [%q]\n", ruleFiles)
	}
	if alertmanager != "" {
		c += fmt.Sprintf("alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}\n", strings.TrimPrefix(alertmanager, "http://"))
	}
	return c + "scrape_configs:\n- job_name: snatwatch\n  static_configs:\n" + s.jobs
}

// victoria starts VictoriaMetrics, single or as a cluster, with two scrapers of the same nodes, and two evaluators of the same rules
// of which each stamps a label on all that it records.
func (s *fleetOfEngines) victoria(cluster bool) *engine {
	name := "VictoriaMetrics"
	var store, write string
	var programs []*engines.Program
	if cluster {
		name += " cluster"
		store, write, programs = s.VictoriaCluster(engineScrape.String())
	} else {
		url, p := s.VictoriaMetrics(engineScrape.String())
		store, write, programs = url, url+"/api/v1/write", []*engines.Program{p}
	}
	folder := strings.ReplaceAll(strings.ToLower(name), " ", "-")
	e := &engine{name: name, query: store, alert: newSink(s.t), restart: programs}
	scrape := s.Put(folder+"/scrape.yml", s.config("", "", ""))
	for i, replica := range []string{"a", "b"} {
		agent, alert := s.Free(), s.Free()
		s.Start(folder+"-vmagent-"+replica, "vmagent", "http://"+agent+"/health", "-httpListenAddr="+agent, "-promscrape.config="+scrape,
			"-promscrape.config.strictParse=false", "-remoteWrite.url="+write,
			"-remoteWrite.tmpDataPath="+s.Path(folder, "agent-"+replica))
		p := s.Start(folder+"-vmalert-"+replica, "vmalert", "http://"+alert+"/health", "-httpListenAddr="+alert,
			"-rule="+s.Path("rules-victoriametrics", "*.yaml"), "-datasource.url="+store, "-remoteRead.url="+store,
			"-remoteWrite.url="+strings.TrimSuffix(write, "/api/v1/write"),
			"-notifier.url="+e.alert.URL, "-external.label=replica="+replica, "-rule.evalDelay=0s", "-remoteWrite.flushInterval=1s")
		if i == 0 { // the second evaluator goes on
			e.restart = append(e.restart, p)
		}
	}
	return e
}

// thanos starts two Prometheus that scrape the same nodes, a querier over both, and two rulers that ask it: one that keeps what it
// records and one that writes it to a Prometheus.
func (s *fleetOfEngines) thanos() *engine {
	e := &engine{name: "Thanos", alert: newSink(s.t)}
	var stores, first []string
	for _, replica := range []string{"a", "b"} {
		name := "thanos-" + replica
		url, p := s.Prometheus(name, "prometheus", s.config("", "", replica), "--web.enable-remote-write-receiver")
		stores, first = append(stores, s.Sidecar(name, url)), append(first, url)
		e.restart = []*engines.Program{p}
	}
	http, grpc := s.Free(), s.Free()
	url, querier := s.Querier([]string{"replica", "ruler"}, append(stores, grpc)...)
	e.query = url
	args := func(ruler, http, grpc string) []string {
		return []string{
			"rule", "--data-dir=" + s.Path("ruler-"+ruler), "--rule-file=" + s.Path("rules-thanos", "*.yaml"),
			"--eval-interval=" + enginePage.String(), "--query=" + url, "--alertmanagers.url=" + e.alert.URL,
			fmt.Sprintf("--label=ruler=%q", ruler), "--http-address=" + http, "--grpc-address=" + grpc,
		}
	}
	keeps := s.Start("ruler-keeps", "thanos", "http://"+http+"/-/ready", args("a", http, grpc)...)
	write := s.Put("thanos/write.yml", fmt.Sprintf("remote_write: [{url: %q, name: store}]\n", first[0]+"/api/v1/write"))
	http = s.Free()
	s.Start("ruler-writes", "thanos", "http://"+http+"/-/ready", append(args("b", http, s.Free()), "--remote-write.config-file="+write)...)
	e.restart = append(e.restart, querier, keeps)
	return e
}

// cortex starts one to which a Prometheus writes what it scrapes.
func (s *fleetOfEngines) cortex() *engine {
	e := &engine{name: "Cortex", alert: newSink(s.t)}
	url, write, p := s.Cortex(s.Path("rules-cortex"), enginePage.String(), e.alert.URL)
	e.query, e.restart = url, []*engines.Program{p}
	s.Prometheus("cortex-scrapes", "prometheus", s.config("", "", "")+
		fmt.Sprintf("remote_write: [{url: %q, queue_config: {batch_send_deadline: 500ms}}]\n", write))
	return e
}
