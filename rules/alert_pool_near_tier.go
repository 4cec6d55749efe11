package rules

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// poolNearTierEdge: a few nodes more and every node's budget shrinks; flows on the
// reclaimed ports are cut.
func (o Options) poolNearTierEdge() Alert {
	return Alert{
		Name:     "SnatPoolNearTierEdge",
		Severity: o.Warning,
		Expr: fmt.Sprintf("min by (%s) (\n%s\n)", o.labels(metrics.LabelPool, metrics.LabelBudget, metrics.LabelModel),
			indent(o.join(o.m(metrics.PoolNodesToNextTier)+" < "+number(o.Thresholds.TierNodes), "pool, model"))),
		For:     5 * time.Minute,
		Summary: "A VM pool is about to outgrow its tier: every node's SNAT budget will shrink.",
		Description: "{{ with $labels.pool }}Pool {{ . }}{{ else }}The pool{{ end }} (budget {{ $labels.budget }}, {{ $labels.model }}) is about to cross a row of the table: each node's SNAT ports shrink to the next one's, " +
			"cutting flows on the ports that are taken back. Nodes that can be added before that: {{ $value | " + whole + " }}.",
		Board: BoardFleet, Panel: PanelFleetTiers,
	}
}
