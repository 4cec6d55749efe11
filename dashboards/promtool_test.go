package dashboards_test

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/rules"
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
		twice[`snat_soonest_exhaustion_seconds{`+space+`}`] = "0x40"
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
	// Each node behind the gateway beside the gateway.
	andNodes := func(node, all float64) samples {
		out := samples{destination: all}
		for n := range 3 {
			out[fmt.Sprintf(`{budget="nat", instance="node-%d:9959", job="snatwatch", protocol="tcp"}`, n)] = node
		}
		return out
	}
	// Two clusters with a node of the same name: one runs out in 200 s, one never.
	same := map[string]string{}
	for cluster, left := range map[string]string{"a": "200", "b": "99999"} {
		node := fmt.Sprintf(`cluster=%q, job="snatwatch", instance="web-01:9959", budget="lb"`, cluster)
		same[`snat_budget_info{`+node+`, model="azure-lb", scope="node", pool="web"}`] = "1x40"
		same[`snat_soonest_exhaustion_seconds{`+node+`, protocol="tcp", destination="203.0.113.7:443"}`] = left + "x40"
		same[`snat_exhaustion_probability_max{`+node+`, protocol="tcp", horizon="5m"}`] = "0.5x40"
	}
	sameNode := func(cluster string) string {
		return fmt.Sprintf(`{budget="lb", cluster=%q, destination="203.0.113.7:443", instance="web-01:9959", job="snatwatch", protocol="tcp"}`, cluster)
	}
	// A node that was full hovers below its ceiling and fails, or is relieved.
	hovers := func(held, failed string) map[string]string {
		node := `job="snatwatch", instance="node-1:9959", budget="lb", protocol="tcp"`
		return map[string]string{
			`snat_budget_effective_ports{` + node + `}`:            "1024x40",
			`snat_busiest_ports_held{` + node + `}`:                held,
			`snat_open_failures_total{` + node + `,cause="ports"}`: failed,
		}
	}
	// One owner holds the most ports to a destination of a node.
	owned := map[string]string{
		`snat_exhaustion_probability_max{job="s", instance="n", budget="lb", protocol="tcp", horizon="5m"}`:                                       "0.5x40",
		`snat_soonest_owner_ports_held{job="s", instance="n", budget="lb", protocol="tcp", destination="d", owner_kind="pod", owner="shop/cart"}`: "600x40",
	}
	for _, tt := range []struct {
		name, board, ref string
		panel            int
		series           map[string]string
		want             samples
	}{
		{"likely on no node alone", "snatwatch-overview.json", "A", 11, shared, samples{"{}": 0}},
		{"likely at a gateway", "snatwatch-overview.json", "B", 11, shared, samples{"{}": 1}},
		{"time at a gateway", "snatwatch-overview.json", "B", 12, shared, samples{"{}": 0}},
		{"failures at a gateway", "snatwatch-overview.json", "C", 13, shared, samples{"{}": 3}},
		{"no node is full behind a full gateway", "snatwatch-overview.json", "A", 14, shared, samples{"{}": 0}},
		{"a full gateway", "snatwatch-overview.json", "B", 14, shared, samples{"{}": 1}},
		{"first gateway's time", "snatwatch-overview.json", "A", 21, shared, samples{destination: 0}},
		{"first gateway's probability", "snatwatch-overview.json", "B", 21, shared, andNodes(0, 1)},
		{"first gateway's fill", "snatwatch-overview.json", "C", 21, shared, andNodes(1.0/3, 1)},
		{"first gateway's ports", "snatwatch-overview.json", "D", 21, shared, andNodes(18000, 54000)},
		{"nodes of one name in two clusters", "snatwatch-overview.json", "A", 21, same, samples{sameNode("a"): 200, sameNode("b"): 3601}},
		{"what is past is not now", "snatwatch-overview.json", "A", 12, map[string]string{
			`snat_soonest_exhaustion_seconds{instance="node-1:9959"}`: "0x20 99999x20",
		}, samples{"{}": 3601}},
		{"a full node hovers", "snatwatch-overview.json", "A", 14, hovers("1006x40", "0x40"), samples{"{}": 1}},
		{"a full node fails", "snatwatch-overview.json", "A", 14, hovers("900x40", "0+1x40"), samples{"{}": 1}},
		{"a full node is relieved", "snatwatch-overview.json", "A", 14, hovers("1024x20 900x20", "0+1x20 20x20"), samples{"{}": 0}},
		{"nothing is known", "snatwatch-overview.json", "A", 14, map[string]string{"up": "1x40"}, samples{}},
		{"no gateway is known", "snatwatch-overview.json", "B", 14, hovers("900x40", "0x40"), samples{}},
		{"an agent is down", "snatwatch-overview.json", "A", 15, map[string]string{
			`up{job="snatwatch", instance="node-1:9959"}`: "1x20 0x20", `snat_agent_build_info{job="snatwatch", instance="node-1:9959"}`: "1x20 stale",
			`up{job="snatwatch", instance="node-2:9959"}`: "1x40", `snat_agent_build_info{job="snatwatch", instance="node-2:9959"}`: "1x40",
			`up{job="other", instance="node-3:80"}`: "0x40",
		}, samples{"{}": 1}},
		{"the nodes' own line", "snatwatch-node.json", "B", 111, map[string]string{
			`snat_ports_held{job="s", instance="n", budget="lb", protocol="tcp", destination="d"}`:                            "100x40",
			`snat_budget_effective_ports{job="s", instance="n", budget="lb", protocol="tcp"}`:                                 "1024x40",
			`snat_forecast_ports_mean{job="s", instance="n", budget="lb", protocol="tcp", destination="d", horizon="5m"}`:     "120x16 90x24",
			`snat_forecast_ports_mean{job="s", instance="n", budget="lb", protocol="tcp", destination="small", horizon="5m"}`: "1x40",
			`snat_ports_held{job="s", instance="n", budget="lb", protocol="tcp", destination="small"}`:                        "1x40",
			`snat_forecast_ports_mean{job="s", instance="other", budget="lb", protocol="tcp", destination="d", horizon="5m"}`: "7x40",
		}, samples{`{budget="lb", destination="d", horizon="5m", instance="n", job="s", protocol="tcp"}`: 120}},
		{"only tiers that there are", "snatwatch-fleet.json", "B", 202, map[string]string{
			`snat_vips{job="s", instance="n", budget="lb"}`: "1x40", `snat_vips{job="s", instance="n", budget="nat"}`: "2x40",
			`snat_pool_nodes_to_next_tier{job="s", instance="n", budget="lb"}`:                           "1x40",
			`snat_budget_info{job="s", instance="n", budget="lb", model="azure-lb", pool="web"}`:         "1x40",
			`snat_budget_info{job="s", instance="n", budget="nat", model="aws-nat-gateway", pool="web"}`: "1x40",
		}, samples{`{budget="lb", model="azure-lb", pool="web"}`: 1}},
		{"who holds the most where it runs out first", "snatwatch-overview.json", "G", 21, owned, samples{
			`{budget="lb", destination="d", instance="n", job="s", owner="shop/cart", protocol="tcp"}`: 600,
		}},
		{"a pool is relieved at once", "snatwatch-overview.json", "A", 22, map[string]string{
			`snat_busiest_ports_held{job="s", instance="n", budget="lb", protocol="tcp"}`:                      "1000x33 400x6",
			`snat_budget_effective_ports{job="s", instance="n", budget="lb", protocol="tcp"}`:                  "1000x40",
			`snat_budget_info{job="s", instance="n", budget="lb", model="azure-lb", scope="node", pool="web"}`: "1x40",
		}, samples{`{budget="lb", pool="web", protocol="tcp"}`: 0.4}},
		{"a node told twice is one", "snatwatch-overview.json", "A", 14, twice, samples{"{}": 1}},
		{"fill of a node told twice", "snatwatch-overview.json", "C", 21, twice, samples{`{budget="lb", destination="203.0.113.7:443", instance="node-1:9959", job="snatwatch", protocol="tcp"}`: 1}},
		{"CPU of machines by IPv6", "snatwatch-fleet.json", "B", 51, v6, samples{`{cluster="a", pool="web"}`: 0, `{cluster="a", pool="batch"}`: 1, `{cluster="b", pool="api"}`: 0.5}},
		{"age of a snapshot when scraped", "snatwatch-agent.json", "A", 71, map[string]string{
			`snat_snapshot_timestamp_seconds{instance="node-1:9959"}`: "_x19 282 _x20",
		}, samples{"{}": 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var expr string
			for _, p := range load(t)[tt.board].Panels {
				for _, target := range p.Targets {
					if p.ID == tt.panel && target.RefID == tt.ref {
						expr = all(strings.NewReplacer("$__rate_interval", "1m", "$__range", "9m").Replace(target.Expr))
					}
				}
			}
			// The last bits of rates and means differ between Prometheus 2 and 3.
			for labels, value := range tt.want {
				tt.want[labels] = math.Floor(value*1e6+0.5) / 1e6
			}
			answers(t, path, "round("+expr+", 1e-6)", "15s", "9m", tt.series, tt.want)
		})
	}
}

// An agent that is down is shown for a day: to be down is not to be none. It is seen at some moments, so it has to
// have been up for twice as long as it is down.
func TestAgentsAreDownForADay(t *testing.T) {
	t.Parallel()
	path := kerneltest.Program(t, "promtool", "prometheus")
	body, err := rules.Default().Grafana()
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile(`(?s)expr: \|-\n((?:[^\n]*\n)?\s*up == 0.*?)\n\s*instant:`).FindSubmatch(body)
	if rule == nil {
		t.Fatal("no rule asks up == 0")
	}
	var board string
	for _, p := range load(t)["snatwatch-overview.json"].Panels {
		if p.ID == 15 {
			board = all(p.Targets[0].Expr)
		}
	}
	for _, down := range []int{10, 100, 1200} { // minutes; a sample in four
		t.Run(fmt.Sprint(down), func(t *testing.T) {
			t.Parallel()
			series := map[string]string{
				`up{job="s", instance="n"}`:                    fmt.Sprintf("1x%d 0x%d", down/2-1, down/4),
				`snat_agent_build_info{job="s", instance="n"}`: fmt.Sprintf("1x%d stale", down/2-1),
				`up{job="other", instance="o"}`:                fmt.Sprintf("0x%d", down),
			}
			at := fmt.Sprintf("%dm", down/4*4+down/2*4)
			answers(t, path, string(rule[1]), "4m", at, series, map[string]float64{`up{instance="n", job="s"}`: 0})
			answers(t, path, board, "4m", at, series, map[string]float64{"{}": 1})
		})
	}
}

// answers asks promtool what expr is of series, with the rules of the repository.
func answers(t *testing.T, promtool, expr, interval, at string, given map[string]string, wanted map[string]float64) {
	t.Helper()
	var series, want []map[string]any
	for name, values := range given {
		series = append(series, map[string]any{"series": name, "values": values})
	}
	for labels, value := range wanted {
		want = append(want, map[string]any{"labels": labels, "value": value})
	}
	files, err := filepath.Abs("../rules/snatwatch-*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	body, err := yaml.Marshal(map[string]any{
		"rule_files":          []string{files},
		"evaluation_interval": interval,
		"tests": []any{map[string]any{
			"interval": interval, "input_series": series,
			"promql_expr_test": []any{map[string]any{"expr": expr, "eval_time": at, "exp_samples": want}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "panel.yaml")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// samples are values by labels.
type samples map[string]float64
