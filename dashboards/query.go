package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// query is one target; {{label}} in legend is a label's value.
type query struct {
	expr, legend string
}

func refID(i int) string { return string(rune('A' + i)) }

func (q query) target(ref string) *prometheus.DataqueryBuilder {
	b := prometheus.NewDataqueryBuilder().Expr(q.expr).RefId(ref).Datasource(datasource)
	if q.legend != "" {
		b.LegendFormat(q.legend)
	}
	return b
}

// overTime asks for the board's time range, now for its end alone: a range would show what was for what is. cells
// are now in a table.
func (q query) overTime(ref string) *prometheus.DataqueryBuilder { return q.target(ref).Range() }

func (q query) now(ref string) *prometheus.DataqueryBuilder {
	return q.target(ref).Instant().Format(prometheus.PromQueryFormatTimeSeries)
}

func (q query) cells(ref string) *prometheus.DataqueryBuilder {
	return q.target(ref).Instant().Format(prometheus.PromQueryFormatTable)
}

var datasource = common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
