package rules_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/rules"
	"github.com/snatwatch/snatwatch/rules/query"
)

// The Grafana-managed rules stand on the agent's metrics alone: no recorded series and no ALERTS,
// which a server without a ruler does not have.
func TestGrafanaRulesStandAlone(t *testing.T) {
	t.Parallel()
	body, err := rules.Default().Grafana()
	if err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile("../deploy/grafana/snatwatch-alerting.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(body), string(committed)); diff != "" {
		t.Errorf("stale, run go run ./cmd/snatgen (-generated +committed):\n%s", diff)
	}
	rulesOf := grafanaRules(t, body)
	known := map[string]bool{"up": true}
	for _, m := range metrics.Metrics() {
		known[string(m.Name)] = true
	}
	var titles, want []string
	uids := map[string]bool{}
	for _, r := range rulesOf {
		titles = append(titles, r.Title)
		if uids[r.UID] || len(r.UID) > 40 {
			t.Errorf("%s: uid %q is taken or above 40 characters", r.Title, r.UID)
		}
		uids[r.UID] = true
		for _, d := range r.Data {
			if d.Model.Expr != "" {
				check(t, r.Title, d.Model.Expr, known)
			}
		}
		for _, fault := range r.faults() {
			t.Errorf("%s: %s", r.Title, fault)
		}
	}
	for _, a := range rules.Default().Alerts() {
		want = append(want, a.Name)
	}
	if diff := cmp.Diff(want, titles); diff != "" {
		t.Errorf("alerts (-want +got):\n%s", diff)
	}
}

// grafanaRule is a rule of a provisioning file.
type grafanaRule struct {
	UID, Title, Condition string
	NoDataState           string `yaml:"noDataState"`
	ExecErrState          string `yaml:"execErrState"`
	Labels                map[string]string
	Data                  []struct {
		RefID string `yaml:"refId"`
		Model struct {
			Expr       string
			Conditions []map[string]struct {
				Type   string
				Params []float64
			}
		}
	}
	Annotations  map[string]string
	DashboardUID string `yaml:"dashboardUid"`
	PanelID      int    `yaml:"panelId"`
}

func grafanaRules(t *testing.T, body []byte) []grafanaRule {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []grafanaRule }
	}
	if err := yaml.Unmarshal(body, &file); err != nil {
		t.Fatal(err)
	}
	return slices.Concat(file.Groups[0].Rules, file.Groups[1].Rules)
}

// faults are what real Grafanas made of a rule and should not.
func (r grafanaRule) faults() []string {
	var out []string
	note := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for name, text := range r.Annotations {
		if strings.Contains(text, "$") {
			note("Grafana would expand a $ in %s: %s", name, text)
		}
	}
	// While the server cannot be asked a page neither resolves nor fires; one ticket says that nobody can be asked.
	if want := map[bool]string{true: "Error", false: "KeepLast"}[r.Title == "SnatAgentsAbsent"]; r.ExecErrState != want || r.NoDataState != "OK" {
		note("on error %s, without data %s", r.ExecErrState, r.NoDataState)
	}
	if r.Annotations["__dashboardUid__"] != r.DashboardUID || r.Annotations["__panelId__"] != strconv.Itoa(r.PanelID) || r.DashboardUID == "" {
		note("notifications do not link to panel %d of %s: %v", r.PanelID, r.DashboardUID, r.Annotations)
	}
	text := r.Annotations["description"]
	if strings.Contains(text, ".Labels.") || strings.Contains(text, ".Values.") {
		note("an instance without data has no such label or value, which is an error unless it is looked up by index: %s", text)
	}
	if r.Labels["severity"] == rules.Default().Critical && !strings.Contains(r.Title, "Gateway") && !strings.Contains(r.Title, "Conntrack") &&
		(!strings.Contains(text, "http://{{ (index .Labels `instance`) }}/") || !strings.Contains(text, "ports{{ end }}")) {
		note("it does not say what is held, or where to look: %s", text)
	}
	th := rules.Default().Thresholds
	raised := map[string][2]float64{ // and cleared at
		"SnatExhaustionPredicted": {th.Page, th.PageClear}, "SnatGatewayExhaustionPredicted": {th.Page, th.PageClear},
		"SnatExhaustionExpected": {th.Ticket, th.TicketClear}, "SnatForecastMiscalibrated": {th.Brier}, "SnatOpenFailures": {th.FailureRatio},
		"SnatIdleExpiredFlows": {th.IdleRate}, "SnatDestinationDominates": {th.Dominates}, "SnatPortsLeaking": {th.LeakGrowth}, "SnatPoolNearTierEdge": {th.TierNodes},
	}
	condition := r.Data[1].Model.Conditions[0]
	level := condition["evaluator"].Params[0]
	raise, ok := raised[r.Title]
	switch {
	case ok && level != raise[0]:
		note("it fires at %g, no threshold that a reader sees; want %g", level, raise[0])
	case ok && len(condition["unloadEvaluator"].Params) == 1 != (raise[1] > 0):
		note("it is cleared at %v, want another level: %v", condition["unloadEvaluator"].Params, raise)
	case !ok && level != -1:
		note("it fires at %g, which is no threshold of the options", level)
	}
	if expr := r.Data[0].Model.Expr; strings.Contains(expr, "up == 0") && !strings.Contains(expr, "offset 1d") {
		note("it stops within a day though the agent is down still: %s", expr)
	}
	return out
}

// Each fault of Grafana's alerts is found in those of before it was mended, by its number in the list of what a real
// Grafana showed. TestFaultsOfBefore of the boards has the others.
func TestGrafanaFaultsOfBefore(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("testdata/grafana/before.yaml")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, r := range grafanaRules(t, body) {
		found[r.Title] = strings.Join(r.faults(), "\n")
	}
	for _, tt := range []struct {
		point       int
		alert, want string
	}{
		{26, "SnatExhaustionPredicted", "on error OK, without data OK"},
		{27, "SnatPortsExhausted", "notifications do not link to panel"},
		{28, "SnatAgentDown", "it stops within a day though the agent is down still"},
		{29, "SnatPortsExhausted", "it does not say what is held, or where to look"},
		{30, "SnatExhaustionPredicted", "which is an error unless it is looked up by index"},
		{30, "SnatOpenFailures", "no threshold that a reader sees"},
		{31, "SnatExhaustionPredicted", "it fires at -1"},
	} {
		if !strings.Contains(found[tt.alert], tt.want) {
			t.Errorf("%d: no fault %q in %s of before:\n%s", tt.point, tt.want, tt.alert, found[tt.alert])
		}
	}
	// What clears a page at a level of its own is missing in rules that fire at the right one.
	r := grafanaRules(t, body)[0]
	r.Data[1].Model.Conditions[0]["evaluator"].Params[0] = rules.Default().Thresholds.Page
	if got := strings.Join(r.faults(), "\n"); !strings.Contains(got, "want another level") {
		t.Errorf("31: no fault in the level at which %s is cleared:\n%s", r.Title, got)
	}
}

// Grafana writes templates as Go does, with an error for a key that is missing: descriptions are texts with and without data.
func TestGrafanaDescriptionsExpand(t *testing.T) {
	t.Parallel()
	type value struct {
		Labels map[string]string
		Value  float64
	}
	type data struct {
		Labels map[string]string
		Values map[string]value
	}
	labels := map[string]string{"instance": "node-1:9959", "budget": "lb", "protocol": "tcp", "destination": "203.0.113.7:443", "model": "azure-lb", "cause": "refused"}
	number := func(v float64) value { return value{labels, v} }
	body, err := rules.Default().Grafana()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range grafanaRules(t, body) {
		tmpl, err := template.New("").Option("missingkey=error").Funcs(template.FuncMap{
			"humanizePercentage": func(v float64) string { return fmt.Sprintf("%.4g%%", 100*v) },
			"humanizeDuration":   func(v float64) string { return fmt.Sprintf("%gs", v) },
		}).Parse(r.Annotations["description"])
		if err != nil {
			t.Fatalf("%s: %v", r.Title, err)
		}
		for name, d := range map[string]data{
			"all":     {labels, map[string]value{"A": number(0.5), "B": number(1), "C": number(1000), "D": number(1024), "E": number(200)}},
			"no data": {map[string]string{"datasource_uid": "p", "ref_id": "A"}, nil},
		} {
			var out strings.Builder
			if err := tmpl.Execute(&out, d); err != nil {
				t.Errorf("%s: %s: %v", r.Title, name, err)
			}
			if name == "all" && r.Title == "SnatExhaustionPredicted" {
				const want = "On node-1:9959, new tcp flows to 203.0.113.7:443 will soon find no SNAT port: the urgency is 50%, made of the probability that budget lb (azure-lb) is exhausted within 5m." +
					" The fullest port space there holds 1000 ports; the effective ceiling is 1024. As likely as not the first is full within 200s." +
					" Why, and what would help by how much: http://node-1:9959/ and the runbook."
				if diff := cmp.Diff(want, out.String()); diff != "" {
					t.Errorf("%s (-want +got):\n%s", r.Title, diff)
				}
			}
		}
	}
}

// A threshold may be any number, those that stand elsewhere in the expression of the page too. The page shows its urgency, which
// clears nothing while the probability is not below the level at which it clears.
func TestGrafanaPageAtEveryThreshold(t *testing.T) {
	t.Parallel()
	promtool := kerneltest.Program(t, "promtool", "prometheus")
	const space = `{job="s", instance="n", budget="lb", protocol="tcp", destination="d", horizon="5m"}`
	for _, tt := range []struct{ raise, under, urgency, want float64 }{
		{0.5, 0.1, 0.4, 0.4},
		{0.5, 0.1, 0.05, 0.1},
		{0.3, 0.2, 0.16, 0.2}, // above half of what raises it
		{0.8, 0.1, 0.4, 0.4},
		{0.85, 0.1, 0.4, 0.4},
		{1, 0.1, 0.4, 0.4},
		{0.1, 0.1, 0.4, 0.4},
	} {
		o := rules.Default()
		o.Thresholds.Page, o.Thresholds.PageClear = tt.raise, tt.under
		if err := o.Validate(); err != nil {
			t.Fatal(err)
		}
		body, err := o.Grafana()
		if err != nil {
			t.Fatal(err)
		}
		page := grafanaRules(t, body)[0].Data
		if c := page[1].Model.Conditions[0]; c["evaluator"].Params[0] != tt.raise || c["unloadEvaluator"].Params[0] != tt.under {
			t.Errorf("raised at %v, cleared at %v: %v", tt.raise, tt.under, c)
		}
		expectSamples(t, promtool, fmt.Sprintf("raised at %v, cleared at %v", tt.raise, tt.under), page[0].Model.Expr, map[string]string{
			`snat_budget_info{job="s", instance="n", budget="lb"}`: "1",
			"snat_likely_exhaustion_probability" + space:           "0.45",
			"snat_page_urgency" + space:                            query.Number(tt.urgency),
		}, []any{map[string]any{"labels": space, "value": tt.want}})
	}
}

// What Grafana tells of the fullest port space is of the budget's ports, so it is left out where those of low ports, which have
// fewer, are the only ones that are likely to run out.
func TestGrafanaTellsNoOtherPorts(t *testing.T) {
	t.Parallel()
	promtool := kerneltest.Program(t, "promtool", "prometheus")
	body, err := rules.Default().Grafana()
	if err != nil {
		t.Fatal(err)
	}
	const agent = `job="s", instance="n", budget="nat", protocol="tcp"`
	const low, other = `{` + agent + `, vip="ports 1-511", destination="d"}`, `{` + agent + `, vip="", destination="d"}`
	likely := func(space string) string {
		return "snat_likely_exhaustion_probability" + strings.TrimSuffix(space, "}") + `, horizon="5m"}`
	}
	for _, tt := range []struct {
		name, likely string
		want         []any
	}{
		{"low ports", likely(low), nil},
		{"all others", likely(other), []any{map[string]any{"labels": "{" + agent + "}", "value": 2950}}},
	} {
		expectSamples(t, promtool, tt.name, grafanaRules(t, body)[0].Data[2].Model.Expr, map[string]string{
			"snat_busiest_ports_held{" + agent + "}": "2950",
			"snat_low_ports_fill_ratio" + low:        "0.9",
			tt.likely:                                "0.9",
		}, tt.want)
	}
}

// expectSamples runs promtool: at one moment, with so many samples, an expression returns what is wanted.
func expectSamples(t *testing.T, promtool, name, expr string, samples map[string]string, want []any) {
	t.Helper()
	var series []any
	for s, v := range samples {
		series = append(series, map[string]any{"series": s, "values": v})
	}
	test, err := yaml.Marshal(map[string]any{"tests": []any{map[string]any{
		"interval": "1m", "input_series": series,
		"promql_expr_test": []any{map[string]any{"expr": expr, "eval_time": "0m", "exp_samples": want}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "test.yaml")
	if err := os.WriteFile(file, test, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
}
