package rules

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// idleExpiredFlows: the NAT forgets flows that the applications still believe in; the
// next packet on each hangs or is reset.
func (o Options) idleExpiredFlows() Alert {
	return Alert{
		Name:     "SnatIdleExpiredFlows",
		Severity: o.Warning,
		Expr: o.withBudget(fmt.Sprintf("sum by (%s) (rate(%s[10m])) > %s", o.agent(metrics.LabelBudget, metrics.LabelProtocol),
			o.m(metrics.FlowsClosed, `reason="idle"`, `protocol="tcp"`), number(o.Thresholds.IdleRate))),
		For:           10 * time.Minute,
		KeepFiringFor: 10 * time.Minute,
		Summary:       "The NAT expires idle TCP flows that applications keep open.",
		Description: "On {{ $labels.instance }}, {{ $value | printf `%.2f` }} TCP flows per second of budget {{ $labels.budget }} ({{ $labels.model }}) pass the NAT's idle timeout: " +
			"their next packet will hang or be reset. Keepalives shorter than the timeout help.",
		Board: BoardNode, Panel: PanelNodeClosed,
	}
}
