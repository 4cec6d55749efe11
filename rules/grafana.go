package rules

import (
	"fmt"
	"strings"
	"time"
)

// GrafanaDatasource is the uid of the Prometheus data source that the Grafana-managed
// rules query: Grafana expands the variable from its environment.
const GrafanaDatasource = "$SNATWATCH_DATASOURCE_UID"

// grafanaTick is what intervals of Grafana's groups are multiples of, and the shortest.
const grafanaTick = 10 * time.Second

// Grafana returns the alerts as a provisioning file of Grafana-managed rules
// (grafana.com/docs: alerting, file provisioning, apiVersion 1), for users whose Prometheus
// runs no rules. Recorded series are written out in full, and keep_firing_for alone
// holds an alert, since Grafana writes no series ALERTS.
func (o Options) Grafana() ([]byte, error) {
	o.inline = true
	group := func(name string, every time.Duration, alerts []Alert) any {
		var out []any
		for _, a := range alerts {
			out = append(out, grafanaRule(o, a))
		}
		return map[string]any{"orgId": 1, "name": name, "folder": "snatwatch", "interval": duration(every), "rules": out}
	}
	body, err := marshal(map[string]any{
		"apiVersion": 1,
		"groups": []any{
			group("snatwatch-pages", grafanaTick, o.pages()),
			group("snatwatch-tickets", (o.FleetInterval + grafanaTick - 1).Truncate(grafanaTick), o.tickets()),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("write Grafana rules: %w", err)
	}
	return append([]byte(header+"# Set SNATWATCH_DATASOURCE_UID in Grafana's environment to the uid of its Prometheus data source.\n"), body...), nil
}

// grafanaRule writes one alert. A template has no $ in it: Grafana expands what follows one as a variable
// of its environment, and how to escape it has changed between versions. Its value is a text, while the
// number of query A stands in .Values. A query that fails raises no page, but a ticket of the other rules.
func grafanaRule(o Options, a Alert) map[string]any {
	annotations := o.annotations(a)
	annotations["description"] = strings.NewReplacer("$labels", ".Labels", "$value ", ".Values.A.Value ").Replace(a.Description)
	delete(annotations, "dashboard")
	delete(annotations, "__dashboardUid__")
	delete(annotations, "__panelId__")
	onError := "Error"
	if a.Severity == o.Critical {
		onError = "OK"
	}
	return map[string]any{
		"uid":       kebab(a.Name),
		"title":     a.Name,
		"condition": "B",
		"data": []any{
			map[string]any{
				"refId": "A", "datasourceUid": GrafanaDatasource,
				"relativeTimeRange": map[string]int{"from": 600, "to": 0},
				"model":             map[string]any{"refId": "A", "expr": a.Expr, "instant": true, "range": false},
			},
			// The query returns only what fires, with any value: everything is above -1.
			map[string]any{
				"refId": "B", "datasourceUid": "__expr__",
				"model": map[string]any{
					"refId": "B", "type": "threshold", "expression": "A",
					"conditions": []any{map[string]any{"evaluator": map[string]any{"type": "gt", "params": []int{-1}}}},
				},
			},
		},
		"noDataState":   "OK",
		"execErrState":  onError,
		"for":           grafanaDuration(duration(a.For)),
		"keepFiringFor": grafanaDuration(duration(a.KeepFiringFor)),
		"labels":        map[string]string{"severity": a.Severity},
		"annotations":   annotations,
		"isPaused":      false,
		"dashboardUid":  a.Board,
		"panelId":       a.Panel,
	}
}

func grafanaDuration(s string) string {
	if s == "" {
		return "0s"
	}
	return s
}

// kebab turns SnatAgentDown into snat-agent-down.
func kebab(s string) string {
	var b strings.Builder
	for i, r := range s {
		if r >= 'A' && r <= 'Z' {
			if i > 0 {
				b.WriteByte('-')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
