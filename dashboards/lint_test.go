package dashboards_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/snatwatch/snatwatch/dashboards"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules"
)

type board struct {
	UID, Title string
	Editable   bool
	Links      []map[string]any
	Templating struct {
		List []struct {
			Name, Type string
			AllValue   string
			Multi      bool
			IncludeAll bool
			Refresh    int
			Hide       int
			Regex      string
			Query      any
		}
	}
	Annotations struct{ List []map[string]any }
	Panels      []panel

	text string
	raw  any
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               struct{ UID string }
	GridPos                  struct{ X, Y, W, H int }
	MaxDataPoints            int
	Targets                  []target
	FieldConfig              struct {
		Defaults  fieldConfig
		Overrides []struct {
			Matcher    struct{ ID, Options string }
			Properties []property
		}
	}
	Options         options
	Transformations []struct {
		ID      string
		Options struct {
			ExcludeByName map[string]bool
			IndexByName   map[string]int
			RenameByName  map[string]string
		}
	}
}

type target struct {
	Expr, RefID, LegendFormat, Format string
	Instant, Range                    bool
}

type property struct {
	ID    string
	Value json.RawMessage
}

type fieldConfig struct {
	Unit, NoValue string
	Decimals      *int
	Min, Max      *float64
	Thresholds    thresholds
	Mappings      []mapping
	Custom        struct {
		FillOpacity, LineWidth float64
		ThresholdsStyle        struct{ Mode string }
		ScaleDistribution      struct{ Type string }
	}

	// Of overrides: how a column is wide, shown and linked, and how a line is drawn.
	width int
	cell  struct{ Type string }
	links []struct{ Title, URL string }
	line  struct{ Fill string }
	below string
}

type thresholds struct {
	Steps []struct {
		Value *float64
		Color string
	}
}

type mapping struct {
	Type    string
	Options json.RawMessage
}

type options struct {
	YAxis         struct{ Unit string }
	Orientation   string
	ColorMode     string
	ReduceOptions struct{ Calcs []string }
	Legend        struct {
		DisplayMode string
		Calcs       []string
		SortBy      string
		SortDesc    bool
	}
	SortBy []struct {
		DisplayName string
		Desc        bool
	}
}

// load returns the committed boards by file name, which are those that are generated.
func load(t testing.TB) map[string]board {
	t.Helper()
	out, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var loaded = sync.OnceValues(func() (map[string]board, error) {
	files, err := dashboards.Files(rules.Default())
	if err != nil {
		return nil, err
	}
	out := map[string]board{}
	for name, want := range files {
		got, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			return nil, fmt.Errorf("%s is stale, run go run ./cmd/snatgen (-generated +committed):\n%s", name, diff)
		}
		if out[name], err = parseBoard(string(got)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	names, err := filepath.Glob("*.json")
	if err != nil {
		return nil, err
	}
	if len(names) != len(out) {
		return nil, fmt.Errorf("dashboards/*.json is %v, want the %d generated boards", names, len(out))
	}
	return out, nil
})

func parseBoard(text string) (board, error) {
	b := board{text: text}
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		return board{}, err
	}
	return b, json.Unmarshal([]byte(text), &b.raw)
}

// The rules of Grafana's dashboard-linter, and ours: titles are questions, ids are unique, nothing overlaps.
func TestBoardsKeepTheRules(t *testing.T) {
	t.Parallel()
	for name, b := range load(t) {
		if b.Editable {
			t.Errorf("%s: editable", name)
		}
		variables := map[string]bool{}
		for _, v := range b.Templating.List {
			variables[v.Name] = true
			if v.Type != "query" {
				continue
			}
			if v.Refresh != 2 {
				t.Errorf("%s: variable %s refreshes at %d, want 2: on time range change", name, v.Name, v.Refresh)
			}
			q, _ := v.Query.(map[string]any)["query"].(string)
			if v.Hide == hidden {
				lintWorst(t, name, v.Name, q, v.AllValue, b)
				continue
			}
			// All would be all names in each selector: of ten thousand nodes two fifths of what a board costs. One node has
			// few budgets, and their names alone narrow them to the chosen pools.
			few := b.UID == "snatwatch-node" && v.Name == "budget"
			if want := map[bool]string{true: ".*"}[v.IncludeAll && !few]; v.AllValue != want {
				t.Errorf("%s: variable %s: All means %q, want %q", name, v.Name, v.AllValue, want)
			}
			if !regexp.MustCompile(`^label_values\(snat_budget_info\{.*\}, [a-z]+\)$`).MatchString(q) {
				t.Errorf("%s: variable %s queries %q", name, v.Name, q)
			}
		}
		for _, want := range []string{"datasource", "cluster", "job", "pool", "budget", "instance"} {
			if !variables[want] {
				t.Errorf("%s: no variable %s", name, want)
			}
		}
		for _, list := range [][]map[string]any{b.Links, b.Annotations.List} {
			for _, l := range list {
				if _, hidden := l["placement"]; hidden {
					t.Errorf("%s: %v is hidden in the controls' menu", name, l["title"])
				}
			}
		}
		ids := map[int]string{}
		var at [][4]int
		for _, p := range b.Panels {
			where := name + ": " + p.Title
			if other, taken := ids[p.ID]; taken || p.ID == 0 {
				t.Errorf("%s: id %d is taken by %q or zero", where, p.ID, other)
			}
			ids[p.ID] = p.Title
			if p.Type == "row" {
				continue
			}
			lintPanel(t, where, p)
			g := [4]int{p.GridPos.X, p.GridPos.Y, p.GridPos.X + p.GridPos.W, p.GridPos.Y + p.GridPos.H}
			for _, o := range at {
				if g[0] < o[2] && o[0] < g[2] && g[1] < o[3] && o[1] < g[3] {
					t.Errorf("%s: overlaps another panel at %v", where, g)
				}
			}
			if g[2] > 24 {
				t.Errorf("%s: ends at column %d of 24", where, g[2])
			}
			at = append(at, g)
		}
	}
}

func lintPanel(t *testing.T, where string, p panel) {
	t.Helper()
	unit := p.FieldConfig.Defaults.Unit + p.Options.YAxis.Unit
	if !strings.HasSuffix(p.Title, "?") || p.Description == "" || unit == "" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
		t.Errorf("%s: want a question, a description (%q), a unit (%q), the data source's variable (%q) and targets (%d)",
			where, p.Description, unit, p.Datasource.UID, len(p.Targets))
	}
	for _, target := range p.Targets {
		e := parse(t, where, target.Expr)
		parser.Inspect(e, func(n parser.Node, path []parser.Node) error {
			v, ok := n.(*parser.VectorSelector)
			if !ok {
				return nil
			}
			has := map[string]bool{}
			for _, m := range v.LabelMatchers {
				has[m.Name] = strings.Contains(m.Value, "$")
			}
			// What is down is asked of targets that may be no agents any more.
			down := v.Name == "up" || v.Name == string(metrics.AgentBuildInfo) && v.OriginalOffset > 0
			// What is recorded of a gateway is of all nodes behind it, and so is what it is compared with.
			behind := (v.Name == string(metrics.BusiestPortsHeld) || v.Name == string(metrics.BudgetInfo)) && !has["job"] && strings.Contains(target.Expr, "gateway:")
			fleet := behind || strings.HasPrefix(v.Name, "pool:") || strings.HasPrefix(v.Name, "gateway:") || v.Name == "node_cpu_seconds_total"
			if !has["cluster"] || !fleet && (!has["job"] || !has["instance"] && !down) {
				t.Errorf("%s: %s lacks the matchers of the variables", where, v)
			}
			counter := strings.HasSuffix(v.Name, "_total") || strings.HasSuffix(v.Name, "_bucket") || strings.HasSuffix(v.Name, "_sum") || strings.HasSuffix(v.Name, "_count") ||
				v.Name == string(metrics.HoldSeconds) || v.Name == string(metrics.LifetimeSeconds) // native histograms
			if rated := inRate(path); counter != rated {
				t.Errorf("%s: %s in rate: %v, want %v", where, v.Name, rated, counter)
			}
			return nil
		})
	}
}

// names are those of the series that v selects.
func names(v *parser.VectorSelector) []string {
	for _, m := range v.LabelMatchers {
		if m.Name == "__name__" {
			return strings.Split(m.Value, "|")
		}
	}
	return []string{v.Name}
}

func inRate(path []parser.Node) bool {
	for _, n := range path {
		if c, ok := n.(*parser.Call); ok && (c.Func.Name == "rate" || c.Func.Name == "increase") {
			return true
		}
	}
	return false
}

// parse reads PromQL with Grafana's variables in it.
func parse(t testing.TB, where, expr string) parser.Expr {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(strings.NewReplacer("[$__rate_interval]", "[5m]", "[$__range]", "[1h]").Replace(expr))
	if err != nil {
		t.Fatalf("%s: %v\n%s", where, err, expr)
	}
	return e
}

// A link from a board leads to one of the boards.
func TestLinksResolve(t *testing.T) {
	t.Parallel()
	uids, links := map[string]bool{}, 0
	files := load(t)
	for _, b := range files {
		uids[b.UID] = true
	}
	for name := range files {
		body, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"url": "/d/([a-z-]+)\?`).FindAllStringSubmatch(string(body), -1) {
			links++
			if !uids[m[1]] {
				t.Errorf("%s links to %s, which is no board", name, m[1])
			}
		}
	}
	if links == 0 {
		t.Error("no link found: are they still written as /d/UID?")
	}
}

// Every name on a board exists, and every metric of the table is used by a rule or a board, or
// says here why not.
func TestMetricsAndPanelsMeet(t *testing.T) {
	t.Parallel()
	unused := map[metrics.Name]string{}
	known := map[string]bool{"node_cpu_seconds_total": true, "process_cpu_seconds_total": true, "ALERTS": true, "up": true}
	for _, m := range metrics.Metrics() {
		known[string(m.Name)] = true
		if m.Type == metrics.Histogram {
			for _, s := range []string{"_bucket", "_sum", "_count"} {
				known[string(m.Name)+s] = true
			}
		}
	}
	used := map[string]bool{}
	note := func(where, expr string) {
		parser.Inspect(parse(t, where, expr), func(n parser.Node, _ []parser.Node) error {
			if v, ok := n.(*parser.VectorSelector); ok {
				for _, name := range names(v) {
					if !known[name] {
						t.Errorf("%s: nothing is called %s", where, name)
					}
					used[name] = true
				}
			}
			return nil
		})
	}
	groups := rules.Default().Groups()
	for _, g := range groups {
		for _, r := range g.Records {
			known[r.Name] = true
		}
	}
	for _, g := range groups {
		for _, r := range g.Records {
			note(r.Name, r.Expr)
		}
		for _, a := range g.Alerts {
			note(a.Name, a.Expr)
		}
	}
	panels := map[int]string{}
	for name, b := range load(t) {
		for _, p := range b.Panels {
			panels[p.ID] = b.UID
			for _, target := range p.Targets {
				note(name+": "+p.Title, target.Expr)
			}
		}
	}
	for _, m := range metrics.Metrics() {
		name := string(m.Name)
		why, excused := unused[m.Name]
		if got := used[name] || used[name+"_bucket"]; got == excused {
			t.Errorf("%s: used by a rule or panel: %v; excuse: %q", name, got, why)
		}
	}
	for _, a := range rules.Default().Alerts() {
		if panels[a.Panel] != a.Board {
			t.Errorf("%s links to panel %d of %s, which is on %q", a.Name, a.Panel, a.Board, panels[a.Panel])
		}
	}
}
