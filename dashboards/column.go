package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

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
