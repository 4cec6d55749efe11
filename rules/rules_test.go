package rules_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/rules"
)

// The files in the repository are those that the code writes.
func TestGeneratedFilesAreFresh(t *testing.T) {
	t.Parallel()
	o := rules.Default()
	files, err := o.Files()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is stale, run go run ./cmd/snatgen (-generated +committed):\n%s", name, diff)
		}
	}
	names, err := filepath.Glob("*.yaml")
	if err != nil || len(names) != len(files) {
		t.Errorf("rules/*.yaml is %v (%v), want the %d generated rule files and nothing else", names, err, len(files))
	}
}

// An alert is a Go rule, YAML, a test and a runbook; a page without a runbook is a riddle.
func TestEveryAlertHasItsFiles(t *testing.T) {
	t.Parallel()
	sections := []string{"## Meaning", "## Impact", "## Diagnosis", "## Mitigation"}
	want := []string{"low-ports", "many", "no-false-page", "parts", "records", "seldom"}
	for _, a := range rules.Default().Alerts() {
		want = append(want, a.Name)
		if !regexp.MustCompile(`^Snat[A-Z][A-Za-z]+$`).MatchString(a.Name) {
			t.Errorf("%s: want CamelCase after Snat", a.Name)
		}
		if strings.Contains(a.Summary, "{{") {
			t.Errorf("%s: the summary is static, %q is a template", a.Name, a.Summary)
		}
		if !strings.Contains(a.Description, "{{ $labels.") {
			t.Errorf("%s: the description names nothing: %q", a.Name, a.Description)
		}
		book, err := os.ReadFile(filepath.Join("runbooks", a.Name+".md"))
		if err != nil {
			t.Errorf("%s: %v", a.Name, err)
			continue
		}
		rest := string(book)
		for _, s := range sections {
			i := strings.Index(rest, s)
			if i < 0 {
				t.Errorf("runbook of %s: no %q in its place", a.Name, s)
				break
			}
			rest = rest[i:]
		}
		test, err := os.ReadFile(filepath.Join("tests", a.Name+".yaml"))
		if err != nil {
			t.Errorf("%s: %v", a.Name, err)
			continue
		}
		if !strings.Contains(string(test), "exp_alerts: []") || !strings.Contains(string(test), "exp_annotations:") {
			t.Errorf("tests/%s.yaml: want times at which it does not fire and full annotations where it does", a.Name)
		}
	}
	for folder, ext := range map[string]string{"tests": ".yaml", "runbooks": ".md"} {
		files, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if !slices.Contains(want, strings.TrimSuffix(f.Name(), ext)) {
				t.Errorf("%s/%s belongs to no alert", folder, f.Name())
			}
		}
	}
}

// Every name in a rule is in the metrics table, is recorded by a rule, or is Prometheus's own.
func TestEveryNameInARuleExists(t *testing.T) {
	t.Parallel()
	o := rules.Default()
	known := map[string]bool{"up": true, "ALERTS": true}
	for _, m := range metrics.Metrics() {
		known[string(m.Name)] = true
	}
	for _, g := range o.Groups() {
		for _, r := range g.Records {
			known[r.Name] = true
		}
	}
	for _, g := range o.Groups() {
		for _, r := range g.Records {
			check(t, r.Name, r.Expr, known)
		}
		for _, a := range g.Alerts {
			check(t, a.Name, a.Expr, known)
		}
	}
}

func check(t *testing.T, rule, expr string, known map[string]bool) {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %v", rule, err)
		return
	}
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok && !known[v.Name] {
			t.Errorf("%s: nothing is called %q", rule, v.Name)
		}
		return nil
	})
}

// The rule tests pass in the real promtool: Debian's, the oldest in use, and the one named by
// PROMTOOL where it is set.
func TestPromtool(t *testing.T) {
	t.Parallel()
	tools := []string{"promtool"}
	if p := os.Getenv("PROMTOOL"); p != "" {
		tools = append(tools, p)
	}
	tests, err := filepath.Glob("tests/*.yaml")
	if err != nil || len(tests) == 0 {
		t.Fatalf("no rule tests: %v", err)
	}
	for _, tool := range tools {
		path := kerneltest.Program(t, tool, "prometheus")
		t.Run(tool, func(t *testing.T) {
			t.Parallel()
			for _, args := range [][]string{
				{"check", "rules", "snatwatch-alerts.yaml", "snatwatch-records.yaml"},
				append([]string{"test", "rules"}, tests...),
			} {
				if out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
					t.Errorf("%s %s: %v\n%s", path, strings.Join(args[:2], " "), err, out)
				}
			}
		})
	}
}

func TestValidateNamesFlagValueAndRemedy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		set  func(*rules.Options)
		want string
	}{
		{"selector", func(o *rules.Options) { o.Selector = `job=snatwatch` }, `--selector=job=snatwatch: no matcher at "job=snatwatch"; want label matchers such as job="snatwatch",env=~"prod|stage"`},
		{"regular expression", func(o *rules.Options) { o.Selector = `job=~"("` }, "--selector=job=~\"(\": matcher job: error parsing regexp: missing closing ): `(`; want label matchers such as job=\"snatwatch\",env=~\"prod|stage\""},
		{"escape", func(o *rules.Options) { o.Selector = `job=~"n\d"` }, `--selector=job=~"n\d": matcher job: no such escape in "n\d": a backslash is written twice; want label matchers such as job="snatwatch",env=~"prod|stage"`},
		{"name", func(o *rules.Options) { o.Selector = `__name__="a"` }, `--selector=__name__="a": matcher __name__: each metric has its own name; want label matchers such as job="snatwatch",env=~"prod|stage"`},
		{"interval", func(o *rules.Options) { o.FleetInterval = 1500 * time.Millisecond }, "--fleet-interval=1.5s: want whole seconds, 1s or more"},
		{"cluster label", func(o *rules.Options) { o.ClusterLabel = "my-cluster" }, "--cluster-label=my-cluster: not a label name; want letters, digits and _"},
		{"cluster label of the agent", func(o *rules.Options) { o.ClusterLabel = "budget" }, "--cluster-label=budget: it means something else already; want the label that Prometheus gives to all targets of a cluster"},
		{"cluster label of a target", func(o *rules.Options) { o.ClusterLabel = "instance" }, "--cluster-label=instance: it means something else already; want the label that Prometheus gives to all targets of a cluster"},
		{"cluster label that is a number", func(o *rules.Options) { o.ClusterLabel = "Inf" }, "--cluster-label=Inf: PromQL reads it as a number or a keyword; want another label"},
		{"cluster label that is no number", func(o *rules.Options) { o.ClusterLabel = "NAN" }, "--cluster-label=NAN: PromQL reads it as a number or a keyword; want another label"},
		{"cluster label that is a keyword", func(o *rules.Options) { o.ClusterLabel = "without" }, "--cluster-label=without: PromQL reads it as a number or a keyword; want another label"},
		{"selector by a bucket", func(o *rules.Options) { o.Selector = `le="1"` }, `--selector=le="1": matcher le: no target has that label, nothing would ever match; want label matchers such as job="snatwatch",env=~"prod|stage"`},
		{"selector by a severity", func(o *rules.Options) { o.Selector = `job="a",severity=~"x"` }, `--selector=job="a",severity=~"x": matcher severity: no target has that label, nothing would ever match; want label matchers such as job="snatwatch",env=~"prod|stage"`},
		{"selector with a named group", func(o *rules.Options) { o.Selector = `job=~"(?<x>a)"` }, `--selector=job=~"(?<x>a)": matcher job: Prometheus 2.42 refuses the group (?<x>...): write it without a name; want label matchers such as job="snatwatch",env=~"prod|stage"`},
		{"selector by the agent's label", func(o *rules.Options) { o.Selector = `budget="web"` }, `--selector=budget="web": matcher budget: only some metrics have that label, the rest would never match; want label matchers such as job="snatwatch",env=~"prod|stage"`},
		{"long interval", func(o *rules.Options) { o.FleetInterval = 3 * time.Minute }, "--fleet-interval=3m0s: want at most 2m0s: half as often must be within the five minutes that Prometheus looks back"},
		{"same severity", func(o *rules.Options) { o.Warning = "critical" }, "--severity-critical=critical: another severity is called so; want a word of its own: it pages"},
		{"runbooks without an end", func(o *rules.Options) { o.RunbookURL = "https://wiki.example/snat" }, "--runbook-url=https://wiki.example/snat: NAME.md is added to it as it stands; want / (or = or #) at its end"},
		{"runbooks with a template", func(o *rules.Options) { o.RunbookURL = "https://wiki.example/{{x}}/" }, "--runbook-url=https://wiki.example/{{x}}/: want an http or https address to which NAME.md is added"},
		{"runbooks with a variable", func(o *rules.Options) { o.RunbookURL = "https://wiki.example/$HOME/" }, "--runbook-url=https://wiki.example/$HOME/: want an http or https address to which NAME.md is added"},
		{"Grafana with a query", func(o *rules.Options) { o.GrafanaURL = "https://grafana.example/?orgId=1" }, "--grafana-url=https://grafana.example/?orgId=1: want the http or https address of Grafana"},
		{"ticket before page", func(o *rules.Options) { o.PageHorizon, o.TicketHorizon = "1h", "1m" }, "--ticket-horizon=1m: want no shorter one than the page's, 1h"},
		{"severity", func(o *rules.Options) { o.Critical = "" }, "--severity-critical=: want a word of letters, digits, _ and -"},
		{"runbooks", func(o *rules.Options) { o.RunbookURL = "runbooks/" }, "--runbook-url=runbooks/: want an http or https address to which NAME.md is added"},
		{"Grafana", func(o *rules.Options) { o.GrafanaURL = "grafana" }, "--grafana-url=grafana: want the http or https address of Grafana"},
		{"horizon", func(o *rules.Options) { o.PageHorizon = "2m" }, "--page-horizon=2m: want one of 1m, 5m, 15m, 1h"},
		{"page above one", func(o *rules.Options) { o.Thresholds.Page = 30 }, "--threshold.page=30: want above 0 and at most 1"},
		{"clear above raise", func(o *rules.Options) { o.Thresholds.PageClear = 0.6 }, "--threshold.page-clear=0.6: want above 0 and at most 0.5"},
		{"clear below what is told", func(o *rules.Options) { o.Thresholds.TicketClear = 0.01 }, "--threshold.ticket-clear=0.01: want at least 0.05, the least that agents tell alerts"},
		{"no majority", func(o *rules.Options) { o.Thresholds.DominatesShare = 0.4 }, "--threshold.dominates-share=0.4: want at least 0.5, the least that agents tell alerts"},
		{"correlation", func(o *rules.Options) { o.Thresholds.Correlation = -1 }, "--threshold.correlation=-1: want 0 (nodes independent) to 1 (in step)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := rules.Default()
			tt.set(&o)
			err := o.Validate()
			if err == nil {
				t.Fatalf("no error, want %s", tt.want)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
	if err := rules.Default().Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}
