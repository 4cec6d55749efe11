package dashboards_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
)

// What real Grafanas showed wrong once, and no board does again.
func TestBoardsHaveNoFaults(t *testing.T) {
	t.Parallel()
	for name, b := range looked(t) {
		for _, f := range faults(t, b) {
			t.Errorf("%s: %s", name, f)
		}
	}
}

// faults lists what is wrong with a board.
func faults(t testing.TB, b board) []string {
	t.Helper()
	var out []string
	note := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	walk(b.raw, "", func(path string, v any) {
		// Grafana matches an empty word with none of its own, and shows something else than its default. A mapping
		// may hide.
		if v == "" && !strings.HasSuffix(path, ".text") {
			note("%s is empty", path)
		}
	})
	for _, v := range b.Templating.List {
		if b.UID == "snatwatch-node" && v.Name == "instance" && (v.IncludeAll || v.Multi) {
			note("a board of one node opens with all")
		}
	}
	if b.UID == "snatwatch-node" && strings.Contains(b.text, `=~\"$instance`) {
		note("the name of one node is taken for a regular expression, which an IPv6 address is not")
	}
	for _, a := range b.Annotations.List {
		out = append(out, annotationFaults(b, a)...)
	}
	out = append(out, headFaults(b)...)
	for _, p := range b.Panels {
		if p.Type == "row" {
			continue
		}
		for _, fault := range slices.Concat(panelFaults(p), queryFaults(t, p), asideFaults(t, b, p)) {
			note("%s: %s", p.Title, fault)
		}
	}
	return out
}

func walk(v any, path string, see func(path string, v any)) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			walk(x, path+"."+k, see)
		}
	case []any:
		for i, x := range v {
			walk(x, fmt.Sprintf("%s[%d]", path, i), see)
		}
	default:
		see(path, v)
	}
}

// An annotation marks a start, on boards of one thing, and names what is there.
func annotationFaults(b board, a map[string]any) []string {
	var out []string
	expr, _ := a["expr"].(string)
	if !strings.Contains(expr, " unless ") || !strings.Contains(expr, " offset 15s") {
		out = append(out, "annotations cover the time of an alert, not its start: "+expr)
	}
	if on := a["enable"] == true; on && slices.Contains([]string{"snatwatch-fleet", "snatwatch-agent"}, b.UID) {
		out = append(out, "alerts of all nodes are marked in every graph")
	}
	kept := regexp.MustCompile(`^max by \(([^)]*)\)`).FindStringSubmatch(expr)
	for _, key := range []string{"titleFormat", "textFormat"} {
		format, _ := a[key].(string)
		for _, m := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(format, -1) {
			if kept == nil || !slices.Contains(strings.Split(kept[1], ", "), m[1]) {
				out = append(out, "an annotation without "+m[1]+" prints that name")
			}
		}
	}
	return out
}

// units that a panel or a column may have: whole numbers, shares, times and rates of what is counted.
var units = []string{"locale", "percentunit", "dtdhms", "suffix:flows/s", "none", "cps", "pps", "ops"}

func panelFaults(p panel) []string {
	var out []string
	note := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	d := p.FieldConfig.Defaults
	if len(p.Title)*10 > p.GridPos.W*65 {
		note("its title is cut on a small screen")
	}
	for _, f := range p.fields() {
		out = append(out, f.textFaults(p)...)
		seconds := f.Unit == "s" && (strings.Contains(p.Title, "dump") || brief(f.title))
		if f.Unit != "" && f.Unit != "string" && !slices.Contains(units, f.Unit) && !seconds {
			note("unit %s%s", f.Unit, f.title)
		}
		if last := len(f.Thresholds.Steps) - 1; f.Unit == "percentunit" && last > 0 && *f.Thresholds.Steps[last].Value == 1 {
			note("red from 100 %% alone: what is full hovers below%s", f.title)
		}
	}
	if d.NoValue == "" && p.Type != "heatmap" {
		note("nothing stands where there are no data")
	}
	for _, x := range p.Targets {
		if now := p.Type == "stat" || p.Type == "table"; now != x.Instant || now == x.Range {
			note("target %s: instant %v and range %v in a panel of type %s", x.RefID, x.Instant, x.Range, p.Type)
		}
	}
	if last := len(d.Thresholds.Steps) - 1; (d.Unit == "dtdhms" || d.Unit == "s") && p.Type == "stat" && d.Thresholds.Steps[0].Color == "red" && (last != 2 || !d.maps("value") || !d.maps("range") || !d.maps("special")) {
		note("a time without NOW, not in 1 h, or a word for none")
	}
	switch p.Type {
	case "table":
		out = append(out, tableFaults(p)...)
	case "timeseries":
		out = append(out, lineFaults(p)...)
	}
	return out
}

func (f fieldConfig) maps(kind string) bool {
	return slices.ContainsFunc(f.Mappings, func(m mapping) bool { return m.Type == kind })
}

func tableFaults(p panel) []string {
	var out []string
	organize := p.Transformations[len(p.Transformations)-1].Options
	if by := p.Options.SortBy; len(by) > 0 && by[0].DisplayName == "Time left" && by[len(by)-1].DisplayName != "Full" {
		out = append(out, "rows that do not run out are in no order")
	}
	for label, title := range organize.RenameByName {
		f := p.field(title)
		last := organize.IndexByName[label] == len(organize.IndexByName)-1
		if f.width == 0 && !last {
			out = append(out, "column "+title+" has no width of its own")
		}
		if f.width > 0 && len(title)*9 > f.width {
			out = append(out, "the title of column "+title+" is cut")
		}
		if f.width > 0 && f.width < 260 && (label == "instance" || label == "destination") {
			out = append(out, "an IPv6 address is cut in column "+title)
		}
		if f.cell.Type != "" && !slices.ContainsFunc(f.Mappings, func(m mapping) bool {
			return m.Type == "special" && strings.Contains(string(m.Options), `"transparent"`)
		}) {
			out = append(out, "column "+title+" colors what is not known")
		}
		if mixed := organize.RenameByName["gateway"] != ""; mixed && optional(label) && !f.mapsEmpty() {
			out = append(out, title+" is none where it is not known")
		}
		if label == "netns" && f.Unit != "string" {
			out = append(out, "a network namespace is shown as a number")
		}
		for _, l := range f.links {
			if strings.Contains(l.URL, "var-instance=${") && !strings.Contains(l.URL, "var-cluster=${__data.fields.Cluster") {
				out = append(out, "a link to a node does not name its cluster")
			}
		}
	}
	return out
}

func lineFaults(p panel) []string {
	var out []string
	if l := p.Options.Legend; l.DisplayMode != "table" || !slices.Equal(l.Calcs, []string{"lastNotNull", "max"}) {
		out = append(out, "its legend is no table with last and max")
	}
	many := len(p.Targets) > 3
	var horizons []time.Duration
	for _, x := range p.Targets {
		many = many || strings.Contains(x.LegendFormat, "{{")
		if m := regexp.MustCompile(`(?:instance|pool|gateway)\}\} (.*)$`).FindStringSubmatch(x.LegendFormat); m != nil && m[1] != "{{cluster}}" {
			out = append(out, "a long name does not stand at the end of the legend "+x.LegendFormat)
		}
		if i := strings.Index(x.LegendFormat, "{{destination}}"); i >= 0 && regexp.MustCompile(`\}\}`).MatchString(x.LegendFormat[:i]) {
			out = append(out, "the destination does not come first in "+x.LegendFormat)
		}
		if strings.Contains(x.LegendFormat, "{{horizon}}") {
			out = append(out, "horizons in the order of the alphabet")
		}
		if m := regexp.MustCompile(`^within (\w+)`).FindStringSubmatch(x.LegendFormat); m != nil {
			h, _ := time.ParseDuration(m[1])
			horizons = append(horizons, h)
		}
		if limit := regexp.MustCompile(`^(effective ceiling|ceiling|budget|may hide)\b`).MatchString(x.LegendFormat); limit && !p.field(x.LegendFormat).isLimit() {
			out = append(out, "the limit "+x.LegendFormat+" is drawn like what it limits")
		}
		if strings.Contains(x.Expr, "sqrt(") && !strings.Contains(fmt.Sprint(p.FieldConfig.Overrides), "fillBelowTo") {
			out = append(out, "a deviation is a line, not a band")
		}
	}
	if !slices.IsSorted(horizons) || len(horizons) > 0 && p.Options.Legend.SortBy != "" {
		out = append(out, "horizons out of order")
	}
	if many && p.FieldConfig.Defaults.Custom.FillOpacity > 0 {
		out = append(out, "areas of many lines over each other")
	}
	return out
}

func queryFaults(t testing.TB, p panel) []string {
	t.Helper()
	var out []string
	note := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, x := range p.Targets {
		if records := strings.Contains(x.Expr, "gateway:") || strings.Contains(x.Expr, "pool:"); records {
			if joined := narrowed.MatchString(x.Expr); !joined && !strings.Contains(p.Description, "do not narrow it") {
				note("it does not say that Node and Job do not narrow it")
			}
			if strings.Contains(x.Expr, "pool:") && !strings.Contains(p.Description, "four minutes") && x.Range {
				note("it does not say that it lags by four minutes")
			}
			if strings.Contains(x.Expr, "gateway:") && x.Range && !strings.Contains(p.Description, "minute") {
				note("it does not say how old it may be")
			}
			if strings.Contains(x.Expr, "pool:") && x.Range && p.FieldConfig.Defaults.Unit == "percentunit" {
				note("it stands at its peak for two minutes after relief")
			}
		}
		parser.Inspect(parse(t, p.Title, x.Expr), func(n parser.Node, path []parser.Node) error {
			switch n := n.(type) {
			case *parser.Call:
				if n.Func.Name == "vector" {
					note("a 0 where nothing is known: %s", x.Expr)
				}
			case *parser.AggregateExpr:
				if len(n.Grouping) > 0 && !slices.Contains(n.Grouping, "cluster") && !n.Without && !slices.Equal(n.Grouping, []string{"le"}) {
					note("%s by (%s) mixes clusters", n.Op, strings.Join(n.Grouping, ", "))
				}
				if few := n.Op == parser.TOPK || n.Op == parser.BOTTOMK; few && x.Range && len(n.Grouping) == 0 && !strings.Contains(n.Expr.String(), "@ end()") {
					note("another %s at each step", n.Op)
				}
			case *parser.BinaryExpr:
				out = append(out, matchFaults(n)...)
			case *parser.VectorSelector:
				if now := x.Instant && strings.HasPrefix(n.Name, "pool:"); now && !inRange(path) {
					note("%s is two minutes old", n.Name)
				}
			}
			return nil
		})
	}
	return out
}

func inRange(path []parser.Node) bool {
	return slices.ContainsFunc(path, func(n parser.Node) bool { _, ok := n.(*parser.MatrixSelector); return ok })
}

// matchFaults: names are told apart by cluster, and where numbers are matched each is told once: for a scrape or two
// a pod and its successor both tell of a node.
func matchFaults(n *parser.BinaryExpr) []string {
	m := n.VectorMatching
	if m == nil || !m.On {
		return nil
	}
	var out []string
	if !slices.Contains(m.MatchingLabels, "cluster") {
		out = append(out, "on ("+strings.Join(m.MatchingLabels, ", ")+") mixes clusters")
	}
	once := func(e parser.Expr) bool {
		for {
			switch x := e.(type) {
			case *parser.ParenExpr:
				e = x.Expr
				continue
			case *parser.BinaryExpr:
				e = x.LHS
				if _, number := e.(*parser.NumberLiteral); number {
					e = x.RHS
				}
				continue
			case *parser.AggregateExpr:
				return true
			case *parser.VectorSelector:
				return strings.Contains(x.Name, ":")
			}
			return false
		}
	}
	if !n.Op.IsSetOperator() && !once(n.RHS) {
		out = append(out, "a node that is told twice breaks the match with "+n.RHS.String())
	}
	return out
}

// Each fault is found in a board that has it.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, board, from, to, want string }{
		{"half of a number is hidden", "overview", `"orientation": "auto"`, `"orientation": ""`, ".options.orientation is empty"},
		{"an empty tooltip", "node", `"showColorScale": true`, `"mode": ""`, "tooltip.mode is empty"},
		{"the past as now", "overview", `"instant": true,
          "legendFormat": "a node",
          "range": false`, `"instant": false,
          "legendFormat": "a node",
          "range": true`, "in a panel of type stat"},
		{"red for nothing", "overview", `"match": "null+nan",
                      "result": {
                        "text": "–",
                        "color": "transparent"`, `"match": "null+nan",
                      "result": {
                        "text": "–",
                        "color": "red"`, "colors what is not known"},
		{"alerts as regions", "node", ` unless ALERTS`, ` or ALERTS`, "not its start"},
		{"alerts of a fleet", "agent", `"enable": false`, `"enable": true`, "marked in every graph"},
		{"a label's name", "node", `"textFormat": "{{about}}"`, `"textFormat": "{{destination}}"`, "prints that name"},
		{"clusters in one row", "overview", `max by (cluster, job, instance, budget, protocol)`, `max by (job, instance, budget, protocol)`, "mixes clusters"},
		{"clusters in one match", "overview", `on (cluster, job, instance, budget, protocol)`, `on (job, instance, budget, protocol)`, "mixes clusters"},
		{"a false all-clear", "overview", `0 * count(gateway:snat_budget_effective_ports:max{cluster`, `vector(0) + count(gateway:snat_budget_effective_ports:max{cluster`, "a 0 where nothing is known"},
		{"full at 100 % alone", "node", `"value": 0.75,`, `"value": 1,`, "hovers below"},
		{"rows in no order", "overview", `"displayName": "Full"`, `"displayName": "Time left"`, "in no order"},
		{"a column of no width", "overview", `"id": "custom.width"`, `"id": "custom.minWidth"`, "has no width"},
		{"a short IPv6", "overview", `"value": 310`, `"value": 210`, "an IPv6 address is cut"},
		{"nothing helps", "overview", `"match": "null",`, `"match": "null+nan",`, "is none where it is not known"},
		{"a range without an end", "overview", `"to": 1000000000000000`, `"to": null`, "a range without an end"},
		{"two spaces", "node", `"suffix:flows/s"`, `"suffix: flows/s"`, "unit suffix: flows/s"},
		{"a part of a port", "node", `"decimals": 0,`, ``, "counts parts of one"},
		{"3.17 mins", "agent", `"unit": "dtdhms"`, `"unit": "s"`, "unit s"},
		{"1.02 K", "fleet", `"unit": "locale"`, `"unit": "short"`, "unit short"},
		{"striped lines", "overview", `[$__range] @ end()`, `[$__range]`, "another topk at each step"},
		{"a gateway that is not narrowed", "fleet", `do not narrow it`, `narrow it`, "does not say that Node and Job"},
		{"a cut title", "overview", `"title": "What is full now?"`, `"title": "How many nodes and gateways are at their ceiling now?"`, "title is cut"},
		{"columns in disorder", "overview", `"Value #B": 3`, `"Value #B": 0`, "from where to when"},
		{"rules that lack", "fleet", `"noValue": "needs the recording rules"`, `"noValue": "none"`, "does not say that it needs the recording rules"},
		{"an agent that is old", "node", `needs a newer agent`, `none`, "does not say that snat_advice_ports needs"},
		{"a linear axis", "fleet", `"type": "log"`, `"type": "linear"`, "share a linear axis"},
		{"a forecast of when it was made", "node", ` offset 5m`, ``, "stands where it was made"},
		{"ports without a ceiling", "node", `"unit": "percentunit"`, `"unit": "locale"`, "bare ports"},
		{"an hour without exhaustion", "node", `Nothing runs out within the hour`, `none`, "where nothing runs out"},
		{"agents in silence", "overview", `up{cluster`, `down{cluster`, "on no board"},
		{"a line for each", "overview", `topk(8, `, `max(`, "a line for each agent"},
		{"a gateway's peak that stands", "fleet", `snat_busiest_ports_held`, `snat_ports_held`, "two minutes after relief"},
		{"a gateway's lag that is hidden", "fleet", `by gateway, every minute or two`, `by gateway`, "how old it may be"},
		{"a lag that is hidden", "fleet", `every four minutes and lags`, `and lags`, "lags by four minutes"},
		{"a peak that stands", "overview", `"expr": "max by (cluster, pool, budget, protocol) (`, `"expr": "pool:snat_busiest_fill:max{cluster=~\"$cluster\"} or (`, "two minutes after relief"},
		{"a deviation as a line", "fleet", `"custom.fillBelowTo"`, `"custom.fillOpacity"`, "not a band"},
		{"a legend as a list", "fleet", `"displayMode": "table"`, `"displayMode": "list"`, "no table with last and max"},
		{"a long name first", "fleet", `"{{budget}} {{protocol}} {{pool}} {{cluster}}"`, `"{{pool}} {{budget}} {{protocol}} {{cluster}}"`, "at the end of the legend"},
		{"no data", "node", `"noValue": "Nothing runs out within the hour"`, `"noValue": ""`, "nothing stands"},
		{"all nodes at once", "node", `"multi": false`, `"multi": true`, "opens with all"},
		{"the destination last", "node", `"{{destination}} {{protocol}}`, `"{{protocol}} {{destination}}`, "does not come first"},
		{"a ceiling like the rest", "node", `"fill": "dash"`, `"fill": "solid"`, "drawn like what it limits"},
		{"horizons out of order", "node", `"within 5m {{cluster}}"`, `"within 2h {{cluster}}"`, "out of order"},
		{"one node as a pattern", "node", `instance=\"$instance\"`, `instance=~\"$instance\"`, "taken for a regular expression"},
		{"a node told twice", "node", `group_left () max by (cluster, job, instance, budget, protocol) (snat_budget_effective_ports`, `group_left () (snat_budget_effective_ports`, "told twice"},
		{"a link to two nodes", "agent", `\u0026var-cluster=${__data.fields.Cluster:percentencode}`, ``, "does not name its cluster"},
		{"a name of two clusters", "overview", `{{pool}} {{cluster}}`, `{{pool}}`, "does not tell clusters apart"},
		{"a row of two clusters", "overview", `"cluster": "Cluster"`, `"scope": "Cluster"`, "does not tell clusters apart"},
		{"full at 100 % after orange", "overview", `"value": 0.98`, `"value": 1`, "hovers below"},
		{"full at 100 % in a column", "fleet", `"value": 0.98`, `"value": 1`, "hovers below in Full"},
		{"1.02 K in a column", "overview", `"value": "locale"`, `"value": "short"`, "unit short in Held"},
		{"6.83 mins in a column", "overview", `"value": "dtdhms"`, `"value": "s"`, "unit s in Time left"},
		{"a column without NOW", "overview", `"0": {`, `"-1": {`, "a column without NOW"},
		{"ports before time", "overview", `"Value #D": 5`, `"Value #D": 1`, "from where to when"},
		{"an inexact agent in silence", "overview", `snat_ledger_exact`, `snat_warming_up`, "is not in the head"},
		{
			"a gateway of other nodes", "overview", `snat_budget_info{cluster=~\"$cluster\", job=~\"$job\", instance=~\"$instance\"`,
			`snat_budget_info{cluster=~\"$cluster\"`, "does not say that Node and Job",
		},
		{"a ceiling as an area", "node", `"id": "custom.fillOpacity",
                "value": 0`, `"id": "custom.fillOpacity",
                "value": 20`, "drawn like what it limits"},
		{"drops beside what is left", "node", `"value": "pps"`, `"value": "locale"`, "share an axis"},
		{"areas over each other", "overview", `"fillOpacity": 0,`, `"fillOpacity": 8,`, "areas of many lines"},
		{"a namespace as a number", "agent", `"source": "Source"`, `"netns": "Source"`, "shown as a number"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			good := load(t)["snatwatch-"+tt.board+".json"].text
			bad := strings.ReplaceAll(good, tt.from, tt.to)
			if bad == good {
				t.Fatalf("no board says %s", tt.from)
			}
			b, err := parseBoard(bad)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(faults(t, b), "\n"); !strings.Contains(got, tt.want) {
				t.Errorf("no fault %q in:\n%s", tt.want, got)
			}
		})
	}
}
