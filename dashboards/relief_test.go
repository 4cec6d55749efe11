package dashboards_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// Fill falls, and time that is left is not 0, as soon as ports are given back, while what is recorded of them still
// stands at its peak: in graphs, numbers and tables.
func TestGraphsFallWithRelief(t *testing.T) {
	t.Parallel()
	promtool := kerneltest.Program(t, "promtool", "prometheus")
	series := map[string]string{}
	for _, n := range []string{"node-1:9959", "node-2:9959"} {
		agent := `cluster="a", job="s", instance="` + n + `", budget="nat"`
		series[`snat_budget_info{`+agent+`, model="m", scope="shared", pool="web", gateway="g"}`] = "1x40"
		series[`snat_budget_effective_ports{`+agent+`, protocol="tcp"}`] = "1000x40"
		series[`snat_busiest_ports_held{`+agent+`, protocol="tcp"}`] = "500x32 100x8"
	}
	const gateway = `cluster="a", budget="nat", gateway="g", protocol="tcp"`
	series[`gateway:snat_budget_effective_ports:max{`+gateway+`}`] = "1000x40"
	series[`gateway:snat_ports_held:sum{`+gateway+`, destination="d"}`] = "1000x40"
	series[`gateway:snat_time_to_exhaustion_seconds:median{`+gateway+`, destination="d"}`] = "0x40"
	for _, horizon := range []string{"5m", "1h"} {
		series[`gateway:snat_exhaustion_probability:by_horizon{`+gateway+`, destination="d", horizon="`+horizon+`"}`] = "1x40"
	}
	series[`pool:snat_busiest_fill:max{cluster="a", pool="web", budget="nat", protocol="tcp"}`] = "0.5x40"
	asked := map[string]int{}
	for name, b := range looked(t) {
		for _, p := range b.Panels {
			for _, x := range p.Targets {
				fill := strings.Contains(x.Expr, "held") || strings.Contains(x.Expr, "fill:") || strings.Contains(x.Expr, "exhaustion_seconds:median")
				// What a gateway may hide is no fill, and one node's board reads nothing that is recorded.
				recorded := strings.Contains(x.Expr, "gateway:") || strings.Contains(x.Expr, "pool:")
				unit, title := p.FieldConfig.Defaults.Unit, ""
				if p.Type == "table" {
					title = p.Transformations[len(p.Transformations)-1].Options.RenameByName["Value #"+x.RefID]
					unit = p.field(title).Unit
				}
				// A probability is as old as what is recorded of it, and says so. Peaks of a time range stay.
				if strings.HasPrefix(title, "Within") || p.Type == "table" && strings.Contains(x.Expr, "max_over_time(pool:") {
					continue
				}
				if !fill || !recorded || strings.Contains(x.Expr, "folded") ||
					!slices.Contains([]string{"percentunit", "dtdhms", "s"}, unit) {
					continue
				}
				asked[p.Type]++
				var input []any
				for s, values := range series {
					input = append(input, map[string]string{"series": s, "values": values})
				}
				expr := "(" + all(strings.ReplaceAll(x.Expr, "$__range", "9m")) + ")"
				if x.Instant && unit != "percentunit" {
					expr = "count(" + expr + " < 300) or vector(0)" // in red
				} else {
					expr = "count(" + expr + " > 0.25 or " + expr + " == 0) or vector(0)" // full still, or out of ports now
				}
				body, err := yaml.Marshal(map[string]any{"evaluation_interval": "15s", "tests": []any{map[string]any{
					"interval": "15s", "input_series": input,
					"promql_expr_test": []any{map[string]any{"expr": expr, "eval_time": "9m", "exp_samples": []any{map[string]any{"labels": "{}", "value": 0}}}},
				}}})
				if err != nil {
					t.Fatal(err)
				}
				file := filepath.Join(t.TempDir(), "relief.yaml")
				if err := os.WriteFile(file, body, 0o600); err != nil {
					t.Fatal(err)
				}
				if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", file).CombinedOutput(); err != nil {
					t.Errorf("%s: %s stands at its peak after relief: %v\n%s\n%s", name, p.Title, err, out, expr)
				}
			}
		}
	}
	for _, kind := range []string{"timeseries", "stat", "table"} {
		if asked[kind] == 0 {
			t.Errorf("no %s of fill or of time left was asked", kind)
		}
	}
}
