package tickets

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
)

// openFailures is for opens that fail and not for lack of ports: the server is dead, refuses,
// or a firewall drops. It keeps the on-call from hunting ports.
func openFailures(o options.Options) alerts.Alert {
	t := o.Thresholds
	by := o.Agent(metrics.LabelBudget, metrics.LabelProtocol)
	failed := fmt.Sprintf("sum by (%s, cause) (rate(%s[5m]))", by, o.Metric(metrics.OpenFailures,
		`cause!="`+metrics.CausePorts+`"`))
	opened := fmt.Sprintf("sum by (%s) (rate(%s[5m]))", by, o.Metric(metrics.FlowsOpened))
	return alerts.Alert{
		Name:     "SnatOpenFailures",
		Severity: o.Warning,
		Expr: o.WithBudget(fmt.Sprintf("(%s > %s)\n/ on (%s) group_left ()\n(%s > 0)\n> %s",
			failed, query.Number(t.FailureRate), by, opened, query.Number(t.FailureRatio))),
		For:           5 * time.Minute,
		KeepFiringFor: 5 * time.Minute,
		Summary:       "Connections fail to open, and not for lack of SNAT ports.",
		Description: "On {{ $labels.instance }}, {{ $value | humanizePercentage }} of new {{ $labels.protocol }} flows of " +
			"budget {{ $labels.budget }} fail with cause {{ $labels.cause }} while ports are left: " +
			"look at the destination and the path to it.",
		Detail: "{{ if eq $labels.cause `" + metrics.CauseUnanswered +
			"` }} On the node, ss -tan state syn-sent lists where they go.{{ end }}",
		Board: alerts.BoardNode, Panel: alerts.PanelNodeFailures,
	}
}
