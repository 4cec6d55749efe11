package rules

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/alerts/pages"
	"github.com/snatwatch/snatwatch/rules/alerts/tickets"
	"github.com/snatwatch/snatwatch/rules/query"
)

// GrafanaDatasource is the uid of the Prometheus data source that the Grafana-managed
// rules query: Grafana expands the variable from its environment.
const GrafanaDatasource = "$SNATWATCH_DATASOURCE_UID"

// grafanaTick is what intervals of Grafana's groups are multiples of, and the shortest.
const grafanaTick = 10 * time.Second

// Grafana returns the alerts as a provisioning file of Grafana-managed rules
// (grafana.com/docs: alerting, file provisioning, apiVersion 1), for users whose Prometheus
// runs no rules. Recorded series are written out in full. It takes Grafana 10.4.1, which was the first
// to know KeepLast; recovery thresholds are older (10.3).
func (o Options) Grafana() ([]byte, error) {
	o.Inline = true
	group := func(name string, every time.Duration, list []alerts.Alert) any {
		var out []any
		for _, a := range list {
			out = append(out, grafanaRule(o, a))
		}
		return map[string]any{
			"orgId": 1, "name": name, "folder": "snatwatch", "interval": query.Duration(every),
			"rules": out,
		}
	}
	body, err := marshal(map[string]any{
		"apiVersion": 1,
		"groups": []any{
			group("snatwatch-pages", grafanaTick, pages.All(o.Options)),
			group("snatwatch-tickets", (o.FleetInterval + grafanaTick - 1).Truncate(grafanaTick), tickets.All(o.Options)),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("write Grafana rules: %w", err)
	}
	return append([]byte(header+"# Grafana 10.4.1 or later: execErrState KeepLast. Set SNATWATCH_DATASOURCE_UID in "+
		"Grafana's environment to the uid of its Prometheus data source.\n"), body...), nil
}

// level is the threshold of an alert as Grafana shows it: the query returns what is half way there, too, so that who
// lowers the threshold sees something.
type level struct {
	// suffix ends the expression's comparison; half stands in its place.
	suffix, half string
	below        bool
	raise, clear float64 // clear is 0 where there is no other level to clear at
}

// levels are the thresholds of the alerts that compare with one number.
func (o Options) levels() map[string]level {
	t := o.Thresholds
	compare := func(op string, raise, half float64, end string) level {
		return level{suffix: op + query.Number(raise) + end, half: op + query.Number(half) + end, raise: raise}
	}
	above := func(raise float64) level { return compare("> ", raise, raise/2, "\n") }
	probability := func(raise, under float64) level {
		l := compare(" >= ", raise, min(raise/2, under), "")
		l.clear = under
		return l
	}
	edge := compare("< ", t.TierNodes, 2*t.TierNodes, "\n")
	edge.below = true
	// An urgency below the level at which the probability clears the page would stand in the place of that probability.
	page := compare(") >= ", t.Page, t.PageClear, "\n")
	page.clear = t.PageClear
	return map[string]level{
		"SnatExhaustionPredicted":   page,
		pages.GatewayExhaustion:     probability(t.Page, t.PageClear),
		"SnatExhaustionExpected":    probability(t.Ticket, t.TicketClear),
		"SnatForecastMiscalibrated": above(t.Brier),
		"SnatOpenFailures":          above(t.FailureRatio),
		"SnatIdleExpiredFlows":      above(t.IdleRate),
		"SnatDestinationDominates":  above(t.Dominates),
		"SnatPortsLeaking":          above(t.LeakGrowth),
		"SnatPoolNearTierEdge":      edge,
	}
}

// conditions are the conditions of a threshold expression of Grafana. Without a level everything that the query returns
// fires.
func (l level) conditions() []any {
	evaluator := func(kind string, v float64) map[string]any {
		return map[string]any{"type": kind, "params": []float64{v}}
	}
	over, under := "gt", "lt"
	if l.below {
		over, under = under, over
	}
	if l.suffix == "" {
		return []any{map[string]any{"evaluator": evaluator("gt", -1)}}
	}
	condition := map[string]any{"evaluator": evaluator(over, l.raise)}
	if l.clear > 0 {
		condition["unloadEvaluator"] = evaluator(under, l.clear)
	}
	return []any{condition}
}

// fact is another query of a rule, whose answer its description tells. REF in text is the query's name.
type fact struct{ expr, text string }

// facts returns the facts for the pages of nodes: cheap queries, since Grafana asks every ten seconds. Their labels are
// a part of the alert's, by which Grafana finds the value that belongs to an instance.
func (o Options) facts(a alerts.Alert) []fact {
	if a.Name != "SnatExhaustionPredicted" && a.Name != "SnatPortsExhausted" {
		return nil
	}
	each := o.Agent(metrics.LabelBudget, metrics.LabelProtocol)
	busiest, ceiling := o.PerNode("max", o.Metric(metrics.BusiestPortsHeld)),
		o.PerNode("max", o.Metric(metrics.BudgetEffectivePorts))
	soonest := o.PerNode("min", o.Metric(metrics.SoonestExhaustion), metrics.LabelVIP, metrics.LabelDestination)
	near, last := o.Metric(metrics.LikelyExhaustion, query.HorizonIs(o.PageHorizon)), fact{
		soonest + " > 0 < +Inf",
		" As likely as not the first is full within {{ (index .Values `REF`).Value | " + alerts.Period + " }}.",
	}
	// Low ports have another ceiling.
	ordinary := near + "\nunless on (" + o.Agent(metrics.LabelBudget, metrics.LabelProtocol, metrics.LabelVIP,
		metrics.LabelDestination) + ")\n" + o.Metric(metrics.LowPortsFill)
	if a.Name == "SnatPortsExhausted" {
		near, last = busiest+" > 0.95 * "+ceiling,
			fact{soonest, " The first that ran out is {{ index (index .Values `REF`).Labels `destination` }}."}
		ordinary = near
	}
	facts := []fact{
		{busiest, " The fullest port space there holds {{ (index .Values `REF`).Value | " + alerts.Whole + " }} ports"},
		{ceiling, "; the effective ceiling is {{ (index .Values `REF`).Value | " + alerts.Whole + " }}."},
		last,
	}
	for i, where := range []string{ordinary, ordinary, near} {
		facts[i].expr += fmt.Sprintf("\nand on (%s)\n(%s)", each, where)
	}
	return facts
}

// grafanaRule writes one alert. A template has no $ in it: Grafana expands what follows one as a variable of its
// environment, and how to escape it has changed between versions. Its value is a text, while the number of query A
// stands in .Values. What an instance without data lacks is an error in a template unless it is looked up by index.
// While the server cannot be asked an alert stays what it is: to resolve a page then, or to raise one, would both be
// wrong. (Grafana goes on to count the time of one that is pending, which fires when its For is over.) One ticket says
// that nobody can be asked.
func grafanaRule(o Options, a alerts.Alert) map[string]any {
	annotations := o.annotations(a)
	lookUp := func(text string) string {
		text = regexp.MustCompile(`\$labels\.(\w+)`).ReplaceAllString(text, "(index .Labels `$1`)")
		return strings.ReplaceAll(text, "$value ", "(index .Values `A`).Value ")
	}
	description := lookUp(a.Description)
	delete(annotations, "dashboard")
	onError := "KeepLast"
	if a.Name == "SnatAgentsAbsent" {
		onError = "Error"
	}
	l := o.levels()[a.Name]
	if l.suffix != "" && strings.Count(a.Expr, l.suffix) != 1 {
		panic(fmt.Sprintf("rules: %s is %d times in %s, want once", l.suffix, strings.Count(a.Expr, l.suffix), a.Name))
	}
	ask := func(ref, expr string) map[string]any {
		return map[string]any{
			"refId": ref, "datasourceUid": GrafanaDatasource,
			"relativeTimeRange": map[string]int{"from": 600, "to": 0},
			"model":             map[string]any{"refId": ref, "expr": expr, "instant": true, "range": false},
		}
	}
	data := []any{
		ask("A", strings.Replace(a.Expr, l.suffix, l.half, 1)),
		map[string]any{
			"refId": "B", "datasourceUid": "__expr__",
			"model": map[string]any{"refId": "B", "type": "threshold", "expression": "A", "conditions": l.conditions()},
		},
	}
	for i, f := range o.facts(a) {
		ref := string(rune('C' + i))
		data = append(data, ask(ref, f.expr))
		description += "{{ if (index .Values `" + ref + "`).Labels }}" + strings.ReplaceAll(f.text, "REF", ref) + "{{ end }}"
	}
	if strings.HasSuffix(a.Detail, alerts.Helps) {
		description += lookUp(alerts.Helps)
	}
	annotations["description"] = description
	return map[string]any{
		"uid":           kebab(a.Name),
		"title":         a.Name,
		"condition":     "B",
		"data":          data,
		"noDataState":   "OK",
		"execErrState":  onError,
		"for":           grafanaDuration(query.Duration(a.For)),
		"keepFiringFor": grafanaDuration(query.Duration(a.KeepFiringFor)),
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
