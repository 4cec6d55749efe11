// Package dashboards holds the Grafana boards as Go values, one file per board,
// and writes them as the JSON that Grafana 10 to 13 import. Names come from
// detector/metrics, thresholds and panel ids from rules.
package dashboards

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules"
)

// board is one dashboard: rows of panels that answer questions.
type board struct {
	uid, title, description string
	// from is where the time range begins. Default an hour ago.
	from string
	// one: the board is of one node, not of all or some.
	one bool
	// worst are hidden variables. Each holds the names of the few nodes, pools or gateways that a panel shows, and of
	// their clusters, so that the panel's queries read those alone.
	worst []worst
	// starts is what of the alerts that start is marked in each graph, empty for none at first.
	starts string
	rows   []row
}

type row struct {
	title  string
	panels []panel
}

// worst is a hidden variable. It asks expr when the board is opened or refreshed, and holds the values that label has
// in the answer, and the clusters of these series. With an empty label it holds the clusters alone.
type worst struct{ name, label, expr string }

// matcher selects series with these values in these clusters. For pools it selects the empty name as well, which no
// variable can hold: a budget without a pool is always among them.
func (w worst) matcher(o rules.Options) string {
	or := ""
	if w.label == string(metrics.LabelPool) {
		or = "|"
	}
	return w.clusters(o) + fmt.Sprintf(`, %s=~"$%s%s"`, w.label, w.name, or)
}

// clusters matches the clusters of those names, for series that do not have the label: of 40 clusters a panel reads the
// few that it shows. Series without a cluster label match, too. The variable also holds the names, so a cluster that
// has the name of a node, pool or gateway is read for nothing.
func (w worst) clusters(o rules.Options) string {
	return fmt.Sprintf(`%s=~"$%s|"`, o.ClusterLabel, w.name)
}

// variable asks for the names. Grafana reads them out of the text of an answer, {a="x", b="y"} 1 1700000000, and with g
// each that the expression finds in a line.
func (w worst) variable(o rules.Options) *dashboard.QueryVariableBuilder {
	labels := o.ClusterLabel
	if w.label != "" {
		labels += "|" + w.label
	}
	return dashboard.NewQueryVariableBuilder(w.name).
		Hide(dashboard.VariableHideHideVariable).
		Datasource(datasource).
		Query(dashboard.StringOrMap{Map: map[string]any{
			"query": "query_result(" + strings.Join(strings.Fields(w.expr), " ") + ")", "refId": "Variable",
		}}).
		Regex(fmt.Sprintf(`/[{, ](?:%s)="([^"]+)"/g`, labels)).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
		Sort(dashboard.VariableSortDisabled).
		Multi(true).IncludeAll(true).Current(chosenAll())
}

func chosenAll() dashboard.VariableOption {
	return dashboard.VariableOption{
		Text:  dashboard.StringOrArrayOfString{String: cog.ToPtr("All")},
		Value: dashboard.StringOrArrayOfString{String: cog.ToPtr("$__all")},
	}
}

func (b board) json(o rules.Options) ([]byte, error) {
	builder := b.head(o)
	rowID := uint32(1)
	for _, r := range b.rows {
		builder.WithRow(dashboard.NewRowBuilder(r.title).Id(rowID))
		rowID++
		for _, p := range r.panels {
			builder.WithPanel(p.builder())
		}
	}
	d, err := builder.Build()
	if err != nil {
		return nil, err
	}
	placeControls(&d)
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// head is the board without its rows: title, time range, variables, links and marks.
func (b board) head(o rules.Options) *dashboard.DashboardBuilder {
	builder := dashboard.NewDashboardBuilder(b.title).
		Uid(b.uid).
		Description(b.description).
		Tags([]string{"snatwatch"}).
		Timezone("browser").
		Readonly().
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Time(cmp.Or(b.from, "now-1h"), "now").
		Refresh("30s").
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus"))
	for _, v := range b.variables(o) {
		builder.WithVariable(v)
	}
	for _, w := range b.worst {
		builder.WithVariable(w.variable(o))
	}
	builder.Link(dashboard.NewDashboardLinkBuilder("snatwatch boards").
		Type(dashboard.DashboardLinkTypeDashboards).Icon("external link").
		Tooltip("The other boards, with what is chosen here").Tags([]string{"snatwatch"}).
		AsDropdown(true).IncludeVars(true).KeepTime(true))
	starts := pagesStart(o, cmp.Or(b.starts, "instance, gateway"))
	if b.one {
		starts = ofOne(starts)
	}
	return builder.Annotation(dashboard.NewAnnotationQueryBuilder().
		Name("Pages").Datasource(datasource).Enable(b.starts != "").IconColor("red").
		Expr(starts).
		TitleFormat("{{alertname}}").TextFormat("{{about}}").Step("15s"))
}

// placeControls keeps hidden variables out of the address, and links and marks out of the controls' menu, where the SDK
// puts them and nobody looks.
func placeControls(d *dashboard.Dashboard) {
	for i, v := range d.Templating.List {
		if v.Hide != nil && *v.Hide == dashboard.VariableHideHideVariable {
			d.Templating.List[i].SkipUrlSync = cog.ToPtr(true)
		}
	}
	for i := range d.Links {
		d.Links[i].Placement = nil
	}
	for i := range d.Annotations.List {
		d.Annotations.List[i].Placement = nil
	}
}

// variables are the same on every board, each narrowed by those before it, so that links keep them. On the board of
// one node that is one, without All: an alert's link names it, and who opens the board by hand sees the first.
func (b board) variables(o rules.Options) []*dashboard.QueryVariableBuilder {
	var out []*dashboard.QueryVariableBuilder
	matchers := ""
	for _, v := range []struct{ name, label, title string }{
		{"cluster", o.ClusterLabel, "Cluster"},
		{"job", "job", "Job"},
		{"pool", string(metrics.LabelPool), "Pool"},
		{"budget", string(metrics.LabelBudget), "Budget"},
		{"instance", "instance", "Node"},
	} {
		query := fmt.Sprintf("label_values(%s{%s}, %s)", metrics.BudgetInfo, matchers, v.label)
		variable := dashboard.NewQueryVariableBuilder(v.name).
			Label(v.title).
			Datasource(datasource).
			Query(dashboard.StringOrMap{Map: map[string]any{"query": query, "refId": "Variable"}}).
			Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
			Sort(dashboard.VariableSortAlphabeticalAsc)
		if one := b.one && v.name == "instance"; one {
			variable.Multi(false).IncludeAll(false)
		} else {
			variable.Multi(true).IncludeAll(true).Current(chosenAll())
		}
		// Without a value of its own All is a regular expression of all names, in each selector: ten thousand of nodes. On
		// the board of one node nothing but their names narrows budgets to those of the chosen pools.
		if !b.one || v.name != "budget" && v.name != "instance" {
			variable.AllValue(".*")
		}
		out = append(out, variable)
		if matchers != "" {
			matchers += ", "
		}
		matchers += fmt.Sprintf(`%s=~"$%s"`, v.label, v.name)
	}
	return out
}
