package rules_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules"
	"github.com/snatwatch/snatwatch/rules/options"
)

// otherwiseOnVictoriaMetrics are the tests whose input means something else there, by name: what is to be seen instead.
var otherwiseOnVictoriaMetrics = map[string]func(test map[string]any){
	// It stores no NaN. So the agent tells a budget and nothing of its ports, and that is a ticket; all else is quiet.
	"NaN everywhere raises nothing at all": func(test map[string]any) {
		for _, q := range test["promql_expr_test"].([]any) {
			q.(map[string]any)["exp_samples"] = []any{map[string]any{
				"labels": `ALERTS{alertname="SnatBudgetUnseen", alertstate="firing", budget="lb", instance="node-1:9959", ` +
					`job="snatwatch", model="azure-lb-2018", pool="web", scope="node", severity="warning"}`,
				"value": 1,
			}}
		}
	},
	// Its tests begin in the year 2000, and those of promtool in 1970.
	"the snapshot stands still": func(test map[string]any) {
		for _, s := range test["input_series"].([]any) {
			s := s.(map[string]any)
			if series := s["series"].(string); strings.HasPrefix(series, string(metrics.SnapshotTimestamp)+"{") {
				s["values"] = later(s["values"].(string), time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix())
			}
		}
	},
}

// later adds seconds to each sample of a series, in the notation of rule tests.
func later(values string, seconds int64) string {
	return regexp.MustCompile(`(^| )[0-9]+`).ReplaceAllStringFunc(values, func(first string) string {
		number := strings.TrimLeft(first, " ")
		v, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			panic(err) // the expression matches digits
		}
		return strings.TrimSuffix(first, number) + strconv.FormatInt(v+seconds, 10)
	})
}

// The rule tests pass in vmalert-tool with the rules that are written for VictoriaMetrics. VMALERT_TOOL names the program.
func TestVMAlertTool(t *testing.T) {
	t.Parallel()
	program := os.Getenv("VMALERT_TOOL")
	if program == "" {
		t.Skip("VMALERT_TOOL names no vmalert-tool: .ci/engines builds one")
	}
	dir := t.TempDir()
	o := rules.Default()
	o.Engine = options.VictoriaMetrics
	files, err := o.Files()
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range files {
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests, err := filepath.Glob("tests/*.yaml")
	if err != nil || len(tests) == 0 {
		t.Fatalf("no rule tests: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "tests"), 0o700); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, name := range tests {
		body, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), forVMAlert(t, body, seen), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(name), func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program, "unittest", "-disableAlertgroupLabel", "--files="+name)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	for name := range otherwiseOnVictoriaMetrics {
		if !seen[name] {
			t.Errorf("no test is called %q", name)
		}
	}
}

// forVMAlert turns a test for promtool into one for vmalert-tool: its queries have another name, round and others keep the
// name of a series, and ALERTS carries the group. It adds to seen the tests whose input means something else there.
func forVMAlert(t *testing.T, body []byte, seen map[string]bool) []byte {
	t.Helper()
	var file map[string]any
	if err := yaml.Unmarshal(body, &file); err != nil {
		t.Fatal(err)
	}
	for _, test := range file["tests"].([]any) {
		test := test.(map[string]any)
		if name, _ := test["name"].(string); otherwiseOnVictoriaMetrics[name] != nil {
			otherwiseOnVictoriaMetrics[name](test)
			seen[name] = true
		}
		queries, _ := test["promql_expr_test"].([]any)
		delete(test, "promql_expr_test")
		for _, q := range queries {
			q := q.(map[string]any)
			q["expr"] = "label_del(" + q["expr"].(string) + `, "__name__", "alertgroup")`
			samples, _ := q["exp_samples"].([]any)
			for _, s := range samples {
				s := s.(map[string]any)
				labels, _ := s["labels"].(string) // none where the answer has none
				if _, matchers, ok := strings.Cut(labels, "{"); ok {
					s["labels"] = "{" + matchers
				}
			}
		}
		if len(queries) > 0 {
			test["metricsql_expr_test"] = queries
		}
	}
	out, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// In the rules of a shard everything that is read is of its clusters, but the alerts' own state.
func TestShardReadsItsClustersAlone(t *testing.T) {
	t.Parallel()
	o := rules.Default()
	o.Shard = "eu-.*"
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, expr := range expressions(o) {
		for _, v := range selectors(parse(t, name, expr)) {
			if v.Name != "ALERTS" && !strings.Contains(v.String(), `cluster=~"eu-.*"`) {
				t.Errorf("%s reads %s", name, v)
			}
		}
	}
}

// Each engine evaluates the same expressions, and VictoriaMetrics and Thanos the pages when Prometheus does.
func TestEnginesShareTheirExpressions(t *testing.T) {
	t.Parallel()
	read := func(e options.Engine) map[string]struct {
		Interval string
		Rules    []struct{ Record, Alert, Expr string }
	} {
		o := rules.Default()
		o.Engine = e
		files, err := o.Files()
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]struct {
			Interval string
			Rules    []struct{ Record, Alert, Expr string }
		}{}
		for _, body := range files {
			var file struct {
				Groups []struct {
					Name, Interval string
					Rules          []struct{ Record, Alert, Expr string }
				}
			}
			if err := yaml.Unmarshal(body, &file); err != nil {
				t.Fatal(err)
			}
			for _, g := range file.Groups {
				out[g.Name] = struct {
					Interval string
					Rules    []struct{ Record, Alert, Expr string }
				}{g.Interval, g.Rules}
			}
		}
		return out
	}
	want := read(options.Prometheus)
	for _, e := range options.Engines() {
		for name, g := range read(e) {
			if !slices.Equal(g.Rules, want[name].Rules) {
				t.Errorf("%s: group %s has other expressions", e, name)
			}
			if g.Interval == "" && e != options.Prometheus {
				t.Errorf("%s: group %s has no interval: it would be a minute", e, name)
			}
		}
	}
}

// vmalert evaluates for a moment that is long past, and VictoriaMetrics hides the newest samples, unless each group
// says otherwise.
func TestVictoriaMetricsIsAskedForNow(t *testing.T) {
	t.Parallel()
	o := rules.Default()
	o.Engine = options.VictoriaMetrics
	files, err := o.Files()
	if err != nil {
		t.Fatal(err)
	}
	groups := 0
	for name, body := range files {
		var file struct {
			Groups []struct {
				Name, Interval string
				EvalDelay      string `yaml:"eval_delay"`
				EvalAlignment  *bool  `yaml:"eval_alignment"`
				Params         map[string][]string
			}
		}
		if err := yaml.Unmarshal(body, &file); err != nil {
			t.Fatal(err)
		}
		for _, g := range file.Groups {
			groups++
			if g.Interval == "" || g.EvalDelay != "0s" || g.EvalAlignment == nil || *g.EvalAlignment ||
				!slices.Equal(g.Params["latency_offset"], []string{"1ms"}) {
				t.Errorf("%s: group %s is evaluated for the past: %+v", name, g.Name, g)
			}
		}
	}
	if groups == 0 {
		t.Error("no groups")
	}
}

// Without an address to write to vmalert refuses the rules: they record series, and pages read their own state.
func TestVMAlertWantsRemoteWrite(t *testing.T) {
	t.Parallel()
	tool := os.Getenv("VMALERT_TOOL")
	if tool == "" {
		t.Skip("VMALERT_TOOL names no vmalert-tool: .ci/engines builds one, and vmalert beside it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(filepath.Dir(tool), "vmalert"), "-rule=snatwatch-*.yaml",
		"-datasource.url=http://127.0.0.1:1", "-notifier.blackhole", "-httpListenAddr=127.0.0.1:0")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "`-remoteWrite.url` isn't set") {
		t.Errorf("vmalert without -remoteWrite.url: %v\n%s", err, out)
	}
}
