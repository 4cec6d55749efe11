package rules_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/rules"
)

// The nodes of two clusters of a region hold 30,000 ports each of a gateway with 55,000. Rules add up by cluster, so no shard sees
// it full, and no evaluator of all clusters either. Where the clusters are told apart by a label that both have the same, it is
// seen.
func TestGatewayOfTwoClusters(t *testing.T) {
	t.Parallel()
	promtool := kerneltest.Program(t, "promtool", "prometheus")
	for _, tt := range []struct {
		name, label, shard string
		held               string // by what tells clusters apart
		pages              string
	}{
		{"a shard of the one cluster", "cluster", "c1", `{cluster="c1"} 30000`, ""},
		{"a shard of the other", "cluster", "c2", `{cluster="c2"} 30000`, ""},
		{"all clusters", "cluster", "", `{cluster="c1"} 30000, {cluster="c2"} 30000`, ""},
		{"by region", "region", "eu|us", `{region="eu"} 60000`, `{region="eu"} 1`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := rules.Default()
			o.ClusterLabel, o.Shard = tt.label, tt.shard
			if err := o.Validate(); err != nil {
				t.Fatal(err)
			}
			files, err := o.Files()
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			files["test.yaml"] = fmt.Appendf(nil, "rule_files: [snatwatch-records.yaml, snatwatch-alerts.yaml]\n"+
				"evaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n%s  promql_expr_test:\n%s%s",
				twoClusters(),
				expected("sum by ("+tt.label+") (gateway:snat_ports_held:sum)", tt.held),
				expected(`count by (`+tt.label+`) (ALERTS{alertname="SnatGatewayExhaustionPredicted", alertstate="firing"})`, tt.pages))
			for name, body := range files {
				if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), promtool, "test", "rules", "test.yaml")
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// twoClusters are the series of a node in each, for half an hour.
func twoClusters() string {
	var b strings.Builder
	for _, cluster := range []string{"c1", "c2"} {
		node := fmt.Sprintf(`cluster=%q, region="eu", job="snatwatch", instance="%s-node:9959", budget="nat"`, cluster, cluster)
		put := func(name, labels, value string) {
			fmt.Fprintf(&b, "  - {series: '%s{%s%s}', values: '%sx30'}\n", name, node, labels, value)
		}
		put("snat_budget_info", `, model="aws-nat-gateway", scope="shared", pool="web", gateway="nat-1"`, "1")
		put("snat_budget_effective_ports", `, protocol="tcp"`, "55000")
		space := `, gateway="nat-1", protocol="tcp", vip="", destination="203.0.113.7:443"`
		put("snat_ports_held", space, "30000")
		for _, h := range []string{"1m", "5m", "15m", "1h"} {
			put("snat_forecast_ports_mean", space+`, horizon="`+h+`"`, "30000")
			put("snat_forecast_ports_variance", space+`, horizon="`+h+`"`, "30000")
		}
	}
	return b.String()
}

// expected is what promtool is to answer at twenty minutes: samples as labels and value, with commas between.
func expected(expr, samples string) string {
	out := fmt.Sprintf("  - expr: '%s'\n    eval_time: 20m\n    exp_samples: [", expr)
	for s := range strings.SplitSeq(samples, ", ") {
		if labels, value, ok := strings.Cut(s, " "); ok {
			out += fmt.Sprintf("{labels: '%s', value: %s}, ", labels, value)
		}
	}
	return out + "]\n"
}
