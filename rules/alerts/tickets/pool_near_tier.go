package tickets

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
)

// poolNearTierEdge: a few nodes more and every node's budget shrinks; flows on the
// reclaimed ports are cut.
func poolNearTierEdge(o options.Options) alerts.Alert {
	return alerts.Alert{
		Name:     "SnatPoolNearTierEdge",
		Severity: o.Warning,
		Expr: fmt.Sprintf("min by (%s) (\n%s\n)", o.Labels(metrics.LabelPool, metrics.LabelBudget, metrics.LabelModel),
			query.Indent(o.Join(o.Metric(metrics.PoolNodesToNextTier)+" < "+query.Number(o.Thresholds.TierNodes),
				"pool, model"))),
		For:     5 * time.Minute,
		Summary: "A VM pool is about to outgrow its tier: every node's SNAT budget will shrink.",
		Description: "{{ with $labels.pool }}Pool {{ . }}{{ else }}The pool{{ end }} (budget {{ $labels.budget }}, {{ " +
			"$labels.model }}) is about to cross a row of the table: then each node has the ports of the next row only, " +
			"and flows on the ports that are taken back are cut. Nodes that can be added before that: {{ $value | " +
			alerts.Whole + " }}.",
		Board: alerts.BoardFleet, Panel: alerts.PanelFleetTiers,
	}
}
