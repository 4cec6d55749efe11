package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/table"

	"github.com/snatwatch/snatwatch/rules/alerts"
)

// column renames a label, "Value" or, with several queries, "Value #A". What stands here goes before the panel's own.
type column struct {
	label, title string
	width        int // pixels; of a table only the last column may leave it out and take what is left
	unit         string
	thresholds   []float64
	worstIsLow   bool
	gauge        bool // a bar from 0 to 1
	mappings     []dashboard.ValueMapping
	links        []link
}

// leftColumn and fillColumn are the titles of how long ports last and how full their space is.
const (
	leftColumn = "Time left"
	fillColumn = "Full"
)

// link is where a click on a cell leads. In its address ${__data.fields.X} is the cell in the column with title X.
type link struct{ title, url string }

// nodeLinks lead from a node's name, which stands in the column Node, to all that tells of it.
func nodeLinks(cluster string) []link {
	at := "&var-instance=${__data.fields.Node:percentencode}&${__url_time_range}"
	if cluster != "" {
		at = "&var-cluster=${__data.fields." + cluster + ":percentencode}" + at
	}
	return []link{
		{"The node's board", "/d/" + alerts.BoardNode + "?${datasource:queryparam}&${job:queryparam}" + at},
		{"The agent's page: why, and what helps", "http://${__data.fields.Node}/"},
	}
}

func (p panel) table() cog.Builder[dashboard.Panel] {
	span, height := p.size(24, 9)
	index, rename := map[string]any{}, map[string]any{}
	exclude := map[string]any{"Time": true, "__name__": true, "job": true} // rows are told apart by the job, too
	if p.noValue {
		exclude["Value"] = true
	}
	for i, c := range p.columns {
		index[c.label], rename[c.label] = i, c.title
	}
	b := table.NewPanelBuilder().
		Id(p.id).Title(p.title).Description(p.description).Datasource(datasource).
		Unit(p.unit).Span(span).Height(height).NoValue(p.none).
		CellHeight(common.TableCellHeightSm).
		Footer(common.NewTableFooterOptionsBuilder().Show(false).Reducer([]string{})).
		Thresholds(p.steps()).
		WithTransformation(dashboard.DataTransformerConfig{Id: "merge", Options: map[string]any{}}).
		WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
			"excludeByName": exclude, "indexByName": index, "renameByName": rename,
		}})
	for i, q := range p.queries {
		b.WithTarget(q.cells(refID(i)))
	}
	var sorted []cog.Builder[common.TableSortByFieldState]
	for _, c := range p.columns {
		if o := c.override(); len(o) > 0 {
			b.OverrideByName(c.title, o)
		}
		if c.title == p.sortBy || c.title == fillColumn && p.sortBy == leftColumn {
			sorted = append(sorted, common.NewTableSortByFieldStateBuilder().DisplayName(c.title).Desc(!c.worstIsLow))
		}
	}
	if len(sorted) > 0 {
		b.SortBy(sorted)
	}
	return b
}

// override is how a column differs from its panel.
func (c column) override() []dashboard.DynamicConfigValue {
	var out []dashboard.DynamicConfigValue
	set := func(id string, value any) { out = append(out, dashboard.DynamicConfigValue{Id: id, Value: value}) }
	if c.width != 0 {
		set("custom.width", c.width)
	}
	if c.unit != "" {
		set("unit", c.unit)
	}
	if c.unit == share {
		set("decimals", 1)
	}
	mappings := c.mappings
	if len(c.thresholds) > 0 {
		set("thresholds", map[string]any{"mode": "absolute", "steps": steps(c.thresholds, c.worstIsLow)})
		cell := map[string]any{"type": "color-background", "mode": "basic"}
		if c.gauge {
			cell = map[string]any{"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
			set("min", 0)
			set("max", 1)
		}
		set("custom.cellOptions", cell)
		if len(mappings) == 0 { // what is not known is neither good nor bad
			mappings = []dashboard.ValueMapping{mapNull(shownAs("–", "transparent"))}
		}
	}
	if len(mappings) > 0 {
		set("mappings", mappings)
	}
	if len(c.links) > 0 {
		var links []any
		for _, l := range c.links {
			links = append(links, map[string]any{"title": l.title, "url": l.url})
		}
		set("links", links)
	}
	return out
}
