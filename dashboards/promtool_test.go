package dashboards_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// What a panel shows of series that are given, as promtool works it out with the rules of the repository.
func TestPanelsShow(t *testing.T) {
	t.Parallel()
	path := kerneltest.Program(t, "promtool", "prometheus")
	// Three nodes behind a gateway: together they hold what it has, while each of them thinks itself safe.
	shared := map[string]string{}
	for n := range 3 {
		node := fmt.Sprintf(`job="snatwatch", instance="node-%d:9959", budget="nat"`, n)
		space := node + `, gateway="nat-1", protocol="tcp", destination="203.0.113.7:443"`
		shared[`snat_budget_info{`+node+`, model="aws-nat-gateway", scope="shared", pool="web", gateway="nat-1"}`] = "1x40"
		shared[`snat_budget_effective_ports{`+node+`, protocol="tcp"}`] = "54000x40"
		shared[`snat_busiest_ports_held{`+node+`, protocol="tcp"}`] = "18000x40"
		shared[`snat_exhaustion_probability_max{`+node+`, protocol="tcp", horizon="5m"}`] = "0x40"
		shared[`snat_open_failures_total{`+node+`, protocol="tcp", cause="unanswered"}`] = "0+15x40"
		shared[`snat_ports_held{`+space+`}`] = "18000x40"
		shared[`snat_forecast_ports_mean{`+space+`, horizon="5m"}`] = "20000x40"
		shared[`snat_forecast_ports_variance{`+space+`, horizon="5m"}`] = "100x40"
	}
	const destination = `{budget="nat", destination="203.0.113.7:443", gateway="nat-1", protocol="tcp"}`
	// A pod and its successor tell of one node, which is full.
	twice := map[string]string{}
	for _, pod := range []string{"old", "new"} {
		node := fmt.Sprintf(`job="snatwatch", instance="node-1:9959", pod=%q, budget="lb"`, pod)
		space := node + `, protocol="tcp", destination="203.0.113.7:443"`
		twice[`snat_budget_info{`+node+`, model="azure-lb", scope="node", pool="web"}`] = "1x40"
		twice[`snat_budget_effective_ports{`+node+`, protocol="tcp"}`] = "1000x40"
		twice[`snat_busiest_ports_held{`+node+`, protocol="tcp"}`] = "1000x40"
		twice[`snat_ports_held{`+space+`}`] = "1000x40"
		twice[`snat_exhaustion_probability{`+space+`, horizon="5m"}`] = "1x40"
	}
	// Two clusters with the same addresses: one node is idle, one busy.
	v6 := map[string]string{
		`snat_budget_info{cluster="a", job="snatwatch", instance="[2001:db8::7]:9959", budget="lb", pool="web"}`:   "1x40",
		`snat_budget_info{cluster="a", job="snatwatch", instance="[2001:db8::8]:9959", budget="lb", pool="batch"}`: "1x40",
		`snat_budget_info{cluster="b", job="snatwatch", instance="[2001:db8::7]:9959", budget="lb", pool="api"}`:   "1x40",
		`node_cpu_seconds_total{cluster="a", mode="idle", cpu="0", instance="[2001:db8::7]:9100"}`:                 "0+15x40",
		`node_cpu_seconds_total{cluster="a", mode="idle", cpu="0", instance="[2001:db8::8]:9100"}`:                 "0x40",
		`node_cpu_seconds_total{cluster="b", mode="idle", cpu="0", instance="[2001:db8::7]:9100"}`:                 "0+7.5x40",
	}
	type samples map[string]float64
	for _, tt := range []struct {
		name, board, ref string
		panel            int
		series           map[string]string
		want             samples
	}{
		{"likely on no node alone", "snatwatch-overview.json", "A", 11, shared, samples{"{}": 0}},
		{"likely at a gateway", "snatwatch-overview.json", "B", 11, shared, samples{"{}": 1}},
		{"time at a gateway", "snatwatch-overview.json", "B", 12, shared, samples{"{}": 0}},
		{"failures at a gateway", "snatwatch-overview.json", "B", 13, shared, samples{"{}": 3}},
		{"no node is full behind a full gateway", "snatwatch-overview.json", "A", 14, shared, samples{"{}": 0}},
		{"a full gateway", "snatwatch-overview.json", "B", 14, shared, samples{"{}": 1}},
		{"first gateway", "snatwatch-overview.json", "A", 24, shared, samples{destination: 1}},
		{"first gateway's time", "snatwatch-overview.json", "B", 24, shared, samples{destination: 0}},
		{"first gateway's ports", "snatwatch-overview.json", "C", 24, shared, samples{destination: 54000}},
		{"first gateway's fill", "snatwatch-overview.json", "D", 24, shared, samples{destination: 1}},
		{"a node told twice is one", "snatwatch-overview.json", "A", 14, twice, samples{"{}": 1}},
		{"fill of a node told twice", "snatwatch-overview.json", "D", 21, twice, samples{`{budget="lb", destination="203.0.113.7:443", instance="node-1:9959", pool="web", protocol="tcp"}`: 1}},
		{"CPU of machines by IPv6", "snatwatch-fleet.json", "B", 51, v6, samples{`{pool="web"}`: 0, `{pool="batch"}`: 1, `{pool="api"}`: 0.5}},
		{"age of a snapshot when scraped", "snatwatch-agent.json", "A", 71, map[string]string{
			`snat_snapshot_timestamp_seconds{instance="node-1:9959"}`: "_x19 282 _x20",
		}, samples{`{instance="node-1:9959"}`: 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var expr string
			for _, p := range load(t)[tt.board].Panels {
				for _, target := range p.Targets {
					if p.ID == tt.panel && target.RefID == tt.ref {
						expr = substitute(strings.ReplaceAll(target.Expr, "$__rate_interval", "1m"))
					}
				}
			}
			var series, want []map[string]any
			for name, values := range tt.series {
				series = append(series, map[string]any{"series": name, "values": values})
			}
			for labels, value := range tt.want {
				want = append(want, map[string]any{"labels": labels, "value": value})
			}
			rules, err := filepath.Abs("../rules/snatwatch-*.yaml")
			if err != nil {
				t.Fatal(err)
			}
			body, err := yaml.Marshal(map[string]any{
				"rule_files":          []string{rules},
				"evaluation_interval": "15s",
				"tests": []any{map[string]any{
					"interval": "15s", "input_series": series,
					"promql_expr_test": []any{map[string]any{"expr": expr, "eval_time": "9m", "exp_samples": want}},
				}},
			})
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "panel.yaml")
			if err := os.WriteFile(file, body, 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(t.Context(), path, "test", "rules", file).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
