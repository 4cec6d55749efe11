package tickets

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
)

// idleExpiredFlows: the NAT forgets flows that the applications still believe in; the
// next packet on each hangs or is reset.
func idleExpiredFlows(o options.Options) alerts.Alert {
	return alerts.Alert{
		Name:     "SnatIdleExpiredFlows",
		Severity: o.Warning,
		Expr: o.WithBudget(fmt.Sprintf("sum by (%s) (rate(%s[10m])) > %s", o.Agent(metrics.LabelBudget,
			metrics.LabelProtocol),
			o.Metric(metrics.FlowsClosed, `reason="idle"`, `protocol="tcp"`), query.Number(o.Thresholds.IdleRate))),
		For:           10 * time.Minute,
		KeepFiringFor: 10 * time.Minute,
		Summary:       "The NAT expires idle TCP flows that applications keep open.",
		Description: "On {{ $labels.instance }}, {{ $value | printf `%.2f` }} TCP flows per second of budget {{ " +
			"$labels.budget }} ({{ $labels.model }}) pass the NAT's idle timeout: " +
			"their next packet will hang or be reset. Keepalives shorter than the timeout help.",
		Board: alerts.BoardNode, Panel: alerts.PanelNodeClosed,
	}
}
