package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/heatmap"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

type kind uint8

const (
	lines   kind = iota // time series
	number              // the worst current value
	rowsOf              // a table of current values
	density             // a heat map of a histogram's buckets
)

// panel answers one question. Thresholds are the alerts' own.
type panel struct {
	id                 uint32
	kind               kind
	title, description string
	// unit is Grafana's id of a unit: short, percentunit, s, reqps.
	unit          string
	queries       []query
	thresholds    []float64 // orange at the first, red at the last
	worstIsLow    bool      // thresholds from below: red under the first
	min, max      *float64
	width, height uint32
	// band names two legends: the area between them is filled. Grafana matches the lower one whole.
	bandLow, bandHigh string
	// columns are those of a table, in this order, sorted by the first that has thresholds; noValue leaves the value out.
	columns []column
	noValue bool
}

// column renames a label, "Value" or, with several queries, "Value #A". What stands here goes before the panel's own.
type column struct {
	label, title string
	unit         string
	thresholds   []float64
	worstIsLow   bool
	board        string // to which a click on a node leads
}

// query is one target; {{label}} in legend is a label's value.
type query struct {
	expr, legend string
	instant      bool
}

func (p panel) builder() cog.Builder[dashboard.Panel] {
	switch p.kind {
	case number:
		return p.number()
	case rowsOf:
		return p.table()
	case density:
		return p.heatmap()
	}
	return p.lines()
}

func (p panel) size(width, height uint32) (span, h uint32) {
	if p.width != 0 {
		width = p.width
	}
	if p.height != 0 {
		height = p.height
	}
	return width, height
}

func (p panel) steps() *dashboard.ThresholdsConfigBuilder {
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(steps(p.thresholds, p.worstIsLow))
}

func steps(thresholds []float64, worstIsLow bool) []dashboard.Threshold {
	colors, base := []string{"orange", "red"}, "green"
	if worstIsLow {
		colors, base = []string{"orange", "green"}, "red"
	}
	if len(thresholds) == 1 {
		colors = colors[1:]
	}
	out := []dashboard.Threshold{{Color: base}}
	for i, t := range thresholds {
		out = append(out, dashboard.Threshold{Value: cog.ToPtr(t), Color: colors[i]})
	}
	return out
}

func refID(i int) string { return string(rune('A' + i)) }

func (p panel) lines() cog.Builder[dashboard.Panel] {
	span, height := p.size(12, 9)
	b := timeseries.NewPanelBuilder().
		Id(p.id).Title(p.title).Description(p.description).Datasource(datasource).
		Unit(p.unit).Span(span).Height(height).
		LineWidth(1).FillOpacity(8).ShowPoints(common.VisibilityModeNever).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending)).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom))
	if p.unit == "percentunit" {
		b.Decimals(1)
	}
	if p.min != nil {
		b.Min(*p.min)
	}
	if p.max != nil {
		b.Max(*p.max)
	}
	if len(p.thresholds) > 0 {
		b.Thresholds(p.steps()).ThresholdsStyle(common.NewGraphThresholdsStyleConfigBuilder().Mode(common.GraphThresholdsStyleModeDashed))
	}
	for i, q := range p.queries {
		b.WithTarget(q.builder(refID(i)))
	}
	if p.bandHigh != "" {
		none := []dashboard.DynamicConfigValue{{Id: "custom.lineWidth", Value: 0}, {Id: "custom.fillOpacity", Value: 0}}
		b.OverrideByName(p.bandLow, none)
		b.OverrideByName(p.bandHigh, append(none[:1:1],
			dashboard.DynamicConfigValue{Id: "custom.fillBelowTo", Value: p.bandLow}, dashboard.DynamicConfigValue{Id: "custom.fillOpacity", Value: 18}))
	}
	return b
}

func (p panel) number() cog.Builder[dashboard.Panel] {
	span, height := p.size(6, 5)
	b := stat.NewPanelBuilder().
		Id(p.id).Title(p.title).Description(p.description).Datasource(datasource).
		Unit(p.unit).Span(span).Height(height).NoValue("none").
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
		TextMode(common.BigValueTextModeValueAndName).
		ColorMode(common.BigValueColorModeBackground).GraphMode(common.BigValueGraphModeNone).
		Thresholds(p.steps())
	if p.unit == "percentunit" {
		b.Decimals(1)
	}
	for i, q := range p.queries {
		b.WithTarget(q.builder(refID(i)))
	}
	return b
}

func (p panel) table() cog.Builder[dashboard.Panel] {
	span, height := p.size(24, 9)
	index, rename := map[string]any{}, map[string]any{}
	exclude := map[string]any{"Time": true, "__name__": true}
	if p.noValue {
		exclude["Value"] = true
	}
	for i, c := range p.columns {
		index[c.label], rename[c.label] = i, c.title
	}
	b := table.NewPanelBuilder().
		Id(p.id).Title(p.title).Description(p.description).Datasource(datasource).
		Unit(p.unit).Span(span).Height(height).
		Thresholds(p.steps()).
		WithTransformation(dashboard.DataTransformerConfig{Id: "merge", Options: map[string]any{}}).
		WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
			"excludeByName": exclude, "indexByName": index, "renameByName": rename,
		}})
	for i, q := range p.queries {
		b.WithTarget(q.builder(refID(i)))
	}
	sorted := false
	for _, c := range p.columns {
		if o := c.override(); len(o) > 0 {
			b.OverrideByName(c.title, o)
		}
		if len(c.thresholds) > 0 && !sorted {
			sorted = true
			b.SortBy([]cog.Builder[common.TableSortByFieldState]{common.NewTableSortByFieldStateBuilder().DisplayName(c.title).Desc(!c.worstIsLow)})
		}
	}
	return b
}

// override is how a column differs from its panel.
func (c column) override() []dashboard.DynamicConfigValue {
	var out []dashboard.DynamicConfigValue
	if c.unit != "" {
		out = append(out, dashboard.DynamicConfigValue{Id: "unit", Value: c.unit})
	}
	if c.unit == "percentunit" {
		out = append(out, dashboard.DynamicConfigValue{Id: "decimals", Value: 1})
	}
	if len(c.thresholds) > 0 {
		out = append(out,
			dashboard.DynamicConfigValue{Id: "thresholds", Value: map[string]any{"mode": "absolute", "steps": steps(c.thresholds, c.worstIsLow)}},
			dashboard.DynamicConfigValue{Id: "custom.cellOptions", Value: map[string]any{"type": "color-background", "mode": "basic"}})
	}
	if c.board != "" {
		out = append(out, dashboard.DynamicConfigValue{Id: "links", Value: []any{map[string]any{
			"title": "Look at this node",
			"url":   "/d/" + c.board + "?${datasource:queryparam}&${cluster:queryparam}&${job:queryparam}&var-instance=${__value.raw:percentencode}&${__url_time_range}",
		}}})
	}
	return out
}

func (p panel) heatmap() cog.Builder[dashboard.Panel] {
	span, height := p.size(12, 9)
	b := heatmap.NewPanelBuilder().
		Id(p.id).Title(p.title).Description(p.description).Datasource(datasource).
		Span(span).Height(height).
		Calculate(false).
		Color(heatmap.NewHeatmapColorOptionsBuilder().Mode(heatmap.HeatmapColorModeScheme).Scheme("Oranges").Steps(64).Reverse(false).Fill("dark-orange").Exponent(0.5)).
		YAxis(heatmap.NewYAxisConfigBuilder().Unit(p.unit)).
		CellGap(1)
	for i, q := range p.queries {
		b.WithTarget(q.builder(refID(i)).Format("heatmap"))
	}
	return b
}
