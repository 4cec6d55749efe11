package dashboards_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	promlabels "github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// A board on which a pool is chosen shows what it shows where the pool's nodes and budgets are chosen by their names,
// although most metrics have no label of the pool.
func TestPoolNarrowsWithoutNames(t *testing.T) {
	t.Parallel()
	f := &fleet{nodes: 30, destinations: 3, every: 15 * time.Second}
	a := serve(t, program(t), f)
	names := map[string]map[string][]string{}
	for i := range f.nodes {
		n := f.node(i)
		if names[n.pool] == nil {
			names[n.pool] = map[string][]string{}
		}
		names[n.pool]["instance"] = append(names[n.pool]["instance"], n.instance)
		names[n.pool]["budget"] = append(names[n.pool]["budget"], n.budget)
	}
	compared := 0
	for name, b := range load(t) {
		if b.UID == "snatwatch-node" {
			continue // one node is chosen
		}
		for _, pool := range slices.Sorted(maps.Keys(names)) {
			answers := func(chosen ...string) map[string]string {
				a.open(t, b, "", append(chosen, "pool", pool)...)
				out := map[string]string{}
				for _, p := range b.Panels {
					for i, x := range p.Targets {
						// What is recorded of gateways, and what is down, is of no pool, and says so.
						if strings.Contains(p.Description, "Pool, Node and Job do not narrow it") || strings.Contains(x.Expr, "up{") {
							continue
						}
						series, _, _ := a.ask(t, p, i, "")
						out[fmt.Sprintf("%s: %s", p.Title, x.RefID)] = rounded(series)
					}
				}
				return out
			}
			want := answers("instance", anyOf(names[pool]["instance"]), "budget", anyOf(names[pool]["budget"]))
			got := answers()
			compared += len(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s of pool %s (-by names +by pool):\n%s", name, pool, diff)
			}
		}
	}
	if compared < 150 {
		t.Errorf("only %d answers compared", compared)
	}
}

// rounded writes series with their values to six digits: sums in another order differ in the last ones.
func rounded(series []sample) string {
	var out []string
	for _, s := range series {
		delete(s.Metric, "__name__")
		line := fmt.Sprint(s.Metric)
		for _, v := range append(s.Values, s.Value) {
			text, _ := v[1].(string)
			f, _ := strconv.ParseFloat(text, 64)
			line += fmt.Sprintf(" %.6g", f)
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// An agent with budgets of two pools: the series of a budget are of its pool alone, the series of the agent of both.
func TestPoolsOfOneAgent(t *testing.T) {
	t.Parallel()
	promtool := kerneltest.Program(t, "promtool", "prometheus")
	const agent = `cluster="a", job="s", instance="n"`
	series := map[string]string{
		`snat_budget_info{` + agent + `, budget="lb", pool="web"}`:                                   "1x40",
		`snat_budget_info{` + agent + `, budget="nat", pool="batch"}`:                                "1x40",
		`snat_budget_info{cluster="a", job="s", instance="other", budget="lb", pool="batch"}`:        "1x40",
		`snat_exhaustion_probability_max{` + agent + `, budget="lb", protocol="tcp", horizon="5m"}`:  "0.25x40",
		`snat_exhaustion_probability_max{` + agent + `, budget="nat", protocol="tcp", horizon="5m"}`: "0.75x40",
		`snat_ledger_exact{` + agent + `}`:                                                           "0x40",
		`snat_ledger_exact{cluster="a", job="s", instance="other"}`:                                  "0x40",
	}
	for _, tt := range []struct {
		pool           string
		likely, agents float64
	}{
		{"web", 0.25, 1},
		{"batch", 0.75, 2},
		{"(web|batch)", 0.75, 2},
		{".*", 0.75, 2},
	} {
		for _, p := range load(t)["snatwatch-overview.json"].Panels {
			want := map[string]float64{}
			i := 0
			switch p.ID {
			case 11:
				want["{}"] = tt.likely
			case 15:
				i, want["{}"] = 1, tt.agents
			default:
				continue
			}
			answers(t, promtool, all(strings.ReplaceAll(p.Targets[i].Expr, "$pool", tt.pool)), "15s", "9m", series, want)
		}
	}
}

// A machine that was given no pool is shown among pools, and alone: no variable has an empty name, and Grafana writes
// "()" for a variable without a name.
func TestNodesWithoutAPool(t *testing.T) {
	t.Parallel()
	promtool := kerneltest.Program(t, "promtool", "prometheus")
	told := func(instance, pool string, held int) map[string]string {
		node := fmt.Sprintf(`cluster="a", job="s", instance=%q, budget="lb"`, instance)
		return map[string]string{
			`snat_budget_info{` + node + `, model="azure-lb", pool="` + pool + `"}`: "1x40",
			`snat_budget_effective_ports{` + node + `, protocol="tcp"}`:             "1000x40",
			`snat_busiest_ports_held{` + node + `, protocol="tcp"}`:                 fmt.Sprintf("%dx40", held),
			`snat_pool_nodes_to_next_tier{` + node + `}`:                            "3x40",
		}
	}
	alone := told("gateway", "", 900)
	beside := told("web-1", "web", 500)
	maps.Copy(beside, alone)
	for _, tt := range []struct {
		name, names string // of the pools and clusters in the variables that nobody sees
		series      map[string]string
		more        bool
	}{{"beside a pool", "(a|web)", beside, true}, {"alone", "a", alone, false}} {
		for _, at := range []struct {
			board  string
			id, i  int
			labels string
			of     func(pool string) float64
		}{
			{"overview", 22, 0, `, protocol="tcp"`, func(pool string) float64 { return map[string]float64{"": 0.9, "web": 0.5}[pool] }},
			{"fleet", 46, 3, `, protocol="tcp"`, func(pool string) float64 { return map[string]float64{"": 0.9, "web": 0.5}[pool] }},
			{"fleet", 202, 2, `, model="azure-lb"`, func(string) float64 { return 3 }},
		} {
			want := map[string]float64{`{cluster="a", budget="lb"` + at.labels + `}`: at.of("")}
			if tt.more {
				want[`{cluster="a", budget="lb", pool="web"`+at.labels+`}`] = at.of("web")
			}
			for _, p := range load(t)["snatwatch-"+at.board+".json"].Panels {
				if p.ID == at.id {
					expr := regexp.MustCompile(`"\$[a-z]+_pools`).ReplaceAllString(p.Targets[at.i].Expr, `"`+tt.names)
					t.Log(tt.name, p.Title)
					answers(t, promtool, all(strings.ReplaceAll(expr, "$__range", "5m")), "15s", "9m", tt.series, want)
				}
			}
		}
	}
}

// hidden is how Grafana marks a variable that nobody sees.
const hidden = 2

// lintWorst: a variable that nobody sees is the names of the few that a panel is of, and none where there are none.
func lintWorst(t *testing.T, board, name, query, allValue string, b board) {
	t.Helper()
	expr, ok := strings.CutPrefix(query, "query_result(")
	if !ok || strings.Contains(query, "\n") || allValue != "" {
		t.Errorf("%s: variable %s queries %q, and All means %q", board, name, query, allValue)
		return
	}
	few := false
	parser.Inspect(parse(t, board+": "+name, strings.TrimSuffix(expr, ")")), func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.AggregateExpr:
			few = few || (n.Op == parser.TOPK || n.Op == parser.BOTTOMK) && len(n.Grouping) == 0
		case *parser.BinaryExpr:
			few = few || n.Op == parser.EQLC || n.Op == parser.GTE // what is not well
		}
		return nil
	})
	used := slices.ContainsFunc(b.Panels, func(p panel) bool {
		return slices.ContainsFunc(p.Targets, func(x target) bool {
			return strings.Contains(x.Expr, `=~"$`+name+`"`) || strings.Contains(x.Expr, `=~"$`+name+`|"`)
		})
	})
	if !few || !used {
		t.Errorf("%s: variable %s is of few: %v, read by a panel: %v", board, name, few, used)
	}
}

// VictoriaMetrics finds series without a label for label!~".*". So what leaves out other pools also leaves out all
// nodes while all pools are chosen.
func TestOtherPoolsAreNoneWhileAllAreChosen(t *testing.T) {
	t.Parallel()
	seen := 0
	for name, b := range load(t) {
		for _, p := range b.Panels {
			for _, x := range p.Targets {
				parser.Inspect(parse(t, p.Title, x.Expr), func(n parser.Node, _ []parser.Node) error {
					v, ok := n.(*parser.VectorSelector)
					if !ok {
						return nil
					}
					not := map[string]bool{}
					for _, m := range v.LabelMatchers {
						not[m.Name] = not[m.Name] || m.Type == promlabels.MatchNotRegexp && m.Value == "$pool"
					}
					if not["pool"] {
						seen++
					}
					if not["pool"] && !not["instance"] {
						t.Errorf("%s: %s: %s finds budgets of no pool while all are chosen", name, p.Title, v)
					}
					return nil
				})
			}
		}
	}
	if seen == 0 {
		t.Error("no query leaves out other pools")
	}
}
