package dashboards_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// asideFaults are what tables, legends and graphs did not tell an on-call engineer, or told at the wrong place.
func asideFaults(t testing.TB, b board, p panel) []string {
	t.Helper()
	var out []string
	note := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	all, said := 0, p.FieldConfig.Defaults.NoValue+mappedTexts(p)
	for _, x := range p.Targets {
		if recorded(parse(t, p.Title, x.Expr)) {
			all++
		}
	}
	if all == len(p.Targets) && !strings.Contains(said, "needs the recording rules") {
		note("it does not say that it needs the recording rules")
	}
	for _, x := range p.Targets {
		if name := tooNew(x.Expr); name != "" && !strings.Contains(said, "needs a newer agent") && len(p.Targets) == 1 {
			note("it does not say that %s needs a newer agent", name)
		}
	}
	switch p.Type {
	case "table":
		out = append(out, orderFaults(b, p)...)
		out = append(out, clusterless(p)...)
	case "timeseries":
		if d := p.FieldConfig.Defaults; (d.Unit == "s" || d.Unit == "dtdhms") && strings.Contains(p.Title, "run out") && !strings.Contains(d.NoValue, "Nothing runs out within the hour") {
			note("nothing stands where nothing runs out")
		}
		for _, x := range p.Targets {
			out = append(out, graphFaults(b, p, x)...)
		}
		out = append(out, axisFaults(p)...)
	}
	return out
}

// recorded says whether nothing is left of an expression where nothing is recorded.
func recorded(e parser.Expr) bool {
	switch e := e.(type) {
	case *parser.VectorSelector:
		return strings.Contains(e.Name, ":")
	case *parser.MatrixSelector:
		return recorded(e.VectorSelector)
	case *parser.SubqueryExpr:
		return recorded(e.Expr)
	case *parser.ParenExpr:
		return recorded(e.Expr)
	case *parser.AggregateExpr:
		return recorded(e.Expr)
	case *parser.Call:
		return slices.ContainsFunc(e.Args, recorded)
	case *parser.BinaryExpr:
		if e.Op == parser.LOR {
			return recorded(e.LHS) && recorded(e.RHS)
		}
		return recorded(e.LHS) || e.Op != parser.LUNLESS && recorded(e.RHS)
	}
	return false
}

// tooNew is a metric that agents of before the boards do not tell, if all that expr shows is that.
func tooNew(expr string) string {
	for _, name := range []metrics.Name{metrics.SoonestExhaustion, metrics.AdvicePorts, metrics.OwnerPortsHeld, metrics.OwnerFlowsOpened} {
		if strings.Contains(expr, string(name)) && !strings.Contains(expr, "gateway:") {
			return string(name)
		}
	}
	return ""
}

// mappedTexts are what values are shown as.
func mappedTexts(p panel) string {
	var out strings.Builder
	for _, m := range p.FieldConfig.Defaults.Mappings {
		out.Write(m.Options)
	}
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			if property.ID == "mappings" {
				out.Write(property.Value)
			}
		}
	}
	return out.String()
}

// orderFaults: the eye goes from left to right: where, how long, how likely, how full, how much, and last the labels.
func orderFaults(b board, p panel) []string {
	organize := p.Transformations[len(p.Transformations)-1].Options
	place := func(title string) int {
		for label, t := range organize.RenameByName {
			if t == title || strings.HasPrefix(t, title+" ") {
				return organize.IndexByName[label]
			}
		}
		return -1
	}
	var at []int
	titles := []string{"Destination", "Time left", "Within", "Full", "Held"}
	if b.UID == "snatwatch-overview" {
		titles = append([]string{"Node"}, titles...)
	}
	for _, title := range titles {
		if i := place(title); i >= 0 {
			at = append(at, i)
		}
	}
	if place("Time left") >= 0 && !slices.IsSorted(at) {
		return []string{"its columns do not go from where to when to how much"}
	}
	return nil
}

func graphFaults(b board, p panel, x target) []string {
	var out []string
	d := p.FieldConfig.Defaults
	one := strings.Contains(x.Expr, "topk(1,") || strings.Contains(x.Expr, "bottomk(1,")
	held := regexp.MustCompile(`snat_(all_)?ports_held\b`).MatchString(x.Expr)
	if held && strings.Contains(x.LegendFormat, "{{pool}}") && !one && d.Custom.ScaleDistribution.Type != "log" {
		out = append(out, "pools of hundreds of ports and of a hundred thousand share a linear axis")
	}
	if held && strings.Contains(x.LegendFormat, "{{destination}}") && !one && d.Unit != "percentunit" {
		out = append(out, "bare ports: how near the ceiling is does not show")
	}
	if strings.Contains(x.Expr, "forecast_ports_mean") && !strings.Contains(x.Expr, " offset ") {
		out = append(out, "a forecast stands where it was made, not where what came of it shows")
	}
	if names := strings.Contains(x.LegendFormat, "{{"); names && !one && !strings.Contains(x.LegendFormat, "{{cluster}}") {
		out = append(out, "legend "+x.LegendFormat+" does not tell clusters apart")
	}
	if b.UID != "snatwatch-node" && strings.Contains(x.LegendFormat, "{{instance}}") && !strings.Contains(x.Expr, "topk(") {
		out = append(out, "a line for each agent")
	}
	if gateway := strings.Contains(x.Expr, "gateway:snat_ports_held:sum"); gateway && d.Unit == "percentunit" && !strings.Contains(x.Expr, string(metrics.BusiestPortsHeld)) {
		out = append(out, "it stands at its peak for two minutes after relief")
	}
	return out
}

// clusterless: what a table names is of a cluster, in which names are told apart; and times that are left have words.
func clusterless(p panel) []string {
	var out []string
	organize := p.Transformations[len(p.Transformations)-1].Options
	for _, label := range []string{"instance", "pool", "gateway"} {
		if organize.RenameByName[label] != "" && (organize.RenameByName["cluster"] == "" || organize.ExcludeByName["cluster"]) {
			out = append(out, "column "+organize.RenameByName[label]+" does not tell clusters apart")
		}
	}
	for _, title := range organize.RenameByName {
		f := p.field(title)
		if now, _ := f.shown(0, true); title == "Time left" && (now != "NOW" || !f.maps("range") || !f.maps("special")) {
			out = append(out, "a column without NOW, not in 1 h, or a word for none")
		}
	}
	return out
}

// titled is a field by its title, "" of the panel's default.
type titled struct {
	fieldConfig
	title string
}

// fields are how a panel shows a value: by default, and in each column or line.
func (p panel) fields() []titled {
	out := []titled{{p.FieldConfig.Defaults, ""}}
	for _, x := range p.Targets {
		if f := p.field(x.LegendFormat); p.Type != "table" && f.Unit != p.FieldConfig.Defaults.Unit {
			out = append(out, titled{f, " in " + x.LegendFormat})
		}
	}
	if p.Type == "table" {
		for _, title := range p.Transformations[len(p.Transformations)-1].Options.RenameByName {
			out = append(out, titled{p.field(title), " in " + title})
		}
	}
	return out
}

// optional is a label that rows lack in a table of nodes and gateways.
func optional(label string) bool {
	return slices.Contains([]string{"instance", "gateway", "owner", "measure"}, label)
}

// mapsEmpty: an empty label and a missing one have a text of their own. Grafana 10.0 takes every text for NaN.
func (f fieldConfig) mapsEmpty() bool {
	maps := func(match string) bool {
		return slices.ContainsFunc(f.Mappings, func(m mapping) bool { return strings.Contains(string(m.Options), match) })
	}
	return maps(`"empty"`) && maps(`"null"`) && !maps(`"null+nan"`)
}

// textFaults: what Grafana's library showed of mappings and counts.
func (f titled) textFaults(p panel) []string {
	var out []string
	for _, m := range f.Mappings {
		var ends struct{ From, To *float64 }
		if m.Type == "range" && (json.Unmarshal(m.Options, &ends) != nil || ends.From == nil || ends.To == nil) {
			out = append(out, "a range without an end, which Grafana 10 and 11 take for 0"+f.title)
		}
	}
	whole := f.Decimals != nil && *f.Decimals == 0 || strings.HasPrefix(p.Description, "Expected")
	if f.Unit == "locale" && !whole && p.Type != "table" {
		out = append(out, "counts parts of one"+f.title)
	}
	return out
}

// brief says whether a column is of times of less than minutes.
func brief(title string) bool { return title == " in Mean lifetime" || title == " in Dump" }

func (f fieldConfig) isLimit() bool { return f.line.Fill == "dash" && f.Custom.FillOpacity == 0 }

// narrowed matches a query of what is recorded by gateway or pool that asks for those of the chosen nodes.
var narrowed = regexp.MustCompile(`snat_budget_info\{[^}]*instance=~"\$instance`)

// axisFaults: beside a hundred thousand that are left, three in a second are not seen.
func axisFaults(p panel) []string {
	var counted, inSecond []string // their units
	for _, x := range p.Targets {
		if f := p.field(x.LegendFormat); strings.Contains(x.Expr, "rate(") {
			inSecond = append(inSecond, f.Unit)
		} else {
			counted = append(counted, f.Unit)
		}
	}
	if slices.ContainsFunc(inSecond, func(unit string) bool { return slices.Contains(counted, unit) }) {
		return []string{"what is counted and what happens in a second share an axis"}
	}
	return nil
}

// headFaults: the Overview says in its head which agents cannot be heard, and which not be trusted.
func headFaults(b board) []string {
	if b.UID != "snatwatch-overview" {
		return nil
	}
	var head, out []string
	for _, p := range b.Panels {
		for _, x := range p.Targets {
			if p.Type == "stat" {
				head = append(head, x.Expr)
			}
		}
	}
	said := strings.Join(head, "\n")
	if !regexp.MustCompile(`\bup\{`).MatchString(said) {
		out = append(out, "agents that are down are on no board")
	}
	for _, name := range []metrics.Name{metrics.LedgerExact, metrics.WarmingUp} {
		if !strings.Contains(said, string(name)) {
			out = append(out, string(name)+" is not in the head")
		}
	}
	return out
}

// Each fault that a real Grafana showed is found in the boards of then, by its number in the list that was made before
// it. What no text of a board tells is in other tests: 2 and 7 of what a query answers (TestPanelsShow), 12 for how long
// (TestAgentsAreDownForADay), 15 after relief (TestGraphsFallWithRelief), 17 and 23 of how many series (TestPanelsOfFleets),
// 8 of the forecast (TestSaturationIsNowUntilItIsOver, of the ledger), 25 of a ticket's text
// (rules/tests/SnatForecastMiscalibrated.yaml), and 26 to 31 of Grafana's alerts (TestGrafanaFaultsOfBefore, of the rules).
func TestFaultsOfBefore(t *testing.T) {
	t.Parallel()
	found := map[string]string{}
	for name, b := range read(t, "testdata/before") {
		found[name] = strings.Join(faults(t, b), "\n")
	}
	for _, tt := range []struct {
		point       int
		board, want string
	}{
		{1, "overview", ".options.orientation is empty"},
		{1, "node", ".options.tooltip.mode is empty"},
		{2, "overview", "When does the first run out?: target B: instant false and range true in a panel of type stat"},
		{2, "overview", "a time without NOW, not in 1 h, or a word for none"},
		{3, "overview", "column Time left colors what is not known"},
		{3, "fleet", "column Nodes to the edge colors what is not known"},
		{3, "node", "column Contradicted colors what is not known"},
		{4, "node", "annotations cover the time of an alert, not its start"},
		{4, "fleet", "alerts of all nodes are marked in every graph"},
		{4, "agent", "an annotation without destination prints that name"},
		{5, "overview", "mixes clusters"},
		{5, "overview", "a link to a node does not name its cluster"},
		{6, "overview", "a 0 where nothing is known"},
		{6, "fleet", "Which pool opens the most flows?: it does not say that it needs the recording rules"},
		{7, "overview", "red from 100 % alone: what is full hovers below"},
		{9, "overview", "its columns do not go from where to when to how much"},
		{9, "overview", "column Destination has no width of its own"},
		{10, "fleet", "unit short"},
		{10, "overview", "unit s"},
		{10, "node", "unit reqps"},
		{11, "overview", "another topk at each step"},
		{11, "overview", "areas of many lines over each other"},
		{12, "overview", "agents that are down are on no board"},
		{13, "overview", "it does not say that Node and Job do not narrow it"},
		{14, "overview", "its title is cut on a small screen"},
		{15, "fleet", "it does not say that it lags by four minutes"},
		{15, "fleet", "it does not say how old it may be"},
		{15, "fleet", "it stands at its peak for two minutes after relief"},
		{16, "fleet", "a deviation is a line, not a band"},
		{17, "fleet", "pools of hundreds of ports and of a hundred thousand share a linear axis"},
		{17, "fleet", "its legend is no table with last and max"},
		{17, "agent", "a long name does not stand at the end of the legend"},
		{18, "node", "nothing stands where nothing runs out"},
		{18, "fleet", "nothing stands where there are no data"},
		{19, "node", "a board of one node opens with all"},
		{20, "node", "the destination does not come first"},
		{20, "node", "the limit effective ceiling is drawn like what it limits"},
		{21, "node", "a forecast stands where it was made"},
		{22, "node", "bare ports"},
		{22, "node", "horizons in the order of the alphabet"},
		{23, "agent", "a line for each agent"},
		{24, "agent", "a network namespace is shown as a number"},
	} {
		t.Run(fmt.Sprintf("%d %s", tt.point, tt.want), func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(found["snatwatch-"+tt.board+".json"], tt.want) {
				t.Errorf("no such fault in the %s of before", tt.board)
			}
		})
	}
}
