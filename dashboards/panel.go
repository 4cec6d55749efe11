package dashboards

import (
	"strings"

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
	number              // values of now
	rowsOf              // a table of values of now
	density             // a heat map of a histogram's buckets
)

// panel answers one question. Thresholds are the alerts' own.
type panel struct {
	id                 uint32
	kind               kind
	title, description string
	unit               string
	queries            []query
	thresholds         []float64 // orange at the first, red at the last
	worstIsLow         bool      // thresholds from below: red under the first
	min, max           *float64
	width, height      uint32
	mappings           []dashboard.ValueMapping
	// units are the units of single queries, by legend, where they differ.
	units map[string]string
	// expected: what is counted is expected, not seen, and may be a part of one.
	expected bool
	// log draws a logarithmic axis: of pools that hold hundreds of ports and others that hold a hundred thousand.
	log bool
	// coarse asks for a quarter of the points, one in two minutes of the hour that boards open with: of panels that read
	// every node's series at each of them.
	coarse bool
	// none is what stands where the queries return nothing. Default "none".
	none string
	// bandLow and bandHigh name two legends: the area between them is filled. Grafana matches the lower one whole.
	bandLow, bandHigh string
	// drops matches the legends of packets that are dropped a second, on an axis of their own beside what is counted.
	drops string
	// limits matches the legends of what lines are compared with: dashed, without a fill.
	limits string
	// columns are a table's columns, in this order; it is sorted by sortBy, a column's title, the worst first. Rows that
	// run out as late as each other are sorted by how full they are.
	// noValue leaves the value out.
	columns []column
	sortBy  string
	noValue bool
}

// points is how many points of each line are asked for: one in 30 s of the hour that boards open with.
const points = 120

func (p panel) builder() cog.Builder[dashboard.Panel] {
	if p.none == "" {
		p.none = "none"
	}
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
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).
		Steps(steps(p.thresholds, p.worstIsLow))
}

func (p panel) lines() cog.Builder[dashboard.Panel] {
	span, height := p.size(12, 9)
	legend := common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeTable).
		Placement(common.LegendPlacementBottom).Calcs([]string{"lastNotNull", "max"})
	if len(p.queries) == 1 { // several have an order of their own
		legend.SortBy("Last *").SortDesc(true)
	}
	b := timeseries.NewPanelBuilder().
		Id(p.id).Title(p.title).Description(p.description).Datasource(datasource).
		Unit(p.unit).Span(span).Height(height).NoValue(p.none).MaxDataPoints(p.points()).
		LineWidth(1).FillOpacity(p.fill()).ShowPoints(common.VisibilityModeNever).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending)).
		Legend(legend)
	switch {
	case p.unit == share:
		b.Decimals(1)
	case p.unit == countOf && !p.expected:
		b.Decimals(0)
	}
	if p.min != nil {
		b.Min(*p.min)
	}
	if p.max != nil {
		b.Max(*p.max)
	}
	if p.log {
		b.ScaleDistribution(common.NewScaleDistributionConfigBuilder().Type(common.ScaleDistributionLog).Log(10))
	}
	if len(p.mappings) > 0 {
		b.Mappings(p.mappings)
	}
	if len(p.thresholds) > 0 {
		b.Thresholds(p.steps()).ThresholdsStyle(common.NewGraphThresholdsStyleConfigBuilder().
			Mode(common.GraphThresholdsStyleModeDashed))
	}
	for i, q := range p.queries {
		b.WithTarget(q.overTime(refID(i)))
	}
	if p.bandHigh != "" {
		none := []dashboard.DynamicConfigValue{{Id: "custom.lineWidth", Value: 0}, {Id: "custom.fillOpacity", Value: 0}}
		b.OverrideByName(p.bandLow, none)
		b.OverrideByName(p.bandHigh, append(none[:1:1],
			dashboard.DynamicConfigValue{Id: "custom.fillBelowTo", Value: p.bandLow},
			dashboard.DynamicConfigValue{Id: "custom.fillOpacity", Value: 18}))
	}
	if p.drops != "" {
		b.OverrideByRegexp("/^"+p.drops+"/", []dashboard.DynamicConfigValue{
			{Id: "unit", Value: "pps"},
			{Id: "custom.axisPlacement", Value: "right"},
		})
	}
	if p.limits != "" {
		b.OverrideByRegexp("/^"+p.limits+"/", []dashboard.DynamicConfigValue{
			{Id: "custom.lineStyle", Value: map[string]any{"fill": "dash", "dash": []int{8, 8}}},
			{Id: "custom.fillOpacity", Value: 0},
		})
	}
	return b
}

func (p panel) points() float64 {
	if p.coarse {
		return points / 4
	}
	return points
}

// fill is the opacity below lines: none where there may be more than three of them.
func (p panel) fill() float64 {
	for _, q := range p.queries {
		if len(p.queries) > 3 || p.bandHigh != "" || p.limits != "" || strings.Contains(q.legend, "{{") {
			return 0
		}
	}
	return 8
}

func (p panel) number() cog.Builder[dashboard.Panel] {
	span, height := p.size(6, 5)
	b := stat.NewPanelBuilder().
		Id(p.id).Title(p.title).Description(p.description).Datasource(datasource).
		Unit(p.unit).Span(span).Height(height).NoValue(p.none).
		Orientation(common.VizOrientationAuto).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
		TextMode(common.BigValueTextModeValueAndName).
		ColorMode(common.BigValueColorModeBackground).GraphMode(common.BigValueGraphModeNone).
		Thresholds(p.steps())
	if len(p.thresholds) == 0 { // neither good nor bad
		b.ColorMode(common.BigValueColorModeNone)
	}
	switch p.unit {
	case share:
		b.Decimals(1)
	case countOf:
		b.Decimals(0)
	case perSecond:
		b.Decimals(2)
	}
	if len(p.mappings) > 0 {
		b.Mappings(p.mappings)
	}
	for i, q := range p.queries {
		b.WithTarget(q.now(refID(i)))
		if unit, other := p.units[q.legend]; other {
			b.OverrideByName(q.legend, []dashboard.DynamicConfigValue{{Id: "unit", Value: unit}, {Id: "decimals", Value: 0}})
		}
	}
	return b
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

func (p panel) heatmap() cog.Builder[dashboard.Panel] {
	span, height := p.size(12, 9)
	b := heatmap.NewPanelBuilder().
		Id(p.id).Title(p.title).Description(p.description).Datasource(datasource).
		Span(span).Height(height).MaxDataPoints(points / 2).
		Calculate(false).
		Color(heatmap.NewHeatmapColorOptionsBuilder().Mode(heatmap.HeatmapColorModeScheme).Scheme("Oranges").Steps(64).
			Reverse(false).Fill("dark-orange").Exponent(0.5)).
		Tooltip(heatmap.NewHeatmapTooltipBuilder().Mode(common.TooltipDisplayModeSingle).ShowColorScale(true)).
		YAxis(heatmap.NewYAxisConfigBuilder().Unit(p.unit)).
		CellGap(1)
	for i, q := range p.queries {
		b.WithTarget(q.overTime(refID(i)).Format("heatmap"))
	}
	return b
}
